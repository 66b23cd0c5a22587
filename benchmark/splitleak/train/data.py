"""The records of a case, loaded and checked once."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from splitleak.contract import BadInput, Data
from splitleak.contract.task import Objective
from splitleak.datasets.reading.validation import validate_records
from splitleak.loading import one_line
from splitleak.plan.case import Case
from splitleak.plan.settings import Train
from splitleak.process_settings import unchanged


def load_data(case: Case, device: torch.device) -> Data:
    """Load the records and check what training relies on: a dataset from elsewhere may not have done so."""
    who = f"dataset '{case.cell.dataset['name']}'"
    try:
        with unchanged():
            data = case.dataset.load()
        for name in ("private", "aux", "test"):
            validate_records(getattr(data, name), data.task, f"{who}: {name} part")
        check_variation(case.cell.train, data, who)
        return with_loss(data, case.cell.train.loss, who).to(device)
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BadInput(f"{who} cannot be loaded: {one_line(error)}") from error


def check_variation(train: Train, data: Data, who: str) -> None:
    """Refuse to mirror what is no image, and to relight what is not in [0, 1]."""
    if (train.flip != "none" or train.augment) and len(data.in_shape) != 3:
        name = "augment" if train.augment else "flip"
        raise BadInput(f"[train] {name} is for images, and the records of {who} have shape {data.in_shape}")
    if train.augment and tuple(data.in_range) != (0, 1):
        raise BadInput(f"[train] augment is for images in [0, 1], and those of {who} are in {data.in_range}")


def with_loss(data: Data, loss: Objective, who: str) -> Data:
    """The same data with the loss of `[train]` in its task: all later code takes the loss from the task."""
    kind = data.task.kind
    if loss != "own" and kind != "mask":
        raise BadInput(f"[train] loss '{loss}' is one for masks, but the task of {who} is '{kind}' (legal: own)")
    return replace(data, task=replace(data.task, objective=loss))


def data_digest(data: Data) -> str:
    """A hash of all records: other files under the same name make another victim."""
    whole = hashlib.sha256()
    for part in (data.private, data.aux, data.test):
        for t in (part.x, part.y, part.id, part.group):
            whole.update(b"" if t is None else t.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]
