"""A hostile or broken matrix is one line of BadInput that says where it is wrong; never a traceback, never a hang."""

from __future__ import annotations

import datetime
import decimal
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import splitleak
from splitleak.contract.errors import BadInput
from splitleak.plan import matrix
from splitleak.printable import printable, shown

LONGEST_LINE = 700  # characters of a message


class NoWords:
    """Cannot be printed, compared or hashed."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equals")

    __hash__ = None  # type: ignore[assignment]


def deep(depth: int, table: bool) -> Any:
    whole: Any = 0
    for _ in range(depth):
        whole = {"a": whole} if table else [whole]
    return whole


def cyclic() -> dict[str, Any]:
    whole: dict[str, Any] = {"name": "blind"}
    whole["goal"] = [whole]
    return whole


def doubled(depth: int) -> Any:
    """A few lists that stand for 2**depth values."""
    whole: Any = 0
    for _ in range(depth):
        whole = [whole] * 10
    return whole


# A value that no matrix may hold, and a part of what is said of it.
VALUES: dict[str, tuple[Any, str]] = {
    "NUL": ("a\0b", r"'a\x00b' has the control character '\x00'"),
    "escape": ("\x1b[31mred", r"'\x1b[31mred' has the control character"),
    "lone surrogate": ("a\ud800", r"'a\ud800' has the control character"),
    "5,000 characters": ("x" * 5000, "has 5,000 characters; legal: at most 1,000"),
    "deep list": (deep(5000, table=False), "more than 12 deep"),
    "deep table": (deep(5000, table=True), "more than 12 deep"),
    "cycle": (cyclic(), "one that holds itself"),
    "ten million values": (doubled(7), "more than 1,000,000 values; split"),
    "set": ({1, 2}, "a value of the type set; legal: text, numbers"),
    "bytes": (b"blind", "a value of the type bytes"),
    "tuple": (("blind",), "a value of the type tuple"),
    "path": (Path("blind"), "a value of the type pathlib.PosixPath"),
    "date": (datetime.date(2020, 1, 1), "a value of the type datetime.date"),
    "decimal": (decimal.Decimal("1.5"), "a value of the type decimal.Decimal"),
    "complex": (1j, "a value of the type complex"),
    "object": (NoWords(), "NoWords; legal"),
    "class": (int, "a value of the type type"),
    "generator": ((x for x in "a"), "a value of the type generator"),
    "numpy integer": (np.int64(3), "a value of the type numpy.int64"),
    "numpy number": (np.float32(1.5), "a value of the type numpy.float32"),
    "numpy array": (np.zeros(3), "a value of the type numpy.ndarray"),
    "tensor": (torch.tensor(1), "a value of the type torch.Tensor"),
    "5,000 digits": (10**5000, "a whole number of more than 64 bits"),
    "65 bits": (2**64, "a whole number of more than 64 bits"),
    "key that is a number": ({"name": "blind", 1: 2}, "a key of the type int"),
    "key that is None": ({None: 2}, "a key of the type NoneType"),
    "key with NUL": ({"name": "blind", "a\0": 2}, "has the control character"),
    "key of 5,000 characters": ({"name": "blind", "k" * 5000: 2}, "has 5,000 characters"),
}


def whole(**axes: Any) -> dict[str, Any]:
    return {"matrix": {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"]} | axes}


def line_of(given: Any) -> str:
    """The one line that a matrix is refused with."""
    with pytest.raises(BadInput) as caught:
        splitleak.run(given, "out")
    line = str(caught.value)
    assert line.isprintable(), ascii(line)
    assert len(line) < LONGEST_LINE
    assert not Path("out").exists()
    return line


@pytest.mark.parametrize(("value", "said"), VALUES.values(), ids=[name.replace(" ", "-") for name in VALUES])
def test_a_dict_may_hold_plain_values_only(lab: Any, value: Any, said: str) -> None:
    places = {
        "matrix.attack[0]": whole(attack=[value]),
        "matrix.seed[0]": whole(seed=[value]),
        "matrix.dataset[0].otherwise": whole(dataset=[{"name": "ecg", "otherwise": value}]),
        "train.epochs": {**whole(), "train": {"epochs": value}},
        "about.what": {**whole(), "about": {"what": value}},
    }
    for place, given in [*places.items()][: 1 if "split" in said else None]:
        line = line_of(given)
        assert line.startswith("matrix: ")
        assert said in line
        assert place in line or "split" in said


@pytest.mark.parametrize("value", [v for v, _ in VALUES.values()], ids=[name.replace(" ", "-") for name in VALUES])
def test_an_axis_or_a_section_may_be_no_such_value(lab: Any, value: Any) -> None:
    for given in (whole(attack=value), {"matrix": value}, {**whole(), "train": value}):
        assert line_of(given).startswith("matrix: ")


@pytest.mark.parametrize(
    "key",
    ["a\0b", "x" * 5000, 3, None, float("nan"), b"train", ("a",), object()],
    ids=lambda key: type(key).__name__ + str(len(str(key)) > 100),
)
def test_a_key_that_is_no_plain_text(lab: Any, key: Any) -> None:
    for given in ({**whole(), key: {}}, whole(**{}) | {"matrix": {key: [1]}}, {**whole(), "train": {key: 1}}):
        assert line_of(given).startswith("matrix: ")


@pytest.mark.parametrize("nan", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite(lab: Any, nan: float) -> None:
    for axis in ("attack", "dataset", "cut", "clients", "threat", "aux", "seed", "protocol"):
        assert line_of(whole(**{axis: [nan]})).startswith("matrix: ")
    assert "must be a finite number" in line_of({**whole(), "train": {"lr": nan}})


def test_a_matrix_is_copied_and_numbers_and_text_of_a_subclass_are_plain_in_it() -> None:
    given = whole(attack=["blind", np.str_("channel")], defense=[{"name": "gaussian", "epsilon": np.float64(2)}])
    cells = matrix.read(given).cells
    given["matrix"]["attack"].append("no such attack")
    given["matrix"]["defense"][0]["name"] = "another"
    assert [cell.attack["name"] for cell in cells] == ["blind", "channel"]
    assert {type(cell.defense["epsilon"]) for cell in cells} == {float}


@pytest.mark.parametrize(
    "given", [3, None, b"quick", ["quick"], object, NoWords()], ids=lambda given: type(given).__name__
)
def test_what_is_no_matrix_at_all(lab: Any, given: Any) -> None:
    assert "a matrix is a path, the name of one that ships, or a dict, not " in line_of(given)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "x" * 5000 + ".toml", "\x1b[2J", "a\ud800.toml", "loop.toml"])
def test_a_name_of_a_matrix_that_cannot_be_a_file(lab: Any, name: str) -> None:
    Path("loop.toml").symlink_to("loop.toml")
    assert "(a TOML file, or one that ships: " in line_of(name)


@pytest.mark.parametrize("file", ["loop", "pipe", "folder", "x" * 300, "y" * 900])
def test_a_file_of_a_plugin_that_cannot_be_one(lab: Any, file: str) -> None:
    Path("loop.py").symlink_to("loop.py")
    Path("folder.py").mkdir()
    os.mkfifo("pipe.py")
    assert ": no such file (/" in line_of(whole(attack=[f"./{file}.py"]))


@pytest.mark.parametrize("workers", ["2", 1.5, None, True])
def test_workers_are_a_whole_number(lab: Any, workers: Any) -> None:
    with pytest.raises(BadInput, match="--workers must be a whole number from 1, not "):
        splitleak.run(whole(), "out", workers=workers)


# Files --------------------------------------------------------------------------------------------

HEAD = '[matrix]\ndataset = ["ecg_synthetic"]\nmodel = ["ecg_cnn"]\n'
FILES = {
    "NUL in a name": (rf'{HEAD}attack = ["a\u0000b"]', r"matrix.attack[0]: 'a\x00b' has the control character '\x00'"),
    "raw NUL": (HEAD + "attack = ['a\0b']", "is no TOML: "),
    "long name": (HEAD + f'attack = ["{"x" * 5000}"]', "matrix.attack[0]: 'xxx"),
    "deep lists": (HEAD + f"attack = {'[' * 100_000}", "is no TOML that can be read: lists or tables are too deep"),
    "lists deep enough to be read": (HEAD + f"attack = {'[' * 50}{']' * 50}", "more than 12 deep"),
    "deep tables": (HEAD + f"attack = {'{a=' * 5000}", "lists or tables are too deep"),
    "a key of many parts": (HEAD + "a." * 100_000 + "b = 1", "a key has 30 parts or more"),
    "a quoted key of many parts": (HEAD + '"a" . ' * 90_000 + "b = 1", "a key has 30 parts or more"),
    "a section of many parts": (f"[{'a.' * 100_000}b]", "a key has 30 parts or more"),
    "5,000 digits": (HEAD + f"seed = [{'9' * 5000}]", "is no TOML: Exceeds the limit"),
    "65 bits": (HEAD + f"seed = [{2**65}]", "matrix.seed[0]: a whole number of more than 64 bits"),
    "a date": (HEAD + "seed = [1979-05-27]", "matrix.seed[0]: a value of the type datetime.date"),
    "control characters in a key": (rf'{HEAD}"\u001b[2J" = 1', r"'\x1b[2J' has the control character"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=[name.replace(" ", "-") for name in FILES])
def test_one_line_about_a_file_with(lab: Any, main: Any, text: str, said: str) -> None:
    lab.write("m.toml", text)
    for command in ("check", "run"):
        line = main(command, "m.toml").line
        assert line.startswith("splitleak: matrix 'm.toml'")
        assert said in line
        assert line.isprintable()
        assert len(line) < LONGEST_LINE


def test_a_mark_of_the_byte_order_is_read_over(lab: Any) -> None:
    name = lab.matrix('attack = ["blind"]')
    cells = matrix.read(name).cells
    (lab.folder / name).write_bytes(b"\xef\xbb\xbf" + (lab.folder / name).read_bytes())
    assert [cell.key for cell in matrix.read(name).cells] == [cell.key for cell in cells]


@pytest.mark.parametrize("content", [HEAD.encode("utf-16"), b"\xff" + HEAD.encode(), b"a = '\xe9'"])
def test_one_line_about_a_file_that_is_no_utf_8(lab: Any, main: Any, content: bytes) -> None:
    (lab.folder / "m.toml").write_bytes(content)
    assert "matrix 'm.toml' cannot be read: invalid" in (line := main("run", "m.toml").line)
    assert "legal: text in UTF-8" in line


def test_a_large_file_is_refused_by_its_size(lab: Any, main: Any) -> None:
    with (lab.folder / "m.toml").open("wb") as file:
        file.truncate(100_000_000)
    assert "matrix 'm.toml' is larger than 1,000,000 bytes" in main("run", "m.toml").line


@pytest.mark.timeout(60)
def test_a_fifo_as_a_matrix_does_not_block(lab: Any, main: Any) -> None:
    os.mkfifo("m.toml")
    assert "matrix 'm.toml' cannot be read: is a FIFO, must be a regular file" in main("run", "m.toml").line


def test_a_folder_as_a_matrix(lab: Any, main: Any) -> None:
    Path("m.toml").mkdir()
    assert "no matrix 'm.toml'" in main("run", "m.toml").line


# What is printed ----------------------------------------------------------------------------------


def test_text_is_printable_and_quoted_values_are_short() -> None:
    assert printable("plain ±…é") == "plain ±…é"
    assert printable("\x1b[31m\0\x9b\u202e\ud800\r\n") == r"\x1b[31m\x00\x9b\u202e\ud800\r\n"
    assert printable("a\x07\nb", lines=True) == "a\\x07\nb"
    assert shown("a'b\0") == '"a\'b\\x00"'
    assert shown("x" * 5000) == "'" + "x" * 97 + "…'"
    assert shown(NoWords()) == "a NoWords"
    assert shown(10**5000) == "a int"


def test_a_plugins_message_reaches_the_terminal_without_control_characters_and_cut(lab: Any, main: Any) -> None:
    clear = r"\x1b[2J\x1b]0;owned\x07"
    name = lab.attack("a", f"raise ValueError('{clear}' + 'x' * 10_000_000)")
    ran = main("run", lab.matrix(f"attack = [{name}]"), "--out", "out")
    assert ran.status == 1
    (line,) = (line for line in ran.err.splitlines() if line.startswith("splitleak: failed: "))
    assert r"ValueError: \x1b[2J\x1b]0;owned\x07xxx" in line
    assert len(line) < 2_100
    assert not {"\x1b", "\x07"} & {*ran.err, *ran.out}


def test_labels_in_tables_and_notes_are_printed_without_control_characters(lab: Any, main: Any) -> None:
    lab.write("d.py", """
        from dataclasses import dataclass, replace
        from toy_signals import ToySignals
        @dataclass(frozen=True)
        class D(ToySignals):
            word: str = ""
            def load(self):
                return replace(super().load(), notes=("left out: \\x1b[31m\\u202e",))
    """)  # fmt: skip
    ran = main("run", lab.matrix(dataset=r'[{ name = "./d.py", word = "\u202eab" }]'), "--out", "out", "--all")
    assert ran.status == 0
    assert r"splitleak: left out: \x1b[31m\u202e" in ran.err
    assert r"\u202eab" in ran.out
    assert not {"\x1b", "\u202e"} & {*ran.err, *ran.out}


def test_a_mistake_on_the_command_line_is_printed_without_control_characters(lab: Any, main: Any) -> None:
    for args in (["run", "\x1b[2J"], ["\x1b[2J"], ["run", "m.toml", "--\x1b[2J"], ["list", "\x1b[2J"]):
        ran = main(*args)
        assert ran.status == 2
        assert "\x1b" not in ran.err
