"""The charts of a report as Vega-Lite, made with Altair: in the page, and as PNG and SVG for papers.

Each takes rows of a leaderboard. The front is recomputed from whatever rows the chart has, so a filter changes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from splitleak.report.victims import Row

WIDTH, HEIGHT = 520, 320
SCALE = {"domain": [-0.05, 1.05], "clamp": True}


def points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the charts draw: a point for each row that has scores and is no control."""
    found = []
    for i, row in enumerate(rows):
        if row.get("advantage") is None or str(row["attack"]).partition("(")[0] == "blind":
            continue
        half = row.get("advantage_ci95") or 0.0
        found.append(
            {
                "id": i, "defense": str(row["defense"]), "threat": row["threat"], "goal": row["goal"],
                "attack": str(row["attack"]), "utility": row.get("utility"), "leak": row["advantage"],
                "low": row["advantage"] - half, "high": row["advantage"] + half, "cut": row.get("cut"),
                "victim": f"{row['dataset']} / {row['model']}", "family": str(row["defense"]).partition("(")[0],
                "level": level(str(row["defense"])),
            }
        )  # fmt: skip
    return found


def level(defense: str) -> float | None:
    """The first number among a defence's parameters: the epsilon, weight or rate that a sweep varies."""
    found = re.search(r"=(-?\d+(?:\.\d+)?(?:e-?\d+)?)", defense)
    return float(found.group(1)) if found else None


def tradeoff(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy against the strongest attack of each defence, with intervals and the Pareto front."""
    import altair as alt

    base = (
        alt.Chart(_data(values))
        .transform_filter("isValid(datum.utility) && datum.threat != 'oracle'")
        .transform_joinaggregate(most="max(leak)", groupby=["defense", "victim"])
        .transform_filter("datum.leak == datum.most")
    )
    x = alt.X("utility:Q", title="accuracy (or what the task has)", scale=alt.Scale(zero=False))
    y = alt.Y("leak:Q", title="advantage of the strongest attack", scale=alt.Scale(**SCALE))
    marks = base.mark_point(filled=True, size=90).encode(x, y, color=_colour("defense"), tooltip=_tips())
    bars = base.mark_rule().encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), color=_colour("defense"))
    front = (
        base.transform_window(least="min(leak)", sort=[alt.SortField("utility", "descending")], frame=[None, 0])
        .transform_filter("datum.leak <= datum.least")
        .mark_line(strokeDash=[4, 3], color="gray")
        .encode(x, y, order="utility:Q")
    )
    return _done(front + bars + marks, "Accuracy against leakage; dashed: the Pareto front")


def by_cut(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The strongest attack by the depth of the cut."""
    import altair as alt

    base = alt.Chart(_data(values)).transform_filter("isValid(datum.cut) && datum.threat != 'oracle'")
    line = base.mark_line(point=True).encode(
        alt.X("cut:O", title="cut: blocks at the client"),
        alt.Y("max(leak):Q", title="advantage of the strongest attack", scale=alt.Scale(**SCALE)),
        color=_colour("defense"), tooltip=["defense:N", "cut:O", alt.Tooltip("max(leak):Q", format=".3f")],
    )  # fmt: skip
    return _done(line, "Leakage by the depth of the cut")


def by_level(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The strongest attack by the strength of a defence, for defences that occur with several."""
    import altair as alt

    base = (
        alt.Chart(_data(values))
        .transform_filter("isValid(datum.level) && datum.threat != 'oracle'")
        .transform_joinaggregate(levels="distinct(level)", groupby=["family"])
        .transform_filter("datum.levels > 1")
    )
    line = base.mark_line(point=True).encode(
        alt.X("level:Q", title="the defence's parameter (epsilon: larger, less noise)", scale=alt.Scale(type="symlog")),
        alt.Y("max(leak):Q", title="advantage of the strongest attack", scale=alt.Scale(**SCALE)),
        color=_colour("family"), tooltip=["family:N", "level:Q", alt.Tooltip("max(leak):Q", format=".3f")],
    )  # fmt: skip
    return _done(line, "Leakage by the strength of a defence")


CHARTS: dict[str, Callable[[Sequence[dict[str, Any]]], dict[str, Any]]] = {
    "tradeoff": tradeoff, "by_cut": by_cut, "by_level": by_level
}  # fmt: skip


def worth_drawing(name: str, values: Sequence[dict[str, Any]]) -> bool:
    """Is there anything to compare?"""
    if name == "by_cut":
        return len({v["cut"] for v in values if v["cut"] is not None}) > 1
    if name == "by_level":
        levels: dict[str, set[float]] = {}
        for v in values:
            if v["level"] is not None:
                levels.setdefault(v["family"], set()).add(v["level"])
        return any(len(those) > 1 for those in levels.values())
    return any(v["utility"] is not None for v in values)


def _data(values: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=list(values), name="rows")


def _colour(name: str) -> Any:
    import altair as alt

    return alt.Color(f"{name}:N", title="defence", legend=alt.Legend(orient="bottom", columns=2, labelLimit=260))


def _tips() -> list[Any]:
    import altair as alt

    numbers = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("utility", "leak")]
    return ["defense:N", "attack:N", "threat:N", "victim:N", *numbers]


def _done(chart: Any, title: str) -> dict[str, Any]:
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        spec: dict[str, Any] = chart.properties(width=WIDTH, height=HEIGHT, title=title).to_dict()
    return spec
