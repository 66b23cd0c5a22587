"""Packages that load late are loaded in the worker, before the jobs' processes are forked, not in each of these.

torch loads its compiler at the first step of an optimiser (2 seconds), some defences load opacus. Only packages that
this one depends on are loaded ahead: what else a plug-in imports stays in the process of its job.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache

from splitleak.process_settings import unchanged

ALWAYS = ("torch._dynamo", "torch.profiler", "scipy.ndimage", "dtaidistance.dtw", "dtaidistance.dtw_ndim")
PACKAGES = ("torch", "scipy", "dtaidistance", "flwr", "opacus", "dp_accounting")


@cache
def preload() -> None:
    """Load what nearly every job needs."""
    load(ALWAYS)


def load(names: Iterable[str]) -> None:
    """Load these modules; one that cannot be loaded is left to the job that needs it."""
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(Exception), unchanged():
                importlib.import_module(name)


def loaded_since(before: Iterable[str]) -> Iterator[str]:
    """Modules of these packages that were loaded since only those of `before` were there."""
    for name in sorted(set(sys.modules) - set(before)):
        if name.partition(".")[0] in PACKAGES:
            yield name
