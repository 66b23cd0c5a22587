"""An audit as matrices: which cuts, and which attacks, first the quick ones and then the suite."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from splitleak.auditing.declaration import Declaration
from splitleak.contract import Data, Model, Protocol
from splitleak.contract.errors import BadInput
from splitleak.contract.threats import THREATS
from splitleak.plan import matrix, plugins
from splitleak.plan.case import Case
from splitleak.store import Store
from splitleak.train.data import load_data
from splitleak.train.victim import Victim, fresh

FEW = 32  # records on which the messages of two cuts are compared
LINEAR = "least_squares"
QUICK = 400  # targets of the quick attacks: pairs of them are many
Axes = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A declaration with the folder that its files are named from."""

    asked: Declaration
    base: Path

    @cached_property
    def model(self) -> Model:
        return cast(Model, plugins.make("model", self.asked.network(), self.base))

    @cached_property
    def data(self) -> Data:
        """The members as the private part, strangers as the test part, the attacker's own as the auxiliary part."""
        return load_data(self.case(self.legal_cuts[-1], "none"), torch.device("cpu"))

    @cached_property
    def protocol(self) -> Protocol:
        """Where nothing is said, `inference`: of a network that is trained already nothing but messages crosses."""
        if self.asked.protocol != "auto":
            return self.asked.protocol
        return "vanilla" if self.asked.train else "inference"

    @cached_property
    def legal_cuts(self) -> list[int]:
        try:
            legal = sorted(self.model.cuts(self.protocol))
        except BadInput as error:
            without = "" if self.asked.client else " (without `client` each file must have the messages)"
            raise BadInput(f"{error}{without}") from error
        if not legal:
            raise BadInput(f"protocol '{self.protocol}' needs {self._needed()}")
        if self.asked.cuts != "all":
            for cut in self.asked.cuts:
                if cut not in legal:
                    raise BadInput(f"cuts: the client cannot be cut at {cut} (legal: {', '.join(map(str, legal))})")
            return sorted(set(self.asked.cuts))
        return legal

    def _needed(self) -> str:
        """What a protocol needs that is not there."""
        if not self.asked.client:
            more = ", features and gradient_features" if self.protocol == "u_shape" else ""
            return f"the array gradient{more} beside z in each file"
        if self.protocol == "u_shape":
            return "messages that were written down (no client): a network of one's own is cut in two parts, not three"
        return "the server's part (server = FILE.py:FUNCTION)"

    @cached_property
    def cuts(self) -> dict[int, int | None]:
        """Each cut, and an earlier one whose message holds the same numbers, such as before a dropout, or None."""
        same: dict[int, int | None] = {}
        seen: dict[int, torch.Tensor] = {}
        for cut in self.legal_cuts:
            z = self.victim(cut, "none").split.bottom(self.data.aux.x[:FEW])[0].flatten(1)
            same[cut] = next((c for c, other in seen.items() if torch.equal(other, z)), None)
            if same[cut] is None:
                seen[cut] = z
        return same

    @property
    def told_apart(self) -> list[int]:
        """The cuts that are attacked."""
        return [cut for cut, earlier in self.cuts.items() if earlier is None]

    def case(self, cut: int, defense: Any) -> Case:
        """The victim at a cut behind a defence."""
        whole = self._matrix([self._axes(["blind"], [cut], [defense])])
        return Case.of(matrix.read(whole, self.base).cells[0], self.base)

    @torch.no_grad()
    def victim(self, cut: int, defense: Any, store: Store | None = None) -> Victim:
        """With its weights, as they are kept in the store if they were trained here; in eval mode."""
        case = self.case(cut, defense)
        made = fresh(case, self.data)
        kept = store.victim(case.cell.victim_key) if store is not None and self.asked.train else None
        made.load(made.tensors() if kept is None else kept[0])
        return made

    def quick(self) -> dict[str, Any]:
        """Attacks of seconds on some members, each with its run on the null channel."""
        attacks: list[Any] = [LINEAR]
        if self.data.task.kind == "classes":
            sources = ["activation"] if self.protocol == "inference" else ["activation", "gradient"]
            attacks += [{"name": "similarity", "source": source} for source in sources]
        if self.data.private.group is not None:
            attacks += ["linkage", {"name": "linkage", "learned": True}]
        named = {"threat": self.asked.threats} if self.asked.threats else {}
        return self._matrix([self._axes(attacks) | named], targets=min(QUICK, self.asked.targets))

    def whole(self) -> dict[str, Any]:
        """The standard suite, and least squares on as many members.

        Where queries are allowed, the eavesdropper's attacks on linkage and property are left out: they train the
        substitute client that `fora` trains, to do what a query does better.
        """
        asked = self.threats()
        others = [threat for threat in asked if threat != "eavesdropper" or "query_server" not in asked]
        blocks = [self._axes(["standard"]) | {"threat": others}] if others else []
        if "eavesdropper" not in others and "eavesdropper" in asked:
            suite = [{"name": "standard", "goal": goal} for goal in self._seen_on_the_wire()]
            blocks.append(self._axes(suite) | {"threat": ["eavesdropper"]})
        return self._matrix([*blocks, self._axes([LINEAR])], null=False)

    def _seen_on_the_wire(self) -> list[str]:
        """Goals for which nothing but what crosses is needed."""
        gradients = {"inference": [], "vanilla": ["membership"], "u_shape": ["labels", "membership"]}
        return ["inputs", *gradients[self.protocol]]

    def threats(self) -> list[str]:
        """The threat models that the audit is about: those that are asked for, or all that have something to use."""
        needed = {
            "malicious_server": self.asked.train, "auditor": self.asked.train, "white_box": self.asked.client,
            "honest_server": self.asked.server or self.protocol == "u_shape",  # else it has what an eavesdropper has
            "oracle": False,  # nobody has what it has
        }  # fmt: skip
        there = [name for name, threat in THREATS.items() if self.protocol in threat.protocols]
        return self.asked.threats or [name for name in there if needed.get(name, True)]

    def _axes(self, attacks: list[Any], cuts: list[int] | None = None, defenses: list[Any] | None = None) -> Axes:
        return {
            "dataset": [self.asked.records()], "model": [self.asked.network()], "protocol": [self.protocol],
            "cut": self.told_apart if cuts is None else cuts, "defense": defenses or self.asked.defenses,
            "attack": attacks,
        }  # fmt: skip

    def _matrix(self, blocks: list[Axes], **evaluate: Any) -> dict[str, Any]:
        usual = {"targets": self.asked.targets, "control": True, "per_record": True}
        return {"matrix": blocks, "train": self.asked.train or {"epochs": 0}, "evaluate": usual | evaluate}
