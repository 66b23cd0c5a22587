"""ECG heartbeats (MIT-BIH; Abuadbba et al. 2020): 128 samples, 5 classes, 26,490 beats.

AsiaCCS 2020: single beats of lead MLII around the R peak, scaled to [0, 1], from 43 records of real patients in the
MIT-BIH Arrhythmia Database (Moody & Mark, 2001). The published set is drawn with replacement, and every patient is in
both of its files; `split` chooses what is made of this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Data, Dataset, Records, Task, later
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.array_files import Array, read_hdf5
from splitleak.datasets.reading.division_by_share import divide_by_person
from splitleak.datasets.reading.identity import record_hashes
from splitleak.datasets.reading.locate import find_file
from splitleak.datasets.reading.mitbih_people import Property, with_property
from splitleak.datasets.reading.validation import validate, validate_records

Symbol = Literal["N", "L", "R", "A", "V"]
SYMBOLS = "NLRAV"  # normal, left and right bundle branch block, atrial and ventricular premature beat
TASK = Task("classes", len(SYMBOLS))
RANGE = (0.0, 1.0)
SEED = 2019
SAME_PERSON = {202: 201}  # MIT-BIH's 48 records are from 47 people


@dataclass(frozen=True)
class ECG(Dataset):
    """`clean`: no beat is in two parts; `patients`: no patient is in two parts; `reference`: as published."""

    split: Literal["clean", "patients", "reference"] = "clean"
    positive: Symbol | None = None  # two classes: this one (1) against the rest (0)
    property: Property | None = later(None)  # of the patient: "age" is older than 65, "sex" is female

    def load(self) -> Data:
        train_file = find_file("ecg", "train_ecg.hdf5")
        test_file = train_file.with_name("test_ecg.hdf5")
        divide = {"clean": _clean, "patients": _patients, "reference": _reference}[self.split]
        who = f"dataset '{self}' ({train_file}, {test_file})"
        data = one_vs_rest(divide(*_read(train_file, test_file), who), self.positive)
        return validate(data if self.property is None else with_property(data, self.property, who), who)


def one_vs_rest(data: Data, positive: Symbol | None) -> Data:
    """Two classes instead of five: y = 1 for the positive one; None leaves the data as it is."""
    if positive is None:
        return data
    k = SYMBOLS.index(positive)
    private, aux, test = (replace(part, y=(part.y == k).long()) for part in (data.private, data.aux, data.test))
    return replace(data, private=private, aux=aux, test=test, task=Task("classes", 2))


def _clean(train: Records, test: Records, who: str) -> Data:
    new = _not_in(test, train)
    order = np.lexsort((np.random.default_rng(SEED).random(len(new)), new.y.numpy()))  # shuffled in each class
    aux, rest = (new.take(torch.from_numpy(np.sort(half))) for half in (order[::2], order[1::2]))
    return Data(train, aux, rest, TASK, RANGE, ("patients-shared",))


def _reference(train: Records, test: Records, who: str) -> Data:
    return Data(train, _not_in(test, train), test, TASK, RANGE, ("reference-split", "patients-shared"))


def _patients(train: Records, test: Records, who: str) -> Data:
    if train.group is None or test.group is None:
        raise BadInput(f"{who}: split 'patients' needs record_train and record_test, which are not in these files")
    both = [torch.cat([getattr(train, name), getattr(test, name)]) for name in ("x", "y", "id", "group")]
    beats = _once(Records(*both))
    group = both[3][_first_of_each(both[2])]
    part = divide_by_person(group.numpy(), beats.y.numpy(), TASK.size, who, SEED)
    private, aux, rest = (beats.take(torch.from_numpy(np.flatnonzero(part == p))) for p in range(3))
    return Data(private, aux, rest, TASK, RANGE)


def _first_of_each(identity: Tensor) -> Tensor:
    """The index at which each identity occurs first, in order."""
    return torch.from_numpy(np.sort(np.unique(identity.numpy(), return_index=True)[1]))


def _once(records: Records) -> Records:
    return records.take(_first_of_each(records.id))


def _not_in(test: Records, train: Records) -> Records:
    """The test beats that are not training beats, each once."""
    return _once(test.take(torch.nonzero(~torch.isin(test.id, train.id)).flatten()))


def _read(train: Path, test: Path) -> tuple[Records, Records]:
    """The beats of both files; columns that only one of the files has are ignored."""
    optional = ("record", "rpeak")
    raw = [read_hdf5(f, f"_{part}", ("x", "y"), optional) for f, part in ((train, "train"), (test, "test"))]
    common = raw[0].keys() & raw[1].keys()
    one, other = (
        beats_from_arrays({k: r[k] for k in common}, f, TASK) for r, f in zip(raw, (train, test), strict=True)
    )
    if one.x.shape != (len(one), *other.x.shape[1:]):
        raise BadInput(f"{test}: beats of {other.x.shape[2]} samples, but of {one.x.shape[2]} in {train}")
    return one, other


def beats_from_arrays(raw: dict[str, Array], file: Path, task: Task) -> Records:
    """Beats from arrays x (n, 1, samples), y and, if present, record and rpeak (each (n,)).

    A beat's identity is its record and R peak, or a hash of its samples where one of these two is missing.
    """
    wide = raw["x"]
    if wide.ndim != 3 or wide.shape[1] != 1:
        raise BadInput(f"{file}: x has shape {wide.shape}; it must be (n, 1, samples)")
    columns = {key: a for key, a in raw.items() if key != "x"}
    for key, a in columns.items():
        if a.shape != wide.shape[:1] or a.dtype.kind == "f":
            found = f"{key} has shape {a.shape} of {a.dtype}"
            raise BadInput(f"{file}: {found}; it must be ({len(wide)},) whole numbers, one for each beat in x")
    x = torch.from_numpy(wide.astype(np.float32))
    whole = {key: torch.from_numpy(a.astype(np.int64)) for key, a in columns.items()}
    located = {"record", "rpeak"} <= whole.keys()
    identity = whole["record"] << 32 | whole["rpeak"] if located else record_hashes(x)
    beats = validate_records(Records(x, whole["y"], identity, _people(whole.get("record"))), task, str(file))
    if x.min() < -0.1 or x.max() > 1.1:
        raise BadInput(f"{file}: x runs from {x.min():g} to {x.max():g}; records must be scaled to [0, 1]")
    return replace(beats, x=x.clamp(*RANGE))


def _people(record: Tensor | None) -> Tensor | None:
    return None if record is None else torch.tensor([SAME_PERSON.get(r, r) for r in record.tolist()])
