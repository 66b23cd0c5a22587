"""Seeds by name, and a random stream for each party: every seed is derived from named axes."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import torch

from splitleak.contract.plugin import Spec


def seed_for(role: str, *axes: Any) -> int:
    """A 63-bit seed from the sha256 of a role and axes (dataset, model, seed), the same on every machine."""
    text = json.dumps([role, *axes], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Seeds:
    """All seeds of a cell. They name dataset, model and seed only.

    So rows that differ in the defence share initial weights, the order of the batches, and the targets.
    """

    dataset: Spec = field(default_factory=dict)
    model: Spec = field(default_factory=dict)
    seed: int = 0

    def of(self, role: str) -> int:
        """The seed of one role, such as "init" or "targets"."""
        return seed_for(role, self.dataset, self.model, self.seed)

    def generator(self, role: str) -> torch.Generator:
        """A generator of torch for one role."""
        return torch.Generator().manual_seed(self.of(role) % 2**62)

    @property
    def order(self) -> int:
        """The seed of the order of the records and of their division among clients."""
        return self.of("order") % 2**62


class Stream:
    """The random state of one party (torch, numpy, Python, CUDA). `with stream:` uses it and then restores the other.

    Victim and attacker have one each: whatever the attacker draws, the random numbers of the victim stay the same.
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
