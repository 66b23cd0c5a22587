"""Accuracy against leakage, drawn from the reference tables: `python -m splitleak.report.figures results/reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from splitleak.report import command
from splitleak.report.html.charts import SCALE
from splitleak.store import write

THREATS = ("eavesdropper", "honest_server", "query_server", "white_box", "malicious_server")


def worst_cases(ecg: pd.DataFrame) -> Any:
    """A line for each defence: its accuracy with the interval, and the strongest attack of each threat model.

    A hollow mark: no attack beat blind guessing, because the attacks are weak or because the defence is strong.
    """
    import altair as alt

    found = ecg[(ecg.goal == "inputs") & (ecg.threat != "oracle") & ecg.worst.notna()]
    found = found.assign(of=found.defense.str.replace(r", .*\)", ", …)", regex=True))
    cost = found.groupby("of")[["utility", "utility_ci95"]].mean().reset_index()
    order = cost.sort_values("utility", ascending=False)["of"].tolist()
    names = alt.Y("of:N", sort=order, title=None, axis=alt.Axis(domain=False, ticks=False, grid=True),
                  scale=alt.Scale(type="band", paddingInner=0.3, paddingOuter=0.2))  # fmt: skip
    leaks = found.groupby(["of", "threat"]).worst.max().reset_index()
    hollow = "; hollow: no attack beat guessing" if (leaks.worst <= 0).any() else ""
    return alt.hconcat(
        _costs(cost, names).properties(width=200, height=300, title="What a defence costs"),
        _leaks(leaks, names).properties(width=420, height=300, title=f"What leaks all the same{hollow}"),
    ).resolve_scale(y="shared")


def _costs(cost: pd.DataFrame, names: Any) -> Any:
    import altair as alt

    base = _with_interval(cost)
    accuracy = alt.X("utility:Q", title="test accuracy, 95 % interval", scale=alt.Scale(zero=False))
    bars = base.mark_rule(size=2).encode(alt.X("low:Q"), alt.X2("high:Q"), names)
    return bars + base.mark_point(filled=True, size=80, color="black", opacity=1).encode(accuracy, names)


def _leaks(leaks: pd.DataFrame, names: Any) -> Any:
    import altair as alt

    present = [name for name in THREATS if name in set(leaks.threat)]
    legend = alt.Legend(orient="bottom", title="strongest attack of")
    colour, shape = (
        kind("threat:N", scale=alt.Scale(domain=present), legend=legend) for kind in (alt.Color, alt.Shape)
    )
    place = alt.X("worst:Q", title="advantage: 0 is a blind guess, 1 is exact", scale=alt.Scale(**SCALE))
    base = alt.Chart(_values(leaks)).encode(
        place, names.copy().axis(alt.Axis(domain=False, ticks=False, labels=False, grid=True)), colour, shape,
        yOffset=alt.YOffset("threat:N", sort=present),
    )  # fmt: skip
    marks: dict[str, Any] = {"size": 60, "opacity": 1, "strokeWidth": 2}
    full = base.transform_filter("datum.worst > 0").mark_point(filled=True, **marks)
    return full + base.transform_filter("datum.worst <= 0").mark_point(filled=False, **marks)


def sweeps(main: pd.DataFrame) -> Any:
    """Defences at several strengths against one attack, `inverse_network`, that may query the client."""
    import altair as alt

    found = main[main.attack.str.startswith("inverse_network")].copy()
    found["of"] = found.defense.str.partition("(")[0]
    found["level"] = found.defense.str.extract(r"\((\w+=[\d.e-]+)")[0].fillna("").str.replace("=", " ")
    kinds = {"advantage": "advantage (0: a blind guess, 1: exact)", "reid_top1": "share of records re-identified"}
    long = found.rename(columns=kinds).melt(
        ["of", "level", "utility", "utility_ci95"], list(kinds.values()), "kind", "leak"
    )
    base = _with_interval(long)
    x = alt.X("utility:Q", title="test accuracy, 95 % interval", scale=alt.Scale(zero=False))
    y = alt.Y("leak:Q", title="what inverse_network finds", scale=alt.Scale(**SCALE))
    colour, kind = alt.Color("of:N", title="defence"), alt.StrokeDash("kind:N", title="measure", legend=None)
    lines = base.mark_line().encode(x, y, colour, kind)
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(x, y, colour, alt.Shape("kind:N", title="measure"))
    bars = base.mark_rule(opacity=0.5).encode(alt.X("low:Q"), alt.X2("high:Q"), y, colour)
    words = base.mark_text(align="left", dx=7, dy=12).encode(x, y, colour, text="level:N")
    return (bars + lines + marks + words).properties(
        width=560, height=360, title="Less noise: more accuracy, and more leakage"
    )


def _with_interval(table: pd.DataFrame) -> Any:
    """A chart of the table with the ends of the interval of the accuracy."""
    import altair as alt

    low, high = "datum.utility - datum.utility_ci95", "datum.utility + datum.utility_ci95"
    return alt.Chart(_values(table)).transform_calculate(low=low, high=high)


def _values(table: pd.DataFrame) -> Any:
    import altair as alt

    return alt.Data(values=table.to_dict("records"))


def main() -> None:
    import vl_convert

    folder = Path(command.arguments("DIR")[0])
    for name, source, draw in (("worst", "ecg_clean.csv", worst_cases), ("sweep", "main.csv", sweeps)):
        chart = draw(pd.read_csv(folder / source)).configure_legend(labelLimit=360).to_dict()
        write(folder / f"{name}.png", vl_convert.vegalite_to_png(chart, scale=1.5))


if __name__ == "__main__":
    main()
