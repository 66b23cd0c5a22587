"""Threat models as columns: a named set of grants, cut down to what the protocol really puts on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract.nouns import Goal, Grant
from splitleak.contract.protocols import TRAFFIC, Protocol

WIRE = Grant.SMASHED | Grant.GRADIENT | Grant.LABELS
HONEST = WIRE | Grant.TOP | Grant.STEPS | Grant.ARCHITECTURE | Grant.HINTS
FEDERAL = Grant.UPDATES | Grant.ARCHITECTURE  # what there is to see of a federation
DATA = Grant.AUX | Grant.AUX_LABELS  # not a threat's but the `aux` axis's to give
EVERYTHING = ~Grant(0)

# What answers the question itself: an attack never holds its own goal's truth.
TRUTH = {Goal.INPUTS: Grant.INPUTS, Goal.LABELS: Grant.LABELS}


@dataclass(frozen=True)
class Threat:
    """A named adversary: where it sits and what it may have."""

    name: str
    side: str
    grants: Grant
    protocols: tuple[Protocol, ...] = ("vanilla", "u_shape")

    def on(self, protocol: str) -> Grant:
        """What it has under this protocol, its knowledge of the defence (Kerckhoffs) included."""
        grants = self.grants
        if protocol not in self.protocols:
            return Grant(0)  # `central`: a whole model sends nothing
        traffic = TRAFFIC[protocol]
        if traffic.updates:
            return grants & FEDERAL | Grant.DEFENSE
        if not traffic.labels:
            grants &= ~Grant.LABELS
        return (grants | Grant.DEFENSE) & ~(DATA | Grant.UPDATES)


THREATS = {
    threat.name: threat
    for threat in (
        Threat("eavesdropper", "the wire", WIRE),
        Threat("honest_server", "server", HONEST),
        Threat("query_server", "server", HONEST | Grant.QUERY),
        Threat("white_box", "server", HONEST | Grant.QUERY | Grant.BOTTOM),
        Threat("malicious_server", "server", HONEST | Grant.TAMPER),
        Threat(
            "label_thief",
            "the client, where labels are the server's own",
            Grant.INPUTS | Grant.SMASHED | Grant.GRADIENT | Grant.BOTTOM | Grant.STEPS | Grant.HINTS,
            ("vanilla",),
        ),
        Threat("fed_server", "server of a federation", FEDERAL, ("fedavg",)),
        Threat("oracle", "nobody real: upper bounds", EVERYTHING, ("vanilla", "u_shape", "fedavg")),
    )
}


def granted(threat: str, protocol: str, goal: Goal, aux: Grant) -> Grant:
    """All that an attack of this goal gets: the threat's grants, the auxiliary axis's, less its goal's own truth."""
    return (THREATS[threat].on(protocol) | aux) & ~TRUTH.get(goal, Grant(0))


def objection(threat: str, protocol: str, goal: Goal, needs: Grant, aux: Grant) -> str | None:
    """Why a cell is not legal, or None."""
    truth = TRUTH.get(goal, Grant(0))
    if threat != "oracle" and truth and truth in THREATS[threat].on(protocol):
        return f"threat '{threat}' already holds the {goal.value} under protocol '{protocol}'"
    missing = needs & ~granted(threat, protocol, goal, aux)
    if missing:
        names = ", ".join(sorted(str(g.name) for g in missing))
        return f"threat '{threat}' under protocol '{protocol}' with this aux does not grant {names}"
    return None


def first_legal(protocol: str, goal: Goal, needs: Grant, aux: Grant) -> str | None:
    """The weakest preset, in the order of the list, that grants what an attack needs."""
    return next((name for name in THREATS if objection(name, protocol, goal, needs, aux) is None), None)
