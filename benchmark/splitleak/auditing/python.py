"""`splitleak.audit`: the audit from Python, with networks and arrays as objects or as files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from splitleak import api
from splitleak.auditing import declaration
from splitleak.auditing.outcome import Audit
from splitleak.auditing.plans import Plan
from splitleak.auditing.run import How, carry_out
from splitleak.contract.errors import BadInput, did_you_mean
from splitleak.datasets.reading.message_log import SENT
from splitleak.datasets.reading.own_arrays import NDIMS
from splitleak.models._held import hold
from splitleak.process_settings import STANDARD, unchanged

ARRAYS = ("members", "strangers", "aux")
NETWORKS = ("client", "server")


def audit(
    client: nn.Module | str | None, members: Any, strangers: Any, *, out: str | Path = "runs/audit",
    quick: bool = False, device: str = "auto", **more: Any,
) -> Audit:  # fmt: skip
    """Measure what the messages of a client tell about its records; without `train` nothing of it is trained.

    client: an nn.Module, a file as in AUDIT.toml, or None where weights may not leave: then each table has z, the
    message of each record, and where they cross gradient, features and gradient_features. members, strangers: records
    that it was trained on, and others: a table of arrays {"x": (n, *in), "y": ..., "group": ...} (numpy or torch), x
    alone, or an npz or HDF5 file. out: the folder of audit.json and the records of all attacks; a run that was
    interrupted goes on. quick: only the attacks of seconds. more: the other fields of AUDIT.toml (server, aux, cuts,
    defenses, train, declared, ...). It runs in this process. Raises BadInput for a mistake of the user.
    """
    legal = [f.name for f in fields(declaration.Declaration)]
    for name in more:
        if name not in legal:
            raise BadInput(f"audit: no option {name!r}{did_you_mean(name, legal)} (options: {', '.join(legal)})")
    folder, given = Path(out).resolve(), more | {"client": client, "members": members, "strangers": strangers}
    if client is None:
        del given["client"]
    for name in NETWORKS:
        if isinstance(given.get(name), nn.Module):
            given[name] = hold(given[name])
    for name in ARRAYS:
        if name in given and not isinstance(given[name], str | Path):
            given[name] = os.path.relpath(_saved(given[name], folder / "given" / f"{name}.npz", name))
    with unchanged(STANDARD):
        plan = Plan(declaration.checked({n: _plain(v) for n, v in given.items()}, "audit"), Path.cwd())
        return carry_out(plan, How(folder, quick, device=api.pick_device(device)))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _saved(arrays: Any, file: Path, name: str) -> Path:
    """Arrays as a file of the results folder, where every process and a later run find them."""
    table = arrays if isinstance(arrays, Mapping) else {"x": arrays}
    legal = (*NDIMS, *SENT)
    if odd := [str(key) for key in table if key not in legal]:
        raise BadInput(f"audit: {name} has no array {', '.join(odd)} (legal: {', '.join(legal)})")
    plain = {key: v.detach().cpu().numpy() if isinstance(v, Tensor) else np.asarray(v) for key, v in table.items()}
    if odd := [key for key, value in plain.items() if value.dtype.hasobject]:
        raise BadInput(f"audit: {name}: {', '.join(odd)} holds Python objects; legal: numbers or text")
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **plain)  # type: ignore[arg-type]
    return file
