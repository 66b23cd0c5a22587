"""Threat models: what a named attacker has, limited to what the protocol really sends."""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract.nouns import Goal, Grant
from splitleak.contract.protocols import TRAFFIC, Protocol

WIRE = Grant.SMASHED | Grant.GRADIENT | Grant.LABELS | Grant.STEPS  # each message, while the training goes on too
HONEST = WIRE | Grant.TOP | Grant.ARCHITECTURE | Grant.HINTS
FEDERAL = Grant.UPDATES | Grant.ARCHITECTURE  # all that the server of a federation can have
DATA = Grant.AUX | Grant.AUX_LABELS  # granted by the `aux` axis, never by a threat
EVERYTHING = ~Grant(0)
TRAINED: tuple[Protocol, ...] = ("vanilla", "u_shape")  # protocols in which a cut network learns

# The grant that is the answer itself: an attack never holds the ground truth of its own goal.
TRUTH = {Goal.INPUTS: Grant.INPUTS, Goal.LABELS: Grant.LABELS}


@dataclass(frozen=True)
class Threat:
    """A named attacker: where it sits, what it may have, and the protocols under which it exists."""

    name: str
    side: str  # where it sits, for a person to read
    grants: Grant
    protocols: tuple[Protocol, ...] = ("vanilla", "u_shape", "inference")

    def on(self, protocol: str) -> Grant:
        """What it has under a protocol. It always knows the defence's algorithm (Kerckhoffs's principle)."""
        grants = self.grants
        if protocol not in self.protocols:
            return Grant(0)  # under `central` nothing is sent
        if TRAFFIC[protocol].updates:
            return grants & FEDERAL | Grant.DEFENSE
        if not TRAFFIC[protocol].labels:
            grants &= ~Grant.LABELS  # in a u-shape the labels stay at the client
        if TRAFFIC[protocol].one_way:
            grants &= ~(Grant.GRADIENT | Grant.TAMPER | Grant.SHADOWS)  # nothing is trained
        return (grants | Grant.DEFENSE) & ~(DATA | Grant.UPDATES)


THREATS = {
    threat.name: threat
    for threat in (  # the weakest first: `first_legal` takes the first that suffices
        Threat("eavesdropper", "the wire", WIRE),
        Threat("honest_server", "server", HONEST),
        Threat("query_server", "server", HONEST | Grant.QUERY),
        Threat("white_box", "server", HONEST | Grant.QUERY | Grant.BOTTOM),
        Threat("malicious_server", "server", HONEST | Grant.TAMPER, TRAINED),
        Threat(
            "label_thief",
            "the client, where labels are the server's own",
            Grant.INPUTS | Grant.SMASHED | Grant.GRADIENT | Grant.BOTTOM | Grant.STEPS | Grant.HINTS,
            ("vanilla",),
        ),
        Threat("fed_server", "server of a federation", FEDERAL, ("fedavg",)),
        Threat("auditor", "nobody real: tests of membership", HONEST | Grant.SHADOWS, TRAINED),
        Threat("oracle", "nobody real: upper bounds", EVERYTHING, (*TRAINED, "inference", "fedavg")),
    )
}


def granted(threat: str, protocol: str, goal: Goal, aux: Grant) -> Grant:
    """All that an attack with this goal gets: from the threat and the `aux` axis, without the goal's own truth."""
    return (THREATS[threat].on(protocol) | aux) & ~TRUTH.get(goal, Grant(0))


def objection(threat: str, protocol: str, goal: Goal, needs: Grant, aux: Grant) -> str | None:
    """Why an attack with this goal and these needs cannot run under a threat, or None where it can."""
    truth = TRUTH.get(goal, Grant(0))
    if threat != "oracle" and truth and truth in THREATS[threat].on(protocol):
        return f"threat '{threat}' already holds the {goal.value} under protocol '{protocol}'"
    missing = needs & ~granted(threat, protocol, goal, aux)
    if missing:
        names = ", ".join(sorted(str(g.name) for g in missing))
        return f"threat '{threat}' under protocol '{protocol}' with this aux does not grant {names}"
    return None


def first_legal(protocol: str, goal: Goal, needs: Grant, aux: Grant) -> str | None:
    """The first threat, in the order of THREATS, under which an attack can run; None where there is none."""
    return next((name for name in THREATS if objection(name, protocol, goal, needs, aux) is None), None)
