"""Single heartbeats cut around the R peak and scaled to [0, 1]: five classes from 43 records of real patients.

Abuadbba et al., AsiaCCS 2020: 128 samples of lead MLII from the MIT-BIH Arrhythmia Database (Moody & Mark, 2001).
Their draw is with replacement and every patient is in both files; `split` says what is made of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Data, Dataset, Records, Task
from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.check import checked, sound
from splitleak.datasets.reading.folder import Array, find, hdf5

Beat = Literal["N", "L", "R", "A", "V"]
BEATS = "NLRAV"  # normal, left and right bundle branch block, atrial and ventricular premature beat
TASK = Task("classes", len(BEATS))
RANGE = (0.0, 1.0)
SHARES = (
    0.6,
    0.2,
    0.2,
)  # of every class's beats to private, auxiliary and test, where whole patients are divided
SEED = 2019
SAME_PERSON = {202: 201}  # MIT-BIH's 48 records are from 47 people


@dataclass(frozen=True)
class ECG(Dataset):
    """`clean`: no beat twice across parts; `patients`: no patient either; `reference`: as published."""

    split: Literal["clean", "patients", "reference"] = "clean"
    positive: Beat | None = None  # this class against the rest

    def load(self) -> Data:
        file = find("ecg", "train_ecg.hdf5")
        files = file, file.with_name("test_ecg.hdf5")
        divide = {"clean": _clean, "patients": _patients, "reference": _reference}[self.split]
        who = f"dataset '{self}' ({files[0]}, {files[1]})"
        return checked(against_rest(divide(*_read(*files), who), self.positive), who)


def against_rest(data: Data, positive: Beat | None) -> Data:
    """Two classes instead of five: y = 1 for the positive one."""
    if positive is None:
        return data
    k = BEATS.index(positive)
    private, aux, test = (replace(part, y=(part.y == k).long()) for part in (data.private, data.aux, data.test))
    return replace(data, private=private, aux=aux, test=test, task=Task("classes", 2))


def _clean(train: Records, test: Records, who: str) -> Data:
    fresh = _fresh(test, train)
    order = np.lexsort((np.random.default_rng(SEED).random(len(fresh)), fresh.y.numpy()))  # shuffled in each class
    aux, rest = (fresh.take(torch.from_numpy(np.sort(half))) for half in (order[::2], order[1::2]))
    return Data(train, aux, rest, TASK, RANGE, ("patients-shared",))


def _reference(train: Records, test: Records, who: str) -> Data:
    return Data(train, _fresh(test, train), test, TASK, RANGE, ("reference-split", "patients-shared"))


def _patients(train: Records, test: Records, who: str) -> Data:
    if train.group is None or test.group is None:
        raise BadInput(f"{who}: split 'patients' needs record_train and record_test, which are not in these files")
    both = [torch.cat([getattr(train, name), getattr(test, name)]) for name in ("x", "y", "id", "group")]
    pool = _once(Records(*both))
    part = by_patient(both[3][_first(both[2])], pool.y, TASK, who)
    private, aux, rest = (pool.take(torch.from_numpy(np.flatnonzero(part == p))) for p in range(3))
    return Data(private, aux, rest, TASK, RANGE)


def by_patient(group: Tensor, y: Tensor, task: Task, who: str, seed: int = SEED) -> Array:
    """Each beat's part, (n,): 0 private, 1 auxiliary, 2 test, all beats of a patient in the same one."""
    people, person = np.unique(group.numpy(), return_inverse=True)
    counts = np.zeros((len(people), task.size))
    np.add.at(counts, (person, y.numpy()), 1)
    return _deal(counts, who, seed)[person]


def _deal(counts: Array, who: str, seed: int) -> Array:
    """Whole people to parts: of 20,000 seeded deals, the one whose parts come nearest to their share of every class.

    Nearest: the least sum over parts and classes of |share held - share wanted|, among deals with every class in
    every part.
    """
    drawn = np.random.default_rng(seed).random((20_000, len(counts)))
    deals = np.digitize(drawn, np.cumsum(SHARES)[:-1])  # (deal, person) part 0, 1 or 2
    held = np.stack([(deals == p) @ counts for p in range(3)], axis=1)  # (deal, part, class)
    score = np.abs(held / np.maximum(counts.sum(0), 1) - np.array(SHARES)[:, None]).sum((1, 2))
    legal = (held > 0).all((1, 2))
    if not legal.any():
        told = f"beats a class: {counts.sum(0).astype(int).tolist()}"
        raise BadInput(f"{who}: {len(counts)} patients do not go into parts that all have every class; {told}")
    return np.asarray(deals[np.where(legal, score, np.inf).argmin()])


def _first(identity: Tensor) -> Tensor:
    """Where each identity occurs first, in order."""
    return torch.from_numpy(np.sort(np.unique(identity.numpy(), return_index=True)[1]))


def _once(records: Records) -> Records:
    return records.take(_first(records.id))


def _fresh(test: Records, train: Records) -> Records:
    """The test beats that are not training beats, each once."""
    return _once(test.take(torch.nonzero(~torch.isin(test.id, train.id)).flatten()))


def _read(train: Path, test: Path) -> tuple[Records, Records]:
    """Both files; a beat's identity is its place in its record or, unless both files tell that, its samples."""
    raw = [hdf5(f, f"_{part}", ("x", "y"), ("record", "rpeak")) for f, part in ((train, "train"), (test, "test"))]
    told = raw[0].keys() & raw[1].keys()
    one, other = (records({k: r[k] for k in told}, f, TASK) for r, f in zip(raw, (train, test), strict=True))
    if one.x.shape != (len(one), *other.x.shape[1:]):
        raise BadInput(f"{test}: beats of {other.x.shape[2]} samples, but of {one.x.shape[2]} in {train}")
    return one, other


def records(raw: dict[str, Array], file: Path, task: Task) -> Records:
    """Beats of a file by its arrays x (n, 1, samples), y and, where they are there, record and rpeak."""
    wide = raw["x"]
    if wide.ndim != 3 or wide.shape[1] != 1:
        raise BadInput(f"{file}: x has shape {wide.shape}, wanted (n, 1, samples)")
    columns = {key: a for key, a in raw.items() if key != "x"}
    for key, a in columns.items():
        if a.shape != wide.shape[:1] or a.dtype.kind == "f":
            had = f"{key} has shape {a.shape} of {a.dtype}"
            raise BadInput(f"{file}: {had}, wanted ({len(wide)},) whole numbers, one for each beat in x")
    x = torch.from_numpy(wide.astype(np.float32))
    whole = {key: torch.from_numpy(a.astype(np.int64)) for key, a in columns.items()}
    place = whole["record"] << 32 | whole["rpeak"] if {"record", "rpeak"} <= whole.keys() else _hashes(x)
    beats = sound(Records(x, whole["y"], place, _people(whole.get("record"))), task, str(file))
    if x.min() < -0.1 or x.max() > 1.1:
        raise BadInput(f"{file}: x runs from {x.min():g} to {x.max():g}, wanted records scaled to [0, 1]")
    return replace(beats, x=x.clamp(*RANGE))


def _hashes(x: Tensor) -> Tensor:
    digests = (blake2b(row.tobytes(), digest_size=8).digest() for row in x.numpy())
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests])


def _people(record: Tensor | None) -> Tensor | None:
    return None if record is None else torch.tensor([SAME_PERSON.get(r, r) for r in record.tolist()])
