"""Which image files belong to a record: the images of a folder, those that a table names, and the masks of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from splitleak.contract.errors import BadInput
from splitleak.datasets.reading.division_by_person import Manifest, count_and_examples, note_left_out

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class ImageFiles:
    """The files of one record: its image and, for a mask task, the files whose union is its mask."""

    image: Path
    masks: tuple[Path, ...] = ()


ImageListing = tuple[Manifest, list[ImageFiles], tuple[str, ...]]  # records, their files, notes on what was left out


def images_in(folder: Path) -> dict[str, Path]:
    """The images in a folder by their name without suffix."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of images")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            if file.stem in found:
                raise BadInput(f"{folder}: {found[file.stem].name} and {file.name} have the same name; remove one")
            found[file.stem] = file
    if not found:
        raise BadInput(f"{folder}: no images in it (legal suffixes: {', '.join(SUFFIXES)})")
    return found


def rows_with_image(
    names: list[str], images: dict[str, Path], table: Path, who: str
) -> tuple[list[int], tuple[str, ...]]:
    """The indices of a table's names (with or without suffix) that have an image, and notes on the rest.

    A few images may be missing; a name that occurs twice is BadInput.
    """
    stems = [stem(name) for name in names]
    if twice := [name for name, times in Counter(stems).items() if times > 1]:
        raise BadInput(f"{table}: '{twice[0]}' is named twice; each image may have one row")
    missing = [names[i] for i, name in enumerate(stems) if name not in images]
    folder = next(iter(images.values())).parent
    notes = note_left_out(who, missing, len(names), f"labels in {table.name} name files that are not in {folder}")
    known = {*stems}
    if spare := [file.name for name, file in images.items() if name not in known]:
        notes += (f"{who}: {count_and_examples(spare)} of {len(images)} images are not in {table.name}: left out",)
    return [i for i, name in enumerate(stems) if name in images], notes


def stem(name: str) -> str:
    """A name in a table without the suffix of an image."""
    return name.rpartition(".")[0] if name.lower().endswith(SUFFIXES) else name


def images_with_masks(images: Path, mask_folders: list[Path], who: str) -> tuple[list[ImageFiles], tuple[str, ...]]:
    """Each image with its mask from every mask folder, and a note on images without one, which are left out.

    A mask has the name of its image, or this name followed by _mask. Without mask folders: the images alone.
    """
    found = images_in(images)
    if not mask_folders:
        return [ImageFiles(file) for file in found.values()], ()
    sides = [_masks_by_image(folder) for folder in mask_folders]
    for folder, side in zip(mask_folders, sides, strict=True):
        if orphans := [file.name for name, file in side.items() if name not in found]:
            raise BadInput(f"{folder}: {count_and_examples(orphans)} of {len(side)} masks have no image in {images}")
    full = {name for name in found if all(name in side for side in sides)}
    bare = [file.name for name, file in found.items() if name not in full]
    files = [ImageFiles(file, tuple(side[name] for side in sides)) for name, file in found.items() if name in full]
    if not files:
        raise BadInput(f"{who}: none of the {len(found)} images in {images} has a mask in {mask_folders[0]}")
    note = f"{who}: {count_and_examples(bare)} of {len(found)} images have no mask: left out"
    return files, (note,) if bare else ()


def _masks_by_image(folder: Path) -> dict[str, Path]:
    """The masks in a folder by the name of their image."""
    masks: dict[str, Path] = {}
    for name, file in images_in(folder).items():
        image = name.removesuffix("_mask")
        if image in masks:
            raise BadInput(f"{folder}: {masks[image].name} and {file.name} are masks of the same image; remove one")
        masks[image] = file
    return masks
