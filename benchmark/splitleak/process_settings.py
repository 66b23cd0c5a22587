"""The settings of this process that any code can change and that move numbers: torch's, numpy's, the current folder.

A plug-in's import and every call of it happen in `unchanged()`, so that what it sets ends with it. Where the harness
works while an attack runs, such as a step of the victim, it does so in `unchanged(STANDARD)` or under settings that it
has kept, and the attack then finds its own again. Random states are the business of `plan.seeds.Stream`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Values = dict[str, Any]
TINY = float("1e-310")  # zero where a processor flushes such numbers


@dataclass(frozen=True)
class Setting:
    """How a setting is read and set, and what it is in a fresh process; a run has one thread."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    standard: Any = None  # no meaning for PLACES


def _of(owner: Any, name: str, standard: Any) -> Setting:
    return Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), standard)


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # set through torch's newer interface, which the older one refuses to describe
        return None


def _set_matmul_precision(value: str | None) -> None:
    if value is not None:
        torch.set_float32_matmul_precision(value)


def _device() -> str | None:
    """The default device where one was chosen; only then does torch look it up at every call."""
    found = str(torch.get_default_device())
    return None if found == "cpu" else found


def _flushes() -> bool:
    """Whether numbers near zero become zero; torch can set it, not tell it."""
    return TINY * 1.0 == 0.0


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _autocast() -> tuple[Any, ...]:
    return (*((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")),)


def _set_autocast(value: tuple[Any, ...]) -> None:
    for kind, (enabled, dtype) in zip(("cpu", "cuda"), value, strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


NUMBERS = {  # what decides the bits of a result
    "threads": Setting(torch.get_num_threads, torch.set_num_threads, 1),
    "grad": Setting(torch.is_grad_enabled, torch.set_grad_enabled, True),
    "dtype": Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "device": Setting(_device, torch.set_default_device, None),
    "deterministic": Setting(_deterministic, _set_deterministic, (False, False)),
    "fill": _of(torch.utils.deterministic, "fill_uninitialized_memory", True),
    "anomaly": Setting(_anomaly, lambda value: torch.set_anomaly_enabled(*value), (False, True)),
    "autocast": Setting(_autocast, _set_autocast, ((False, torch.bfloat16), (False, torch.float16))),
    "matmul": Setting(_matmul_precision, _set_matmul_precision, "highest"),
    "flush": Setting(_flushes, torch.set_flush_denormal, False),
    "mha": Setting(torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, True),
    "mkldnn": _of(torch.backends.mkldnn, "enabled", True),
    "mkldnn deterministic": _of(torch.backends.mkldnn, "deterministic", False),
    "cudnn": _of(torch.backends.cudnn, "enabled", True),
    "cudnn benchmark": _of(torch.backends.cudnn, "benchmark", False),
    "cudnn deterministic": _of(torch.backends.cudnn, "deterministic", False),
    "numpy": Setting(np.geterr, lambda value: np.seterr(**value), np.geterr()),
}


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _go_to(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            os.chdir(folder)


def _set_environment(value: dict[str, str]) -> None:
    for name in os.environ.keys() - value.keys():
        del os.environ[name]
    os.environ.update(value)


def _set_list(owner: Any, name: str, value: list[Any]) -> None:
    getattr(owner, name)[:] = value
    if owner is warnings:
        warnings._filters_mutated()  # or Python goes on with what it remembers


PLACES = {  # what decides which files and modules are found, and what is said
    "folder": Setting(_folder, _go_to),
    "environment": Setting(lambda: dict(os.environ), _set_environment),
    "path": Setting(lambda: list(sys.path), lambda value: _set_list(sys, "path", value)),
    "warnings": Setting(lambda: list(warnings.filters), lambda value: _set_list(warnings, "filters", value)),
    "recursion": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
}
STANDARD: Values = {name: setting.standard for name, setting in NUMBERS.items()}
ALL = NUMBERS | PLACES


def numbers() -> Values:
    """The present values of the settings that decide results."""
    return {name: setting.get() for name, setting in NUMBERS.items()}


def _change(now: Values, to: Values) -> None:
    for name, value in to.items():
        if now[name] != value:
            ALL[name].set(value)


@contextmanager
def unchanged(values: Values | None = None) -> Iterator[None]:
    """Afterwards every setting is as it was before, whatever happens inside; `values` hold inside from the start."""
    before = {name: setting.get() for name, setting in ALL.items()}
    try:
        _change(before, values or {})
        yield
    finally:
        _change({name: setting.get() for name, setting in ALL.items()}, before)


@contextmanager
def under(values: Values) -> Iterator[None]:
    """The same for the settings that decide results alone: fast enough for each step of a victim.

    A caller who holds `torch.inference_mode()` or `with torch.device(...)` open has it suspended inside.
    """
    before = numbers()
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if before["device"] != values["device"]:
            stack.enter_context(torch.device(values["device"] or "cpu"))
        wanted = {name: value for name, value in values.items() if name != "device"}
        try:
            _change(before | {"grad": torch.is_grad_enabled()}, wanted)
            yield
        finally:
            _change(numbers(), {name: value for name, value in before.items() if name != "device"})
