"""What figures of an audit mean, in words. One finding for each cut and defence, never one colour for all."""

from __future__ import annotations

from typing import Any

TOTAL, NOTHING = 0.95, 0.02  # advantage and share from which a leak is called total; up to which it is called none
REGULATORS = (  # (their word, our quantity, what to keep in mind)
    ("singling out (opinion WP216)", "re-identification", "of the targets here; read it against strangers and chance"),
    ("linkability (WP216)", "linkage AUC", "two messages of one person; .5 is a coin"),
    ("inference (WP216)", "advantage, labels, property", "beyond what is known without the messages"),
    ("membership (EDPB opinion 28/2024)", "advantage over the control", "members guessed better than strangers"),
    ("means reasonably likely to be used (GDPR, recital 26)", "the threat model", "who could run the attack"),
    ("unit of privacy (NIST SP 800-226)", "record or person", "stands beside every epsilon"),
)
CAVEAT = "These are measurements, not legal findings: the law decides case by case."


def finding(
    best: dict[str, Any] | None, linkage: dict[str, Any] | None, labels: dict[str, Any] | None, reid: float
) -> str:
    """The finding for a cut behind a defence, from the strongest attack of each goal (a row of the table, or None).

    reid: the highest share of records that any attack re-identified.
    """
    if best is None:
        return "not measured: no attack on records could run"
    parts = [_of_records(best, reid)]
    if labels is not None and labels["advantage"] - _half(labels) > NOTHING:
        right = labels.get("label_accuracy")
        parts.append("labels are inferred" + (f" ({right:.0%} right)" if right is not None else ""))
    if linkage is not None:
        tells = linkage["advantage"] - _half(linkage) > NOTHING
        parts.append(f"messages of one person are linked (AUC {linkage['auc']:.2f})" if tells
                     else f"messages are not linked (AUC {linkage['auc']:.2f})")  # fmt: skip
    gap = best["advantage"] - (
        best["control_advantage"] if best["control_advantage"] is not None else best["advantage"]
    )
    if gap > max(NOTHING, 2 * _half(best)) and best["advantage"] > NOTHING:
        parts.append(f"members are guessed better than strangers (by {gap:.2f}): the network remembers them")
    return "; ".join(parts)


def _of_records(best: dict[str, Any], reid: float) -> str:
    advantage, half = best["advantage"], _half(best)
    chance = max(best["reid_chance"] or 0.0, best["reid_strangers"] or 0.0)
    found = reid > chance + _half_of_share(chance, best["n"])
    if advantage >= TOTAL and reid >= TOTAL:
        return f"total: records are read off ({advantage:.2f}), and {reid:.0%} re-identified"
    if advantage - half <= NOTHING and not found:
        return "nothing of the records was found"
    by_class = best.get("class_mean")
    if by_class is not None and advantage <= by_class + max(half, NOTHING) and not found:
        return f"no more of the records than their class tells ({advantage:.2f}; the class alone {by_class:.2f})"
    if advantage - half <= 0:
        return f"no record is read off ({advantage:.2f}), but {reid:.0%} are re-identified (chance {chance:.0%})"
    return f"partial: {advantage:.2f} of the records' variation, {reid:.0%} re-identified (chance {chance:.0%})"


def _half(row: dict[str, Any]) -> float:
    return float(row.get("half") or 0.0)


def _half_of_share(share: float, n: int) -> float:
    """Half the width of a 95 % interval of a share of n, with a hit more and a miss more (Agresti and Coull 1998)."""
    share = (share * n + 2) / (n + 4)
    return float(2 * (share * (1 - share) / (n + 4)) ** 0.5)
