"""Split training across processes and machines.

`serve` holds the top and trains it; each `join` holds the records, the bottom and the head of one client.
"""

from __future__ import annotations

import gc
from importlib.util import find_spec


def require_packages() -> None:
    """Raise BadInput if a package of the extra is missing; nothing else in splitleak needs these packages."""
    from splitleak.contract.errors import BadInput  # imports torch, which `--help` can do without

    missing = [name for name in ("grpc", "cryptography") if find_spec(name) is None]
    if missing:
        raise BadInput(f"serve and join need {' and '.join(missing)}: pip install 'splitleak[wire]'")


def use_one_thread() -> None:
    """Compute with one thread, like a worker of `run`: the order of sums, and so the bits, depend on it."""
    import torch

    torch.set_num_threads(1)


def freeze_garbage_collector() -> None:
    """Exempt all present objects from garbage collection, which would cost time between two messages."""
    gc.collect()
    gc.freeze()
