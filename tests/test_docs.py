"""The Markdown pages: links lead somewhere, nothing that ships is left out, and printed files run as they stand."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from splitleak.contract import threats
from splitleak.plan import plugins

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
TABLES = sorted((ROOT / "results" / "reference").glob("*.csv"))


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), link
        assert ROOT in there.parents, link
        assert not anchor or anchor in anchors(there), link


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in PAGES:
        if page.name not in ("README.md", "CHANGELOG.md") or page.parent != ROOT:
            assert f"({page.relative_to(ROOT)})" in text


KINDS = {  # words by which a line of the README's table of what exists is recognised, the first that fits
    "threat": ("threat models",),
    "attack": ("attack", "control"),
    "defense": ("defence", "detectors"),
    "model": ("models",),
    "dataset": ("datasets", "your own data"),
}


def existing() -> dict[str, set[str]]:
    """The names in the README's table, by kind; each line's count is the number of its names."""
    text = (ROOT / "README.md").read_text()
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for what, count, names in re.findall(r"^\| ([a-z][^|]*) \| (\d+) \| (`[^|]*`) \|$", text, re.MULTILINE):
        line = re.findall(r"`(\w+)`", names)
        assert len(line) == int(count), what
        kind = next(kind for kind, words in KINDS.items() if any(word in what for word in words))
        found[kind].update(line)
    return found


def test_the_readme_names_everything_that_ships() -> None:
    named = existing()
    for kind in plugins.FOLDERS:
        assert set(plugins.names(kind)) <= named[kind]
    assert set(threats.THREATS) == named["threat"]


def test_every_column_and_every_flag_of_the_reference_tables_is_explained() -> None:
    text = (ROOT / "docs" / "reading.md").read_text()
    explained = set(re.findall(r"`([\w-]+)`", text))
    boards = [pd.read_csv(path, keep_default_na=False) for path in TABLES]
    boards = [board for board in boards if "worst" in board]
    assert len(boards) >= 10
    for board in boards:
        columns = {re.sub("_ci95$", "", name) for name in board.columns}
        assert columns <= explained, columns - explained
        flags = {flag for cell in board["flags"] for flag in cell.split()}
        assert flags <= explained, flags - explained


@pytest.mark.slow
def test_one_file_with_all_four_kinds_runs_as_printed(lab: Any, main: Any) -> None:
    text = (ROOT / "docs" / "extend.md").read_text()
    (module,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Waves" in code]
    (matrix,) = [code for code in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if '"./mine.py"' in code]
    lab.write("mine.py", module)
    lab.write("four.toml", matrix)
    ran = main("run", "four.toml")
    assert ran.status == 0, ran.err
    board = pd.read_csv(lab.folder / "runs" / "four" / "leaderboard.csv", keep_default_na=False)
    assert (board["status"] == "done").all()
    assert set(board["defense"]) == {"none", "mine(step=0.5)"}
    assert float(board[(board["attack"] == "mine") & (board["defense"] == "none")]["advantage"].iloc[0]) > 0.9


@pytest.mark.slow
def test_the_script_of_the_audit_page_is_short_and_runs_as_printed(lab: Any) -> None:
    text = (ROOT / "docs" / "audit.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    net = "nn.Sequential(nn.Conv1d(1, 2, 3), nn.Sequential(nn.Flatten(), nn.Linear(20, 5)), nn.ReLU())"
    made = f"import torch\nfrom torch import nn\ndef load_network():\n    torch.manual_seed(0)\n    return {net}\n"
    lab.write("my_net.py", made)
    draw = np.random.default_rng(0)
    for name, n in {"trained_on": 60, "others": 120}.items():
        person = np.array([f"{name} {i // 6}" for i in range(n)])
        np.savez(lab.folder / f"{name}.npz", x=draw.random((n, 1, 12), np.float32), y=np.arange(n) % 2, patient=person)
    lab.write("script.py", script)
    ran = subprocess.run([sys.executable, "script.py"], cwd=lab.folder, capture_output=True, text=True, check=True)
    assert ran.stdout.count("cut ") == 6
    assert (lab.folder / "runs" / "audit" / "audit.html").is_file()
