"""The harness checks whatever a dataset from outside gives, and that it gives the same again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from splitleak.contract import Data, Records, Task
from splitleak.datasets.reading.validation import validate
from splitleak.jobs.worker import Worker
from splitleak.plan import matrix
from splitleak.train.data import data_digest

HEAD = """
from dataclasses import dataclass, replace
import torch
from splitleak.contract import Data, Dataset, Records, Task
from toy_signals import ToySignals

@dataclass(frozen=True)
class D(Dataset):
    def load(self):
        data = ToySignals().load()
"""
WRONG = {  # what a loader does with sound toy signals -> the line that says what is wrong
    "a copy in the test part": (
        "data.test.x[4] = data.private.x[7]",
        "record 7 of the private part and record 4 of the test part are exact copies under different ids",
    ),
    "a copy in the auxiliary part, of zeros with another sign": (
        "data.aux.x[0], data.private.x[0] = 0.0, -0.0",
        "record 0 of the private part and record 0 of the aux part are exact copies under different ids",
    ),
    "one id for two records": (
        "data.test.id[1] = data.test.id[0]",
        "record 0 of the test part and record 1 of the test part have the same id and other values",
    ),
    "an id in two parts": ("data.aux.id[1] = data.private.id[0]", "private and aux parts share 1 records"),
    "no ids": ("data = replace(data, test=replace(data.test, id=None))", "test part: id is NoneType"),
    "ids of floats": (
        "data = replace(data, aux=replace(data.aux, id=data.aux.id.float()))",
        "aux part: id has shape (64,) of torch.float32; it must be (n,) of int64",
    ),
    "groups of int32": (
        "data = replace(data, aux=replace(data.aux, group=data.aux.id.int()))",
        "aux part: group has shape (64,) of torch.int32; it must be (n,) of int64",
    ),
    "a third property": (
        "data = replace(data, aux=replace(data.aux, property=torch.arange(64) % 3))",
        "aux part: property has shape (64,); it must be (n,) of 0 and 1",
    ),
    "double precision": (
        "data = replace(data, test=replace(data.test, x=data.test.x.double()))",
        "test part: x has shape (64, 1, 16) of torch.float64; it must be (n, *in) of float32",
    ),
    "records as an array": (
        "data = replace(data, aux=replace(data.aux, x=data.aux.x.numpy()))",
        "aux part: x is ndarray; it must be a tensor",
    ),
    "labels of another type": (
        "data = replace(data, aux=replace(data.aux, y=data.aux.y.int()))",
        "aux part: y has shape (64,) of torch.int32; it must be (n,) class numbers of int64",
    ),
    "a class that a part lacks": ("data.aux.y[:] = 1", "aux part has no record of class 0 (classes are 0..1)"),
    "a class beyond the last": ("data.test.y[0] = 2", "test part: y has label 2; legal: 0..1"),
    "values out of range": ("data.aux.x[0] = 1.5", "aux part: values outside in_range (0.0, 1.0)"),
    "a range upside down": ("data = replace(data, in_range=(1.0, 0.0))", "in_range is (1.0, 0.0); it must be"),
    "a range without end": ("data = replace(data, in_range=(0.0, float('inf')))", "in_range is (0.0, inf)"),
    "another shape": (
        "data = replace(data, test=replace(data.test, x=data.test.x[..., :8]))",
        "test part: x has records (1, 8); those of the private part (1, 16)",
    ),
    "one class": ("data = replace(data, task=Task('classes', 1))", "the task is 'classes' of 1; legal"),
    "a flag alone": ("data = replace(data, flags='patients-shared')", "flags is str; it must be tuple"),
    "something else": ("data = (data.private, data.aux, data.test)", "load returned tuple; it must be Data"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_dataset_that_breaks_its_promise_is_refused_in_one_line(lab: Any, main: Any, case: str) -> None:
    does, wanted = WRONG[case]
    lab.write("d.py", f"{HEAD}        {does}\n        return data\n")
    found = main("run", lab.matrix(dataset='["./d.py"]'), "--out", "out").line
    assert found.startswith("splitleak: dataset './d.py'")
    assert wanted in found
    assert not (lab.folder / "out" / "records").exists()


def test_an_auxiliary_dataset_is_checked_too(lab: Any, main: Any) -> None:
    lab.write("d.py", f"{HEAD}        data.test.x[4] = data.private.x[7]\n        return data\n")
    found = main("run", lab.matrix('aux = ["./d.py"]'), "--out", "out").line
    assert "axis 'aux': dataset './d.py': record 7 of the private part and record 4 of the test part are" in found


def test_what_the_flags_allow_is_allowed() -> None:
    def part(first: int, person: int) -> Records:
        x = torch.arange(first, first + 4.0)[:, None].expand(-1, 3) / 100
        return Records(x.clone(), torch.arange(4) % 2, torch.arange(first, first + 4), torch.full((4,), person))

    task = Task("classes", 2)
    validate(Data(part(0, 0), part(4, 1), part(8, 2), task, (0.0, 1.0)), "me")
    validate(Data(part(0, 0), part(4, 0), part(8, 0), task, (0.0, 1.0), ("patients-shared",)), "me")
    validate(Data(part(0, 0), part(4, 1), part(0, 0), task, (0.0, 1.0), ("reference-split", "patients-shared")), "me")


SHUFFLES = """        order = torch.randperm(64{generator})
        return replace(data, private=data.private.take(order))
"""
AGAIN = "gave other records when it was loaded again; its `load` must be deterministic"


@pytest.mark.parametrize("axis", ["dataset", "aux"])
def test_a_loader_with_an_unseeded_shuffle_is_refused(lab: Any, main: Any, axis: str) -> None:
    lab.write("d.py", HEAD + SHUFFLES.format(generator=""))
    given = lab.matrix(dataset='["./d.py"]') if axis == "dataset" else lab.matrix('aux = ["./d.py"]')
    for command in (["run", given, "--out", "out"], ["check", given]):
        assert f"dataset './d.py' {AGAIN}" in main(*command).line


@pytest.mark.slow
def test_records_that_differ_from_process_to_process_are_refused(lab: Any) -> None:
    """In one process both loads agree: only the digest of the process that plans the run tells."""
    lab.write(
        "d.py",
        "import os\n" + HEAD + SHUFFLES.format(generator=", generator=torch.Generator().manual_seed(os.getpid())"),
    )
    ran = lab.process("run", lab.matrix(dataset='["./d.py"]'), "--out", "out", "--workers", "2", "--device", "cpu")
    assert f"dataset './d.py' {AGAIN}" in ran.line
    assert lab.files() == {}


def test_records_that_a_plugin_changed_in_memory_are_loaded_again(lab: Any) -> None:
    cell = matrix.read(lab.matrix()).cells[0]
    worker = Worker(lab.out, lab.folder, "cpu")
    case = worker.case(cell)
    before = data_digest(worker.data(case))
    worker.data(case).private.x[0] = 0
    assert data_digest(worker.data(case)) == before


CHANGES: dict[str, Callable[[Data], Data]] = {
    "x": lambda data: replace(data, aux=replace(data.aux, x=data.aux.x + 1)),
    "y": lambda data: replace(data, test=replace(data.test, y=data.test.y.flip(0))),
    "id": lambda data: replace(data, test=replace(data.test, id=data.test.id + 9)),
    "group": lambda data: replace(data, test=replace(data.test, group=torch.zeros(4, dtype=torch.int64))),
    "property": lambda data: replace(data, test=replace(data.test, property=torch.zeros(4, dtype=torch.int64))),
    "shape": lambda data: replace(data, **{p: wide(getattr(data, p)) for p in ("private", "aux", "test")}),
    "in_range": lambda data: replace(data, in_range=(0.0, 2.0)),
    "task": lambda data: replace(data, task=Task("classes", 3)),
    "flags": lambda data: replace(data, flags=("patients-shared",)),
    "the border of two parts": lambda data: moved_border(data),
}


def wide(part: Records) -> Records:
    return replace(part, x=part.x[:, None])


def moved_border(data: Data) -> Data:
    """The first auxiliary record is the last private one."""
    one, other = data.private, data.aux
    more, less = (
        Records(*(cut(getattr(one, name), getattr(other, name)) for name in ("x", "y", "id")))
        for cut in (lambda a, b: torch.cat([a, b[:1]]), lambda a, b: b[1:])
    )
    return replace(data, private=more, aux=less)


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_covers_everything_that_a_dataset_gives(what: str) -> None:
    x = torch.arange(36.0).view(3, 4, 3)
    parts = [Records(x[k], torch.arange(4) % 2, torch.arange(4) + 4 * k) for k in range(3)]
    data = Data(*parts, Task("classes", 2), (0.0, 1.0))
    assert data_digest(CHANGES[what](data)) != data_digest(data)
