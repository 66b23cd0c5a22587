"""The division of records among clients: whole patients, evenly or by a Dirichlet skew."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Records, Task
from splitleak.contract.errors import BadInput
from splitleak.plan.settings import Clients

ROUNDS = 100  # of proportional fitting
LEAST = 1e-6  # share of a class that a client wishes at least: an exact 0 cannot be fitted


def divide(records: Records, clients: Clients, task: Task, seed: int, least: int = 2) -> list[Records]:
    """One part for each client: whole groups (patients) if known, otherwise single records.

    Without skew, each patient, the largest first, goes to the client with the fewest records. With skew, each goes
    where it brings the parts nearest to `wishes`; the same seed draws the same proportions for any records. BadInput
    if a client would get no patient or fewer than `least` records: a single record has no norm and no range.
    """
    n = clients.n
    if n == 1:
        return [records]
    have, what = (len(records), "records") if records.group is None else (len(records.group.unique()), "patients")
    if n > have:
        raise BadInput(f"axis 'clients': {n} clients, but the private records are only {have} {what}")
    parts = _even(records, n, seed) if clients.skew is None else _skewed(records, clients, task, seed, least)
    fewest = min(len(part) for part in parts)
    if fewest < least:
        found = f"{n} clients, but of {len(records)} private records ({have} {what}) one of them would hold {fewest}"
        raise BadInput(f"axis 'clients': {found}, and training needs {least} each: take fewer clients")
    return [records.take(part.to(records.x.device)) for part in parts]


def wishes(counts: Tensor, n: int, alpha: float, rng: np.random.Generator) -> Tensor:
    """(n, K): how many records of each class a client should hold, of counts (K,) that there are.

    K > 1: each client draws its proportions of the classes from Dirichlet(alpha) (Hsu et al. 2019); all are to be of
    one size and every record is to be used, so the draws are fitted to both sums in turn (Deming and Stephan 1940).
    K = 1, no classes: the clients' sizes are drawn from Dirichlet(alpha).
    """
    if len(counts) == 1:
        return counts * torch.from_numpy(rng.dirichlet([alpha] * n))[:, None]
    wish = torch.from_numpy(rng.dirichlet([alpha] * len(counts), size=n)).clamp(min=LEAST)
    for _ in range(ROUNDS):
        wish = wish * (counts / wish.sum(0).clamp(min=1e-300))  # a class may be missing
        wish = wish * (counts.sum() / n / wish.sum(1, keepdim=True))
    return wish


def _even(records: Records, n: int, seed: int) -> list[Tensor]:
    """Positions: each patient, the largest first, to the client with the fewest records; single records at random."""
    if records.group is None:
        order = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))
        return list(order.tensor_split(n))
    groups, sizes = records.group.unique(return_counts=True)
    owner, load = torch.zeros_like(groups), [0] * n
    for i in sizes.argsort(descending=True, stable=True).tolist():
        owner[i] = lightest = load.index(min(load))
        load[lightest] += int(sizes[i])
    client = owner[torch.searchsorted(groups, records.group)]
    return [(client == i).nonzero().flatten() for i in range(n)]


def _skewed(records: Records, clients: Clients, task: Task, seed: int, least: int) -> list[Tensor]:
    """Positions: each patient, the largest first, to the client whose unmet wish it fits best.

    That choice lowers the squared distance between parts and wishes the most. Towards the end only clients that still
    lack records are considered.
    """
    rng = np.random.default_rng(seed)
    y = records.y.cpu() if task.kind == "classes" else torch.zeros(len(records), dtype=torch.int64)
    kinds = task.size if task.kind == "classes" else 1
    counts = y.bincount(minlength=kinds).double()
    left = wishes(counts, clients.n, clients.skew or 0.0, rng).numpy()  # drawn first: whatever the records
    group = torch.arange(len(records)) if records.group is None else records.group.cpu()
    groups, of = group.unique(return_inverse=True)
    held = np.zeros((len(groups), kinds))  # of each class by a patient
    np.add.at(held, (of.numpy(), y.numpy()), 1)
    order = rng.permutation(len(groups))
    order = order[np.argsort(-held.sum(1)[order], kind="stable")]
    owner, lacks = np.zeros(len(groups), dtype=np.int64), np.full(clients.n, float(least))
    for done, i in enumerate(order):
        serves = left @ held[i]
        if len(groups) - done <= lacks.clip(0).sum():
            serves[lacks <= 0] = -np.inf
        owner[i] = best = int(serves.argmax())
        left[best] -= held[i]
        lacks[best] -= held[i].sum()
    client = torch.from_numpy(owner)[of]
    return [(client == c).nonzero().flatten() for c in range(clients.n)]
