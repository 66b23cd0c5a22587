"""Randomness by name and by party: every seed comes from named axes, every party has a stream of its own."""

from __future__ import annotations

import hashlib
import json
import random
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from splitleak.plan.cell import Cell


def seed_for(role: str, *axes: Any) -> int:
    """A 63-bit seed from the sha256 of a role and axes (dataset, model, seed), the same on every machine."""
    text = json.dumps([role, *axes], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Stream:
    """One party's random state (torch, numpy, python, cuda); `with stream:` swaps it in and the other's back after.

    Victim and attacker have one each, so that whatever the attacker draws, the victim's numbers stay the same.
    """

    def __init__(self, seed: int) -> None:
        was = _state()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        self._mine = _state()
        _restore(was)

    def __enter__(self) -> Stream:
        self._other = _state()
        _restore(self._mine)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mine = _state()
        _restore(self._other)


def _state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), cuda


def _restore(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
    if state[3] is not None:
        torch.cuda.set_rng_state_all(state[3])


def axis_seed(role: str, cell: Cell) -> int:
    """Seeds name dataset, model and seed: rows that differ only in the defence share order, targets and weights."""
    return seed_for(role, cell.dataset, cell.model, cell.seed)


def order_seed(cell: Cell) -> int:
    """Of the order of records, and of their division among clients."""
    return axis_seed("order", cell) % 2**62
