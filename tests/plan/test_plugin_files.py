"""Plug-ins in a file of the user: one file for all four kinds, with helpers in other files of its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from splitleak.contract.errors import BadInput
from splitleak.plan import plugins
from splitleak.train import provenance

HEAD = """
from dataclasses import dataclass
import torch
from torch import nn
from splitleak import Attack, Data, Dataset, Defense, Goal, Grant, Model, Records, Task
"""
DATASET = """
@dataclass(frozen=True)
class Waves(Dataset):
    def load(self):
        x, y, i = torch.linspace(0, 1, 640).view(40, 1, 16), torch.arange(40) % 2, torch.arange(40)
        return Data(*(Records(x / (k + 1), y, i + 99 * k) for k in range(3)), Task("classes", 2), (0.0, 1.0))
"""
MODEL = """
@dataclass(frozen=True)
class Net(Model):
    def blocks(self, in_shape, task):
        return [nn.Flatten(), nn.Linear(16, WIDTH), nn.Linear(WIDTH, task.size)]
    def cuts(self, protocol):
        return [2]
"""
DEFENSE = """
@dataclass(frozen=True)
class Nothing(Defense):
    pass
"""
ATTACK = """
@dataclass(frozen=True)
class Half(Attack):
    goal, needs = Goal.INPUTS, Grant.SMASHED
    def run(self, view):
        return torch.full((len(view.smashed), *view.in_shape), 0.5)
"""
KINDS: tuple[plugins.Kind, ...] = ("dataset", "model", "defense", "attack")


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_one_file_defines_all_four_kinds_and_a_run_takes_them(lab: Any, main: Any) -> None:
    write(lab.folder, "sizes.py", "WIDTH = 4")
    write(lab.folder, "mine.py", f"{HEAD}from sizes import WIDTH{DATASET}{MODEL}{DEFENSE}{ATTACK}")
    axes = "".join(f'{kind} = ["./mine.py"]\n' for kind in KINDS)
    write(lab.folder, "m.toml", f"[matrix]\n{axes}[train]\nepochs = 1\n[evaluate]\ntargets = 20\n")
    assert main("run", "m.toml", "--out", "out").status == 0
    (record,) = lab.records().values()
    assert record["status"] == "done"
    assert "sizes" not in sys.modules
    assert str(lab.folder) not in sys.path


def test_each_kind_takes_its_own_class(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", f"{HEAD}WIDTH = 4{DATASET}{MODEL}{DEFENSE}{ATTACK}")
    found = [plugins.find(kind, "./mine.py", tmp_path).__name__ for kind in KINDS]
    assert found == ["Waves", "Net", "Nothing", "Half"]


def test_helpers_of_the_same_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    for name, width in (("one", 3), ("other", 5)):
        write(tmp_path / name, "mine.py", f"{HEAD}from helper import WIDTH{MODEL}")
        write(tmp_path / name, "helper.py", f"WIDTH = {width}")
    models = [plugins.make("model", {"name": "./mine.py"}, tmp_path / name) for name in ("one", "other", "one")]
    task = sys.modules[type(models[0]).__module__].Task("classes", 2)
    widths = [model.blocks((1, 16), task)[1].out_features for model in models]  # type: ignore[attr-defined]
    assert widths == [3, 5, 3]


def test_a_changed_helper_is_read_again_and_changes_the_hash(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", f"{HEAD}import helper{MODEL}".replace("WIDTH", "helper.WIDTH"))
    hashes = []
    for width in (3, 5, 3):
        write(tmp_path, "helper.py", f"WIDTH = {width}")
        cls = plugins.find("model", "./mine.py", tmp_path)
        assert cls is plugins.find("model", "./mine.py", tmp_path)
        assert cls().blocks((1, 16), sys.modules[cls.__module__].Task("classes", 2))[1].out_features == width  # type: ignore[attr-defined]
        hashes.append(provenance.code_of(cls))
    assert hashes[0] == hashes[2] != hashes[1]


def test_words_do_not_change_the_hash_and_code_does(tmp_path: Path) -> None:
    hashes = []
    for text in (f"{HEAD}{ATTACK}", f'"""Words."""\n{HEAD}{ATTACK}\n\n# more words', f"{HEAD}{ATTACK}\nx = 1\n"):
        write(tmp_path, "mine.py", text)
        hashes.append(provenance.code_of(plugins.find("attack", "./mine.py", tmp_path)))
    assert hashes[0] == hashes[1] != hashes[2]


IMPORTED = "from other import Half\n"
NO_RUN = ATTACK.replace("def run", "def ran")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "it defines no plug-in"),
        (HEAD + DATASET + MODEL, "it defines Dataset Waves, Model Net"),
        (HEAD + ATTACK + ATTACK.replace("Half", "Third"), "it defines Attack Half, Attack Third"),
        (HEAD + NO_RUN, "it defines Attack Half without its method run"),
        (IMPORTED, "it defines no plug-in"),
    ],
)
def test_a_file_without_exactly_one_class_of_the_kind_says_what_it_defines(
    tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path, "other.py", HEAD + ATTACK)
    write(tmp_path, "mine.py", text)
    with pytest.raises(BadInput) as caught:
        plugins.find("attack", "./mine.py", tmp_path)
    assert str(caught.value) == f"attack './mine.py': its file must define exactly one Attack; {message}"


def test_a_helper_that_fails_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "import helper")
    write(tmp_path, "helper.py", "1 / 0")
    with pytest.raises(BadInput, match=r"^model './mine\.py' cannot be imported: ZeroDivisionError: division by zero$"):
        plugins.find("model", "./mine.py", tmp_path)
