"""Where dataset files are searched: SPLITLEAK_DATA, then ./data, then the user's cache folder; the first hit counts."""

from __future__ import annotations

import os
from pathlib import Path

from splitleak.contract.errors import FilesMissing

Layouts = dict[str, tuple[str, ...]]  # name of a folder layout: the files by which it is recognised, its markers
FETCH_NAMES = {"ecg": "mitbih", "ecg_pvc": "pvc"}  # dataset: what `splitleak fetch` calls the files that it builds


def find_file(dataset: str, file: str, subfolder: str | None = None) -> Path:
    """The first `<folder>/<dataset>/<file>` or `<folder>/<file>` that exists; else FilesMissing, which lists them all.

    `subfolder`: the name used instead of the dataset's, where its files lie beside those of another dataset.
    """
    places = search_places(subfolder or dataset)
    for place in places:
        if (place / file).is_file():
            return place / file
    advice = "set SPLITLEAK_DATA to the folder that holds it"
    advice += f", or build it: splitleak fetch {FETCH_NAMES[dataset]}" if dataset in FETCH_NAMES else ""
    raise FilesMissing(f"dataset '{dataset}': no file {file} in {', '.join(map(str, places))}; {advice}")


def find_layout(
    dataset: str, layouts: Layouts, only: str | None = None, more_places: tuple[Path, ...] = ()
) -> tuple[str, Path]:
    """The first layout (or the layout `only`) with a marker in a folder that is searched, and the marker's path.

    A marker is a path, `*` allowed, that only a folder of this layout has. FilesMissing lists markers and places.
    """
    places = [*search_places(dataset), *more_places]
    candidates = {name: markers for name, markers in layouts.items() if only in (None, name)}
    for place in places:
        for name, markers in candidates.items():
            for marker in markers:
                if found := sorted(place.glob(marker)):
                    return name, found[0]
    named = " or ".join(marker for markers in candidates.values() for marker in markers)
    searched = ", ".join(map(str, places))
    raise FilesMissing(f"dataset '{dataset}': no {named} in {searched}; set SPLITLEAK_DATA to the folder that holds it")


def search_places(dataset: str) -> list[Path]:
    """`<folder>/<dataset>` and `<folder>` for each data folder, in order of precedence."""
    return [place for folder in data_folders() for place in (folder / dataset, folder)]


def data_folders() -> list[Path]:
    """The folders that may hold data, in order of precedence."""
    chosen = os.environ.get("SPLITLEAK_DATA")
    first = [Path(chosen).expanduser()] if chosen else []
    return [*first, Path("data").absolute(), cache_folder()]


def cache_folder() -> Path:
    """The user's cache folder, for files that can be made again."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "splitleak"
