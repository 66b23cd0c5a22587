"""A CSV holds numbers and texts: no text is a formula of a spreadsheet, none breaks a line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import splitleak
from splitleak.report import command, csv_file, published
from splitleak.report.show import cell_name, long_table, write_csv
from splitleak.report.summary import summary
from splitleak.report.table import leaderboard

from .test_leaderboard import record

FORMULAS = ("=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"x\")")  # fmt: skip
BREAKS = ("a\nb", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\x00b")


def labelled(attack: str) -> Any:
    made = record("blind")
    made["cell"]["attack"] = {"name": "channel"}
    return made | {"labels": made["labels"] | {"attack": attack}, "flags": [attack]}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reports(name: str) -> Any:
    return pd.DataFrame({"attack": ["channel", name], "advantage": [0.25, -0.5], "n": [1, -2]})


@pytest.mark.parametrize("label", FORMULAS)
def test_no_text_of_the_leaderboard_is_a_formula(label: str, tmp_path: Path) -> None:
    write_csv(leaderboard([labelled(label), record("norm", advantage=-0.25)]), tmp_path / "all.csv")
    rows = read(tmp_path / "all.csv")
    texts = [value for row in rows for value in row.values() if value.startswith(csv_file.FORMULA)]
    assert texts == ["-0.25"]
    assert label.strip() in rows[0]["attack"] or label.strip() in rows[1]["attack"]


@pytest.mark.parametrize("label", FORMULAS)
def test_nor_is_one_of_a_report(label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_records", lambda name, folder: [])  # `reports` makes the table from nothing
    monkeypatch.setattr(sys, "argv", ["report", "m.toml", str(tmp_path), str(tmp_path / "report.csv")])
    command.print_table(lambda _: reports(label))
    monkeypatch.setattr(published, "table", lambda _: reports(label).to_dict("records"))
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path), str(tmp_path / "published.csv")])
    published.main()
    for name, numbers in (("report", ["0.25", "-0.5"]), ("published", ["0.2500", "-0.5000"])):
        rows = read(tmp_path / f"{name}.csv")
        assert not rows[1]["attack"].startswith(csv_file.FORMULA)
        assert [row["advantage"] for row in rows] == numbers
        assert [row["n"] for row in rows] == ["1", "-2"]


@pytest.mark.parametrize("label", BREAKS)
def test_no_text_breaks_a_line(label: str, tmp_path: Path) -> None:
    plain, odd = ([labelled(name), record("norm")] for name in ("ab", label))
    board = leaderboard(odd)
    write_csv(board, tmp_path / "all.csv")
    csv_file.write_table(reports(label), tmp_path / "report.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 3
    for show in (summary, long_table):
        text = show(board)
        assert len(text.splitlines()) == len(show(leaderboard(plain)).splitlines())
        assert "\x1b" not in text
        assert "\x00" not in text
    assert cell_name(odd[0]).isprintable()


def test_a_table_is_written_in_one_place() -> None:
    files = Path(splitleak.__file__).parent.rglob("*.py")
    assert [path.name for path in files if "to_csv(" in path.read_text()] == ["csv_file.py"]
