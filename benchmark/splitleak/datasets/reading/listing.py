"""Which image files belong together: what a folder holds, which of them a table names, which masks are whose."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.divide import leave_out, some

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Files:
    """One record on disk: its image and, for a mask task, the files whose union is its mask."""

    image: Path
    masks: tuple[Path, ...] = ()


def index(folder: Path) -> dict[str, Path]:
    """The images in a folder by their name without suffix."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of images")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            if file.stem in found:
                raise BadInput(f"{folder}: {found[file.stem].name} and {file.name} have the same name; one must go")
            found[file.stem] = file
    if not found:
        raise BadInput(f"{folder}: no images in it (wanted: {', '.join(SUFFIXES)})")
    return found


def listed(names: list[str], found: dict[str, Path], table: Path, who: str) -> tuple[list[int], tuple[str, ...]]:
    """Which of the names that a table gives (with suffix or without) are there; a few may be missing, none twice."""
    stems = [stem(name) for name in names]
    if twice := [name for name, times in Counter(stems).items() if times > 1]:
        raise BadInput(f"{table}: '{twice[0]}' is named twice; wanted one row for each image")
    missing = [names[i] for i, name in enumerate(stems) if name not in found]
    folder = next(iter(found.values())).parent
    notes = leave_out(who, missing, len(names), f"labels in {table.name} name files that are not in {folder}")
    known = {*stems}
    if spare := [file.name for name, file in found.items() if name not in known]:
        notes += (f"{who}: {some(len(spare), spare[:3])} of {len(found)} images are not in {table.name}: left out",)
    return [i for i, name in enumerate(stems) if name in found], notes


def stem(name: str) -> str:
    """A name as a table gives it, without the suffix of an image."""
    return name.rpartition(".")[0] if name.lower().endswith(SUFFIXES) else name


def masked(images: Path, rows: list[list[Path]], who: str) -> tuple[list[Files], tuple[str, ...]]:
    """Each image with a mask of its name (or name_mask) out of every folder of the row; images without are told."""
    found = index(images)
    if not rows:
        return [Files(file) for file in found.values()], ()
    sides = [_by_image(folder) for folder in rows[0]]
    for folder, side in zip(rows[0], sides, strict=True):
        if orphans := [file.name for name, file in side.items() if name not in found]:
            raise BadInput(
                f"{folder}: {some(len(orphans), orphans[:3])} of {len(side)} masks have no image in {images}"
            )
    full = {name for name in found if all(name in side for side in sides)}
    bare = [file.name for name, file in found.items() if name not in full]
    files = [Files(file, tuple(side[name] for side in sides)) for name, file in found.items() if name in full]
    if not files:
        raise BadInput(f"{who}: none of the {len(found)} images in {images} has a mask in {rows[0][0]}")
    told = f"{who}: {some(len(bare), bare[:3])} of {len(found)} images have no mask: left out"
    return files, (told,) if bare else ()


def _by_image(folder: Path) -> dict[str, Path]:
    """Masks by the name of their image: their own, or without _mask."""
    masks: dict[str, Path] = {}
    for name, file in index(folder).items():
        whose = name.removesuffix("_mask")
        if whose in masks:
            raise BadInput(f"{folder}: {masks[whose].name} and {file.name} are masks of the same image; one must go")
        masks[whose] = file
    return masks
