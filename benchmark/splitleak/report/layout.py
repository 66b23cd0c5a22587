"""The lines of one block of the summary: the strongest attacks of each defence in aligned columns.

One threat: a line for each defence. Several: a line for each defence, below it a line for each threat; so a defence's
label has room for its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from splitleak.report import text

LEAST = 12  # columns that a label keeps when there is little room


@dataclass(frozen=True)
class AttackLine:
    """The strongest attack under a threat; its numbers as text."""

    threat: str
    attack: str
    advantage: str = ""
    measure: str = ""


@dataclass(frozen=True)
class DefenseLines:
    """A defence as it is printed, with the flags of its rows."""

    label: str
    utility: str
    attacks: Sequence[AttackLine]
    flags: str = ""


@dataclass(frozen=True)
class Block:
    """The defences of one kind of victim and goal, and the names of the columns that vary."""

    defenses: Sequence[DefenseLines]
    utility: str  # accuracy, iou, r2
    measure: str  # re-id, correct, AUC; its column is left out where it is empty

    def lines(self, width: int) -> list[str]:
        threats = {attack.threat for defense in self.defenses for attack in defense.attacks}
        return self._one_threat(width) if len(threats) == 1 else self._several(width)

    def _one_threat(self, width: int) -> list[str]:
        head = ["defense", self.utility, "strongest attack", *self._ends("adv.", self.measure)]
        table = [[d.label, d.utility, a.attack, *self._numbers(a)] for d in self.defenses for a in d.attacks]
        widths = _widths([head, *table], width, (0, 2))
        labels = [text.fit_labels([line[i] for line in table], widths[i]) for i in (0, 2)]
        lines = [text.row(head, widths)]
        for defense, (label, utility, attack, *numbers) in zip(self.defenses, table, strict=True):
            lines.append(text.row([labels[0][label], utility, labels[1][attack], *numbers], widths))
            lines += [f"  {defense.flags}"] if defense.flags else []
        return [text.shorten(line, width) for line in lines]

    def _several(self, width: int) -> list[str]:
        head = ["defense", "strongest attack", self.utility, *self._ends("adv.", self.measure)]
        table = [[f"  {a.threat}", a.attack, d.utility, *self._numbers(a)] for d in self.defenses for a in d.attacks]
        widths = _widths([head, *table], width, (1,))
        lefts = widths[0] + text.GAP + widths[1]  # a defence's label runs on over the column of attacks
        widths[1] += max(0, min(max(len(d.label) for d in self.defenses) - lefts, width - _total(widths)))
        lefts = widths[0] + text.GAP + widths[1]
        labels = text.fit_labels([d.label for d in self.defenses], lefts)
        attacks = text.fit_labels([a.attack for d in self.defenses for a in d.attacks], widths[1])
        lines = [text.row(head, widths)]
        for d in self.defenses:
            line = text.row([labels[d.label], d.utility], [lefts, widths[2]])
            beside = f"{line}  {d.flags}"
            lines += [line] if not d.flags else [beside] if len(beside) <= width else [line, f"  {d.flags}"]
            for a in d.attacks:
                lines.append(text.row([f"  {a.threat}", attacks[a.attack], "", *self._numbers(a)], widths))
        return [text.shorten(line, width) for line in lines]

    def _numbers(self, attack: AttackLine) -> list[str]:
        return self._ends(attack.advantage, attack.measure)

    def _ends(self, advantage: str, measure: str) -> list[str]:
        measured = any(attack.measure for defense in self.defenses for attack in defense.attacks)
        return [advantage, measure] if measured else [advantage]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + text.GAP * (len(widths) - 1)


def _widths(table: Sequence[Sequence[str]], width: int, labels: Sequence[int]) -> list[int]:
    """The width of each column; where there is too little room, the widest of the label columns gives way."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    while _total(widths) > width:
        widest = max(labels, key=lambda i: widths[i])
        if widths[widest] <= LEAST:
            break
        widths[widest] -= 1
    return widths
