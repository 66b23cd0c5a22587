"""The charts of a report as Vega-Lite, made with Altair: in the page, and as PNG and SVG for papers.

Those in CHARTS take rows of a leaderboard. The front is recomputed from whatever rows the chart has, so a filter
changes it. Only what was trained alike is compared: a front and a line are of one victim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from splitleak.report.victims import Row

WIDTH, HEIGHT = 520, 320
SCALE = {"domain": [-0.05, 1.05], "clamp": True, "nice": False}
NUMBERED = re.compile(r"(\w+)=(-?\d+(?:\.\d+)?(?:e-?\d+)?)")


def victim(row: Row, *, cut: bool = True) -> str:
    """What was trained, without the defence: rows of one victim may be compared."""
    parts = [row["dataset"], row["model"]]
    if cut and row.get("cut") is not None:
        parts.append(f"cut {int(row['cut'])}")
    clients = [] if str(row.get("clients", 1)) == "1" else [f"clients {row['clients']}"]
    return " / ".join(str(part) for part in (*parts, row["protocol"], *clients))


def points(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the charts draw: a point for each row that has scores and is no control."""
    found = []
    for i, row in enumerate(rows):
        if row.get("advantage") is None or str(row["attack"]).partition("(")[0] == "blind":
            continue
        half = row.get("advantage_ci95") or 0.0
        parameter, level = strength(str(row["defense"]))
        found.append(
            {
                "id": i, "defense": str(row["defense"]), "threat": row["threat"], "goal": row["goal"],
                "attack": str(row["attack"]), "utility": row.get("utility"), "leak": row["advantage"],
                "low": row["advantage"] - half, "high": row["advantage"] + half, "cut": row.get("cut"),
                "victim": victim(row), "network": victim(row, cut=False), "level": level, "parameter": parameter,
            }
        )  # fmt: skip
    return found


def strength(defense: str) -> tuple[str | None, float | None]:
    """A defence with the name of its first number, and that number: the epsilon, weight or rate that a sweep varies."""
    found = NUMBERED.search(defense)
    if found is None:
        return None, None
    return f"{defense.partition('(')[0]}: {found.group(1)}", float(found.group(2))


def tradeoff(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy against the strongest attack of each defence, with intervals and the Pareto front of each victim."""
    import altair as alt

    base = (
        alt.Chart(_data(values))
        .transform_filter("isValid(datum.utility) && datum.threat != 'oracle'")
        .transform_joinaggregate(most="max(leak)", groupby=["defense", "victim"])
        .transform_filter("datum.leak == datum.most")
    )
    x = alt.X("utility:Q", title="accuracy (overlap for masks, R² for values)", scale=alt.Scale(zero=False))
    marks = base.mark_point(filled=True, size=90, opacity=0.9).encode(
        x,
        _leak("leak:Q"),
        _kind(alt.Color, "defense", "defence"),
        _kind(alt.Shape, "defense", "defence"),
        tooltip=_tips(),
    )
    bars = base.mark_rule(color="gray", clip=True).encode(x, alt.Y("low:Q", scale=alt.Scale(**SCALE)), alt.Y2("high:Q"))
    front = (
        base.transform_window(
            least="min(leak)", sort=[alt.SortField("utility", "descending")], frame=[None, 0], groupby=["victim"]
        )
        .transform_filter("datum.leak <= datum.least")
        .mark_line(strokeDash=[4, 3], color="gray")
        .encode(x, _leak("leak:Q"), order="utility:Q", detail="victim:N")
    )
    return _done(_sized(front + bars + marks), "Accuracy against leakage; dashed: the Pareto front of each victim")


def by_cut(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The strongest attack by the depth of the cut, a panel for each network that was cut at several places."""
    import altair as alt

    base = _several(values, "by_cut")
    line = base.mark_line(point=True).encode(
        alt.X("cut:O", title="cut: blocks at the client", axis=alt.Axis(labelAngle=0)), _leak("max(leak):Q"),
        color=_kind(alt.Color, "defense", "defence"), tooltip=["defense:N", "cut:O", _number("max(leak):Q")],
    )  # fmt: skip
    return _done(_panels(line, "network"), "Leakage by the depth of the cut")


def by_level(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The strongest attack by the strength of a defence, a panel for each defence that occurs with several."""
    import altair as alt

    base = _several(values, "by_level")
    line = base.mark_line(point=True).encode(
        alt.X("level:O", title="value of the parameter", axis=alt.Axis(labelAngle=0)), _leak("max(leak):Q"),
        color=_kind(alt.Color, "victim", "victim"), tooltip=["victim:N", "level:O", _number("max(leak):Q")],
    )  # fmt: skip
    return _done(_panels(line, "parameter"), "Leakage by the strength of a defence; a larger epsilon is less noise")


def curves(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of one row: the victim's loss by epoch, and what the attack had reached while the victim was trained."""
    import altair as alt

    line = (
        alt.Chart(_data(values))
        .mark_line(point=True)
        .encode(
            alt.X("at:Q", title=None, axis=alt.Axis(tickMinStep=1), scale=alt.Scale(zero=False)),
            alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            alt.Color("seed:N", title="seed", legend=alt.Legend(orient="bottom")),
            tooltip=["seed:N", "at:Q", _number("value:Q")],
        )
    )
    return _done(_panels(line, "of", y="independent"), "While the victim was trained")


CHARTS: dict[str, Callable[[Sequence[dict[str, Any]]], dict[str, Any]]] = {
    "tradeoff": tradeoff, "by_cut": by_cut, "by_level": by_level
}  # fmt: skip
COMPARED = {  # chart -> what differs, and what must be the same
    "by_cut": ("cut", ["network"]), "by_level": ("level", ["parameter", "victim"])
}  # fmt: skip


def worth_drawing(name: str, values: Sequence[dict[str, Any]]) -> bool:
    """Is there anything to compare?"""
    if name not in COMPARED:
        return any(v["utility"] is not None for v in values)
    what, same = COMPARED[name]
    places: dict[tuple[str, ...], set[float]] = {}
    for v in values:
        if v[what] is not None:
            places.setdefault(tuple(v[field] for field in same), set()).add(v[what])
    return any(len(those) > 1 for those in places.values())


def _data(values: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.Data(values=list(values), name="rows")


def _several(values: Sequence[dict[str, Any]], name: str) -> Any:
    """A chart of the points that differ in what the chart is about."""
    import altair as alt

    what, same = COMPARED[name]
    return (
        alt.Chart(_data(values))
        .transform_filter(f"isValid(datum.{what}) && datum.threat != 'oracle'")
        .transform_joinaggregate(places=f"distinct({what})", groupby=same)
        .transform_filter("datum.places > 1")
    )


def _panels(line: Any, name: str, y: str = "shared") -> Any:
    """A panel for each value of a field, two in a row."""
    import altair as alt

    header = alt.Header(title=None, labelLimit=WIDTH // 2, labelFontWeight="bold")
    return (
        line.properties(width=WIDTH // 2 - 30, height=HEIGHT * 2 // 3)
        .facet(facet=alt.Facet(f"{name}:N", header=header), columns=2)
        .resolve_scale(x="independent", y=y)
    )


def _sized(chart: Any) -> Any:
    return chart.properties(width=WIDTH, height=HEIGHT)


def _leak(field: str) -> Any:
    import altair as alt

    return alt.Y(field, title="advantage of the strongest attack", scale=alt.Scale(**SCALE))


def _kind(channel: Any, name: str, title: str) -> Any:
    """A colour or a shape for each value of a field, with its legend."""
    import altair as alt

    return channel(f"{name}:N", title=title, legend=alt.Legend(orient="bottom", columns=2, labelLimit=260))


def _number(field: str) -> Any:
    import altair as alt

    return alt.Tooltip(field, format=".3f")


def _tips() -> list[Any]:
    return ["defense:N", "attack:N", "threat:N", "victim:N", _number("utility:Q"), _number("leak:Q")]


def _done(chart: Any, title: str) -> dict[str, Any]:
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        spec: dict[str, Any] = chart.properties(title=title).to_dict()
    return spec
