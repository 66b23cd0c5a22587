"""Files of the user: each a module of its own, with its folder importable, loaded again when a file has changed."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from splitleak.contract import BadInput
from splitleak.loading import files_of, load_file


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_two_folders_may_have_a_helper_of_the_same_name(tmp_path: Path) -> None:
    path = list(sys.path)
    for name in ("one", "other"):
        write(tmp_path / name, main="from helper import NAME\nimport helper", helper=f"NAME = '{name}'")
    loaded = [load_file(tmp_path / name / "main.py", "x") for name in ("one", "other")]
    assert [module.NAME for module in loaded] == ["one", "other"]
    assert [module.helper.NAME for module in loaded] == ["one", "other"]
    assert "helper" not in sys.modules
    assert sys.path == path


def test_a_module_is_the_same_until_a_file_of_it_changes(tmp_path: Path) -> None:
    write(tmp_path, main="import near", near="import far", far="N = 1", apart="N = 1")
    first = load_file(tmp_path / "main.py", "x")
    write(tmp_path, apart="N = 2")
    assert load_file(tmp_path / "main.py", "x") is first
    write(tmp_path, far="N = 2")  # of the same length, within the same second
    again = load_file(tmp_path / "main.py", "x")
    assert again.near.far.N == 2
    assert [file.stem for file in files_of(tmp_path / "main.py")] == ["far", "main", "near"]


def test_an_import_inside_a_function_finds_the_folder_too(tmp_path: Path) -> None:
    write(tmp_path, main="def late():\n    import helper\n    return helper.N", helper="N = 3")
    assert load_file(tmp_path / "main.py", "x").late() == 3
    assert [file.stem for file in files_of(tmp_path / "main.py")] == ["helper", "main"]


def test_files_may_import_each_other(tmp_path: Path) -> None:
    write(tmp_path, main="import other\nN = 1", other="import main\ndef n():\n    return main.N")
    assert load_file(tmp_path / "main.py", "x").other.n() == 1


def test_a_file_named_like_an_installed_package_may_import_the_package(tmp_path: Path) -> None:
    write(tmp_path, torch="import torch\nN = torch.zeros(2).numel()")
    assert load_file(tmp_path / "torch.py", "x").N == 2


def test_a_class_knows_its_file(tmp_path: Path) -> None:
    write(tmp_path, main="class Own:\n    pass")
    module = load_file(tmp_path / "main.py", "x")
    assert inspect.getfile(module.Own) == str(tmp_path / "main.py")
    assert module.Own.__module__.endswith(".main")
    assert sys.modules[module.Own.__module__] is module


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0", "x cannot be imported: ZeroDivisionError: division by zero"),
        ("import helper", "x cannot be imported: NameError: name 'lost' is not defined"),
        ("import sys; sys.exit('two\\nlines')", "x cannot be imported: SystemExit: two lines"),
        ("(", r"x cannot be imported: SyntaxError: '\(' was never closed .*"),
        (None, r"x: no such file \(.*main.py\)"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_and_can_be_repaired(tmp_path: Path, text: str | None, told: str) -> None:
    write(tmp_path, helper="lost")
    if text is not None:
        write(tmp_path, main=text)
    with pytest.raises(BadInput, match=f"^{told}$"):
        load_file(tmp_path / "main.py", "x")
    write(tmp_path, main="import helper\nN = 4", helper="")
    assert load_file(tmp_path / "main.py", "x").N == 4
