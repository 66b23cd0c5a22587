"""The records of a case: loaded, checked, and the same whenever they are loaded again."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import torch

from splitleak.contract import BadInput, Data, Dataset
from splitleak.contract.plugin import Spec
from splitleak.contract.task import Objective
from splitleak.datasets.reading.validation import validate
from splitleak.loading import one_line
from splitleak.plan.case import Case
from splitleak.plan.settings import Train
from splitleak.process_settings import unchanged
from splitleak.store import digest

Digests = dict[str, str]  # of each dataset that was loaded: hash of its specification -> hash of its records


def load_data(case: Case, device: torch.device, digests: Digests | None = None) -> Data:
    """Load the records of a case and check all that its dataset promises; an outside one may not have done so.

    digests: what each dataset was when it was loaded before, in this process or in the one that started it.
    """
    spec, train = case.cell.dataset, case.cell.train
    who = f"dataset '{spec['name']}'"
    data = _load(case.dataset, spec, who, digests)
    check_variation(train, data, who)
    return with_loss(data, train.loss, who).to(device)


def load_aux(case: Case, device: torch.device, digests: Digests | None = None) -> Data | None:
    """The same of the other dataset that the axis `aux` names; None if it names none."""
    if case.aux_dataset is None:
        return None
    spec = aux_spec(case)
    return _load(case.aux_dataset, spec, f"axis 'aux': dataset '{spec['name']}'", digests).to(device)


def aux_spec(case: Case) -> Spec:
    """The dataset that the axis `aux` names."""
    return {key: value for key, value in case.cell.aux.items() if key not in ("n", "labels")}


def _load(dataset: Dataset, spec: Spec, who: str, digests: Digests | None) -> Data:
    """Load and check. A dataset must give the same records whenever it is loaded; a new one from outside is tried."""
    known, key, data = {} if digests is None else digests, digest(spec), _checked(dataset, who)
    found = data_digest(data)
    if key not in known:
        known[key] = found if _ships(dataset) else data_digest(_checked(dataset, who))
    if known[key] != found:
        raise BadInput(f"{who} gave other records when it was loaded again; its `load` must be deterministic")
    return data


def _ships(dataset: Dataset) -> bool:
    return type(dataset).__module__.startswith("splitleak.datasets.")


def _checked(dataset: Dataset, who: str) -> Data:
    try:
        with unchanged():
            data = dataset.load()
        return validate(data, who)
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
    """A hash of everything that a dataset gives, its notes aside; the loss that `[train]` sets is no part of it."""
    low, high = data.in_range
    whole = hashlib.sha256(repr((data.task.kind, data.task.size, float(low), float(high), data.flags)).encode())
    for part in (data.private, data.aux, data.test):
        for f in fields(part):
            t = getattr(part, f.name)
            whole.update(f"{f.name} {'none' if t is None else (t.dtype, tuple(t.shape))}".encode())
            whole.update(b"" if t is None else t.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]
