"""Messages that were written down beside their records (npz or HDF5), where the network may not be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.array_files import read_hdf5, read_npz
from splitleak.datasets.reading.identity import record_hashes
from splitleak.datasets.reading.own_arrays import float32

SENT = ("z", "gradient", "features", "gradient_features")  # in a file beside x; only z must be there
State = tuple[int, int]  # of a file: when it was changed, and its size


@dataclass(frozen=True)
class MessageLog:
    """The rows are sorted by `keys`, hashes of the records; each record once."""

    in_shape: tuple[int, ...]
    keys: Tensor  # (n,)
    sent: dict[str, Tensor]  # those of SENT that are there, (n, ...)


def read_log(files: Mapping[str, Path], who: str) -> MessageLog:
    """The messages of all files. Where a record occurs twice, its first messages count."""
    return _read(tuple((name, file, _state(file, f"{who}: {name} ({file})")) for name, file in files.items()), who)


def _state(file: Path, who: str) -> State:
    if not file.is_file():
        raise FilesMissing(f"{who}: no such file; a path in a matrix starts at the matrix's folder")
    found = file.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)  # each cell of a matrix asks for it
def _read(files: tuple[tuple[str, Path, State], ...], who: str) -> MessageLog:
    parts = {name: _sent(file, f"{who}: {name} ({file})") for name, file, _ in files}
    first, *others = parts
    for name in others:
        for what in parts[first].keys() | parts[name].keys():
            shapes = [tuple(parts[n][what].shape[1:]) if what in parts[n] else "nothing" for n in (first, name)]
            if shapes[0] != shapes[1]:
                raise BadInput(f"{who}: {what} of {name} is {shapes[1]} for a record, of {first} {shapes[0]}")
    whole = {what: torch.cat([part[what] for part in parts.values()]) for what in parts[first]}
    x = whole.pop("x")
    keys, row = np.unique(record_hashes(x).numpy(), return_index=True)
    rows = torch.from_numpy(row)
    return MessageLog(tuple(x.shape[1:]), torch.from_numpy(keys), {name: t[rows] for name, t in whole.items()})


def _sent(file: Path, who: str) -> dict[str, Tensor]:
    """x and the messages of a file, checked."""
    if file.suffix in (".h5", ".hdf5"):
        raw = read_hdf5(file, "", ("x", "z"), SENT[1:])
    else:
        raw = read_npz(file, dict.fromkeys(("x", *SENT)), SENT[1:])
    for name, a in raw.items():
        if a.dtype.kind not in "fiub" or a.ndim < 2 or len(a) != len(raw["x"]):
            raise BadInput(f"{who}: {name} is {a.shape} of {a.dtype}; legal: numbers ({len(raw['x'])}, ...)")
    found = {name: float32(a) for name, a in raw.items()}
    for name, t in found.items():
        if not t.isfinite().all():
            raise BadInput(f"{who}: {name} has values that are not finite, or too large for 32 bits")
    for one, other in (("z", "gradient"), ("features", "gradient_features")):
        if other in found and (one not in found or found[one].shape != found[other].shape):
            raise BadInput(f"{who}: {other} must be there for each value of {one}")
    return found
