"""Split training across processes and machines: `serve` holds the top, each `join` its records, its bottom and head."""

from __future__ import annotations

import gc
from importlib.util import find_spec

from splitleak.contract.errors import BadInput


def need() -> None:
    """BadInput where the packages of the extra are missing; nothing else in splitleak needs them."""
    missing = [name for name in ("grpc", "cryptography") if find_spec(name) is None]
    if missing:
        raise BadInput(f"serve and join need {' and '.join(missing)}: pip install 'splitleak[wire]'")


def one_thread() -> None:
    """As a worker of `run`: the bits hang on it."""
    import torch

    torch.set_num_threads(1)


def settle() -> None:
    """Before the first step: what lives until the end is looked through no more for garbage between two messages."""
    gc.collect()
    gc.freeze()
