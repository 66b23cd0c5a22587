"""A victim: a split network with the live defence around it, the records, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput, Data, Defense, Hooks, Split
from splitleak.contract.methods import check_methods
from splitleak.contract.nouns import Form
from splitleak.plan.case import Case
from splitleak.plan.recipe import Recipe
from splitleak.plan.seeds import Stream
from splitleak.process_settings import unchanged
from splitleak.store import fingerprint


@dataclass
class Victim:
    """What is attacked: the network, its records, the defence and the recipe of its training."""

    split: Split
    data: Data
    live: Hooks
    defense: Defense
    recipe: Recipe = field(default_factory=Recipe)

    @classmethod
    def of(cls, split: Split, data: Data, defense: Defense, recipe: Recipe | None = None) -> Victim:
        """A network of one's own, trained or not, behind a defence."""
        recipe = recipe or Recipe("vanilla" if split.head is None else "u_shape")
        split, live = defended(split, data.form, defense, recipe, data.private.x.device)
        return cls(split, data, live, defense, recipe)

    @property
    def cut(self) -> bool:
        """Whether messages about single records cross the wire."""
        return self.recipe.traffic.cut

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned: by the network and, if it learns, by the live defence."""
        parts = self.networks().items()
        return {f"{part}.{name}": t for part, module in parts for name, t in module.state_dict().items()}

    def networks(self) -> dict[str, nn.Module]:
        """The network and, if it learns, the live defence."""
        parts: dict[str, Any] = {"split": self.split, "defense": self.live}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over the tensors of a kept victim, and go into eval mode."""
        own = self.tensors()
        if own.keys() != tensors.keys():
            raise ValueError("the kept victim has other tensors than this network")
        with torch.no_grad():
            for name, t in own.items():
                t.copy_(tensors[name])
        for network in self.networks().values():
            network.eval()

    def fingerprint(self) -> str:
        """A hash of all weights: two victims with the same fingerprint are bit-identical."""
        return fingerprint(self.tensors())


def fresh(case: Case, data: Data, wrap: Callable[[Hooks, Split], Hooks] | None = None) -> Victim:
    """An untrained victim. Its weights depend on dataset, model and seed, never on the defence or the cut."""
    split, live = networks(case, data.form, data.private.x.device)
    if wrap is not None:
        live = wrap(live, split)
    return Victim(split, data, live, case.defense, case.recipe)


def networks(case: Case, form: Form, device: torch.device) -> tuple[Split, Hooks]:
    """The networks of a victim for records of this form; a server on another machine has no records."""
    with Stream(case.seeds.of("init")), unchanged():
        split = case.model.split(form.in_shape, form.task, case.cut, case.cell.protocol)
        split, live = defended(split, form, case.defense, case.recipe, device)
    _check_batches(case, split)
    return split, live


def defended(split: Split, form: Form, defense: Defense, recipe: Recipe, device: torch.device) -> tuple[Split, Hooks]:
    """The network as the defence changes it, on the device, and the live defence."""
    split = defense.shape(split).to(device).measure(form.in_shape, form.in_range)
    live = defense.begin(split, recipe.seeds.of("defense"))
    if not isinstance(live, Hooks):
        raise BadInput(f"defense '{defense}': begin returned {type(live).__name__}; it must be Hooks")
    check_methods(type(live), Defense if isinstance(live, Defense) else Hooks, f"defense '{defense}'")
    if isinstance(live, nn.Module):
        live.to(device)
    return split, live


def _check_batches(case: Case, split: Split) -> None:
    """Refuse batches of one record before anything is trained: batch norm needs two."""
    federated = case.cell.federated
    single = federated is not None and federated.batch_size == 1
    if single and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in split.modules()):
        problem = "batches of one record, and its batch norms need two"
        raise BadInput(f"model '{case.cell.model['name']}' under protocol '{federated}': {problem}")


@torch.no_grad()
def copy_weights(to: Split, source: Split) -> None:
    """Copy everything that a trained network learned into the same network with another cut."""
    for own, other in zip(to.state_dict().values(), source.state_dict().values(), strict=True):
        own.copy_(other)
    to.eval()
