"""Accuracy against leakage, drawn from the reference tables: `python -m splitleak.report.figures results/reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from splitleak.report import command

MARKS = {"eavesdropper": "v", "honest_server": "o", "malicious_server": "*", "query_server": "s", "white_box": "D"}


def worst_cases(ecg: pd.DataFrame, axes: Any) -> None:
    """Each defence is a column of marks at its accuracy; each mark is the strongest attack of a threat model.

    A hollow mark: no attack beat blind guessing, because the attacks are weak or because the defence is strong.
    """
    found = ecg[(ecg.goal == "inputs") & (ecg.threat != "oracle") & ecg.worst.notna()]
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(found.defense))}
    for size, (threat, mark) in zip(range(180, 0, -36), MARKS.items(), strict=True):  # smaller marks lie on top
        for defense, rows in found[found.threat == threat].groupby("defense"):
            leak, colour = rows.worst.max(), colours[str(defense)]
            face, edge = (colour, "white") if leak > 0 else ("none", colour)
            axes.scatter(rows.utility.mean(), leak, s=size, marker=mark, zorder=2 - size / 1000, fc=face, ec=edge)
    for threat, mark in MARKS.items():
        if threat in set(found.threat):
            axes.scatter([], [], marker=mark, color="grey", label=threat.replace("_", " "))
    if (found.groupby(["defense", "threat"]).worst.max() <= 0).any():
        axes.scatter([], [], fc="none", ec="grey", label="hollow: no attack beat guessing")
    for defense, colour in colours.items():
        axes.plot([], [], color=colour, lw=5, label=defense)
    axes.set(xlabel="test accuracy", ylabel="advantage of the strongest attack", ylim=(-0.02, 1.02))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def sweeps(main: pd.DataFrame, axes: Any) -> None:
    """Defences at several strengths against one attack, `inverse_network`, that may query the client."""
    found = main[main.attack.str.startswith("inverse_network")]
    kinds = found.defense.str.partition("(")[0]
    for kind in dict.fromkeys(kinds):
        rows = found[kinds == kind].sort_values("utility")
        axes.errorbar(rows.utility, rows.advantage, xerr=rows.utility_ci95, marker="o", label=f"{kind}: advantage")
        axes.plot(rows.utility, rows.reid_top1, ls="--", marker="x", label=f"{kind}: re-identified",
                  color=axes.lines[-1].get_color())  # fmt: skip
    axes.set(xlabel="test accuracy", ylabel="leakage to inverse_network", ylim=(0, 1.02))
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder = Path(command.arguments("DIR")[0])
    for name, source, draw in (("worst", "ecg_clean.csv", worst_cases), ("sweep", "main.csv", sweeps)):
        figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
        draw(pd.read_csv(folder / source), axes)
        axes.grid(alpha=0.3)
        figure.savefig(folder / f"{name}.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
