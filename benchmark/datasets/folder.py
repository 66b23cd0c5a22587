"""Data is looked for in SPLITLEAK_DATA, then ./data, then the user's cache folder: the first that has the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from splitleak.errors import BadInput, NotAtHand

Array = NDArray[Any]
FETCHED = {"ecg": "mitbih"}  # datasets whose files `splitleak fetch` builds, and from what


def find(dataset: str, file: str) -> Path:
    """The first `<folder>/<dataset>/<file>` or `<folder>/<file>` that exists; NotAtHand lists where it looked."""
    places = [place for folder in folders() for place in (folder / dataset, folder)]
    for place in places:
        if (place / file).is_file():
            return place / file
    told = "point SPLITLEAK_DATA to the folder that holds it"
    told += f", or build it: splitleak fetch {FETCHED[dataset]}" if dataset in FETCHED else ""
    raise NotAtHand(f"dataset '{dataset}': no file {file} in {', '.join(map(str, places))}; {told}")


def folders() -> list[Path]:
    """Where data may lie, in order of precedence."""
    chosen, cache = os.environ.get("SPLITLEAK_DATA"), os.environ.get("XDG_CACHE_HOME")
    first = [Path(chosen).expanduser()] if chosen else []
    return [*first, Path("data").absolute(), (Path(cache) if cache else Path.home() / ".cache") / "splitleak"]


def hdf5(file: Path, ending: str, keys: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Array]:
    """The arrays `<key><ending>` of an HDF5 file, numbers only, by their key."""
    if not file.is_file():
        raise NotAtHand(f"{file}: no such file")
    try:
        with h5py.File(file, "r") as opened:
            there = {k: v for k, v in opened.items() if isinstance(v, h5py.Dataset) and v.dtype.kind in "fiu"}
            if missing := [key + ending for key in keys if key + ending not in there]:
                listed = ", ".join(opened) or "nothing"
                raise BadInput(f"{file}: no array of numbers {' and no '.join(missing)} in it; there is: {listed}")
            return {k: np.asarray(there[k + ending][()]) for k in (*keys, *optional) if k + ending in there}
    except (OSError, RuntimeError, KeyError) as error:
        raise BadInput(f"{file}: not a readable HDF5 file ({' '.join(str(error).split())})") from error
