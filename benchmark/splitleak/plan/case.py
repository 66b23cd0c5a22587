"""A case: a cell with its plug-ins made. Later rooms take these objects and never look up a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from splitleak.contract import Attack, Dataset, Defense, Model
from splitleak.contract.plugin import Plugin
from splitleak.plan import plugins
from splitleak.plan.cell import Cell
from splitleak.plan.plugins import Kind
from splitleak.plan.recipe import Recipe
from splitleak.plan.seeds import Seeds


@dataclass(frozen=True)
class Case:
    """The dataset, model, defence and attack of a cell, and the other dataset that the `aux` axis may name."""

    cell: Cell
    dataset: Dataset
    model: Model
    defense: Defense
    attack: Attack
    aux_dataset: Dataset | None
    labels: dict[str, str]  # kind of plug-in -> how tables print it

    @classmethod
    def of(cls, cell: Cell, base: Path) -> Case:
        """Make the plug-ins of a cell; relative files are looked up in `base`, the folder of the matrix."""
        specs: dict[Kind, dict[str, object]] = {kind: getattr(cell, kind) for kind in plugins.FOLDERS}
        made = {kind: plugins.make(kind, spec, base) for kind, spec in specs.items()}
        aux = {key: value for key, value in cell.aux.items() if key not in ("n", "labels")}
        other = None if aux["name"] in ("same", "none") else cast(Dataset, plugins.make("dataset", aux, base))
        return cls(
            cell, cast(Dataset, made["dataset"]), cast(Model, made["model"]), cast(Defense, made["defense"]),
            cast(Attack, made["attack"]), other,
            {kind: plugins.label(kind, spec, base) for kind, spec in specs.items()},
        )  # fmt: skip

    @property
    def plugins(self) -> dict[Kind, Plugin]:
        """The plug-ins by kind."""
        return {"dataset": self.dataset, "model": self.model, "defense": self.defense, "attack": self.attack}

    @property
    def recipe(self) -> Recipe:
        return self.cell.recipe

    @property
    def seeds(self) -> Seeds:
        return self.cell.seeds

    @property
    def cut(self) -> int:
        """Where the network is cut; where the protocol cuts nothing, the default cut, which then has no effect."""
        if self.cell.cut is not None:
            return self.cell.cut
        return self.model.cuts(self.model.usual_protocol())[0]
