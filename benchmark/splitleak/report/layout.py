"""The lines of one block of the summary: the strongest attacks of each defence in aligned columns.

A line for each defence, where there is one threat and the lines fit. Otherwise a line for each defence and below it one
for each threat, so that the label of a defence has room for its parameters.
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
        names = [defense.label for defense in self.defenses]
        for labels in (names, text.without_shared(names)) if len(threats) == 1 else ():
            flat = self._flat(labels)
            if max(map(len, flat)) <= width:
                return flat
        return self._nested(width)

    def _flat(self, labels: Sequence[str]) -> list[str]:
        head = ["defense", self.utility, "strongest attack", *self._ends("adv.", self.measure)]
        table = [
            [label, defense.utility, attack.attack, *self._numbers(attack)]
            for label, defense in zip(labels, self.defenses, strict=True)
            for attack in defense.attacks
        ]
        widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
        lines = [text.row(head, widths)]
        for defense, line in zip(self.defenses, table, strict=True):
            lines += [text.row(line, widths), *([f"  {defense.flags}"] if defense.flags else [])]
        return lines

    def _nested(self, width: int) -> list[str]:
        head = ["defense", "strongest attack", self.utility, *self._ends("adv.", self.measure)]
        table = [[f"  {a.threat}", a.attack, d.utility, *self._numbers(a)] for d in self.defenses for a in d.attacks]
        widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
        longest = max(len(defense.label) for defense in self.defenses)  # a label runs on over the column of attacks
        wanted = max(widths[1], longest - widths[0] - text.GAP)
        room = width - sum(widths) + widths[1] - text.GAP * (len(widths) - 1)
        widths[1] = min(wanted, max(room, LEAST))
        labels = text.fit_labels([d.label for d in self.defenses], widths[0] + text.GAP + widths[1])
        attacks = text.fit_labels([a.attack for d in self.defenses for a in d.attacks], widths[1])
        lines = [text.row(head, widths)]
        for d in self.defenses:
            lines += self._titled(
                text.row([labels[d.label], d.utility], [sum(widths[:2]) + text.GAP, widths[2]]), d, width
            )
            lines += [text.row([f"  {a.threat}", attacks[a.attack], "", *self._numbers(a)], widths) for a in d.attacks]
        return [text.shorten(line, width) for line in lines]

    def _titled(self, line: str, defense: DefenseLines, width: int) -> list[str]:
        """A defence's own line, its flags beside it or below."""
        beside = f"{line}  {defense.flags}".rstrip()
        return [beside] if len(beside) <= width else [line, f"  {defense.flags}"]

    def _numbers(self, attack: AttackLine) -> list[str]:
        return self._ends(attack.advantage, attack.measure)

    def _ends(self, advantage: str, measure: str) -> list[str]:
        measured = any(attack.measure for defense in self.defenses for attack in defense.attacks)
        return [advantage, measure] if measured else [advantage]
