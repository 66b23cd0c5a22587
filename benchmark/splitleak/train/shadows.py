"""The records of a shadow victim: a random half of all that the real one may have been trained on.

Those are the private records, and the test records that are none of them. The coin of a record depends on the dataset
and on the number of the shadow, and never on the part that the record is in. Copies of a record have one coin, and so
have all records of a person where the dataset keeps people apart: there a stranger is a person whom the victim does not
know. Shadows 2j and 2j + 1 have the two halves of one draw, so every record is in exactly half of an even number.

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First Principles", S&P 2022
(each shadow model on a random half of the records).
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import torch
from torch import Tensor

from splitleak.contract import BadInput, Data, Records
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import seed_for


def data_for(cell: Cell, data: Data) -> Data:
    """The data that the victim of a cell is trained on: those of the dataset or, of a shadow, with its own half."""
    if cell.shadow is None:
        return data
    records = _pool(data)
    return replace(data, private=records.take(torch.isin(records.id, trained_on(cell, data)).nonzero().flatten()))


def trained_on(cell: Cell, data: Data) -> Tensor:
    """The identities of the records in a shadow's half."""
    if cell.shadow is None:
        raise ValueError("the cell of a shadow victim is needed")
    records = _pool(data)
    apart = records.group is not None and "patients-shared" not in data.flags
    unit = cast(Tensor, records.group if apart else records.id)
    known = unit.unique()  # sorted: the order tells nothing of the part
    generator = torch.Generator().manual_seed(seed_for("shadow half", cell.dataset, cell.shadow // 2) % 2**62)
    halves = known[torch.randperm(len(known), generator=generator).to(known.device)].tensor_split(2)
    ids: Tensor = records.id[torch.isin(unit, halves[cell.shadow % 2])].unique()
    return ids


def check(cell: Cell, data: Data) -> None:
    """BadInput where a shadow of this cell would hold less than one batch."""
    fewest = min((len(trained_on(shadow, data)) for shadow in cell.victims[1:]), default=cell.train.batch_size)
    if fewest < cell.train.batch_size:
        found = f"a shadow trains on half of all private records and strangers, here {fewest}"
        legal = f"[train] batch_size must be at most that, not {cell.train.batch_size}"
        raise BadInput(f"attack '{cell.attack['name']}': {found}: {legal}")


def _pool(data: Data) -> Records:
    """All private records, and the test records that are none of them."""
    strangers = data.test.take((~torch.isin(data.test.id, data.private.id)).nonzero().flatten())
    return Records(*(_joined(getattr(data.private, f.name), getattr(strangers, f.name)) for f in fields(Records)))


def _joined(a: Any, b: Any) -> Any:
    return None if a is None or b is None else torch.cat([a, b])
