"""The leaderboard in 80 columns: for each defence and threat the strongest attack that works.

Pure: takes the leaderboard's table, returns text. There is a block for each kind of victim and its settings, in it a
part for each goal. The attack on a line is the strongest working one of all threats that hold no more than the line's
threat, since such an attacker could run it too. "adv." is the table's column `worst`: the advantage or, of two classes,
2 AUC - 1 where that is more. An attack that works neither there nor on the undefended victim is never shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from splitleak.report import text
from splitleak.report.flags import MEANINGS
from splitleak.report.layout import AttackLine, Block, DefenseLines
from splitleak.report.strongest import Best, DefenseRows, defenses_of
from splitleak.report.victims import Row, blocks, rows_of

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 80
GOALS = {  # what the attacks aim at, and the measure beside the advantage
    "inputs": ("reconstruct the records", "re-id", "reid_top1"),
    "labels": ("infer the labels", "correct", "label_accuracy"),
    "membership": ("tell which records were trained on", "AUC", "auc"),
    "property": ("infer a property of the records", "AUC", "auc"),
    "linkage": ("tell which records are of one person", "AUC", "auc"),
}
RANKED = (
    "Defences stand in the order of their worst case, the least leakage first, and behind them those "
    "whose worst case is partial; in both groups those that no working attack was run against come last."
)
LEGEND = "adv.: 0 is the best guess without the channel, 1 is everything."


def summary(board: pd.DataFrame, ranked: bool = False) -> str:
    """Blocks of at most 80 columns; `ranked` orders the defences of a block by their worst case."""
    rows = rows_of(board)
    common = _common_flags(rows)
    parts = [_preface(common, ranked)]
    for title, those in blocks(rows):
        goals = [goal for goal in GOALS if any(row["goal"] == goal for row in those)]
        lines = [line for goal in goals for line in _block(goal, those, common, ranked)]
        parts.append("\n".join([text.wrap(title, WIDTH, indent=2), *lines]))
    return "\n\n".join([*parts, *_remarks(rows, common)])


def _preface(common: Sequence[str], ranked: bool) -> str:
    lines = [LEGEND, *([RANKED] if ranked else []), *(["All rows have these flags:"] if common else [])]
    return "\n".join([*(text.wrap(line, WIDTH) for line in lines), *map(_meaning, common)])


def _remarks(rows: Sequence[Row], common: Sequence[str]) -> Iterator[str]:
    """What the flags below defences mean, and what was not measured."""
    others = dict.fromkeys(flag for row in rows for flag in _shown_flags([row], common))
    lines = [_meaning(flag) for flag in others]
    counts = Counter(str(row["status"]) for row in rows if row["status"] != "done")
    if counts:
        parts = [f"{text.count(n, 'row')} {status}" for status, n in counts.items()]
        lines.append(f"Not (fully) measured: {', '.join(parts)}.")
    if lines:
        yield "\n".join(text.wrap(line, WIDTH, indent=2) for line in lines)


def _meaning(flag: str) -> str:
    return text.shorten(f"  {flag}: {MEANINGS[flag]}" if flag in MEANINGS else f"  {flag}", WIDTH)


def _block(goal: str, rows: Sequence[Row], common: Sequence[str], ranked: bool) -> list[str]:
    aim, name, column = GOALS[goal]
    those = [row for row in rows if row["goal"] == goal]
    defenses = defenses_of(those)
    if ranked:
        defenses.sort(key=lambda defense: defense.rank)
    metric = next((str(row["utility_metric"]) for row in rows if row["utility_metric"]), "utility")
    threats = list(dict.fromkeys(best.threat for defense in defenses for best in defense.threats))
    head = f"Goal {goal} ({aim})" + (f", threat {threats[0]}" if len(threats) == 1 else "")
    block = Block([_lines(defense, column, common) for defense in defenses], metric, name)
    return [text.shorten(head, WIDTH), *block.lines(WIDTH)]


def _lines(defense: DefenseRows, column: str, common: Sequence[str]) -> DefenseLines:
    utility = text.short_number(defense.utility, defense.utility_ci95)
    attacks = [_attack(best, column) for best in defense.threats]
    return DefenseLines(defense.name, utility, attacks, ", ".join(_shown_flags(defense.rows, common)))


def _attack(best: Best, column: str) -> AttackLine:
    if best.row is None:
        return AttackLine(best.threat, best.why)
    advantage = text.short_number(best.advantage, best.advantage_ci95)
    return AttackLine(best.threat, str(best.row["attack"]), advantage, text.short_number(best.row[column]))


def _common_flags(rows: Iterable[Row]) -> list[str]:
    """Flags of every row that has scores."""
    each = [_flags(row) for row in rows if row["n_seeds"]]
    return [flag for flag in each[0] if all(flag in flags for flags in each)] if each else []


def _shown_flags(rows: Sequence[Row], common: Sequence[str]) -> list[str]:
    """Flags of some of these rows, less those of all rows and those that choosing the strongest attack makes use of."""
    used = (*common, "attack-failed", "below-blind")
    return list(dict.fromkeys(flag for row in rows for flag in _flags(row) if flag not in used))


def _flags(row: Row) -> list[str]:
    return str(row["flags"] or "").split()
