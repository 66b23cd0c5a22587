"""The report: one page that asks for nothing, in which text stays text, read by a browser without an error."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.contract import BadInput
from splitleak.report.html import charts, panels, render, sources
from splitleak.store import Store

from ..conftest import TOYS, Ran, toy_matrix

HOSTILE = ("</script><script>alert(1)</script>", "=HYPERLINK('x')", "two\nlines", "n" * 300)
CHROMIUM = shutil.which("chromium")
AXE = Path(os.environ.get("SPLITLEAK_AXE", "axe-core/axe.min.js"))  # from the npm package axe-core
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--virtual-time-budget=20000", "--dump-dom",
)  # fmt: skip
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of toys, two defences and one attack with hostile labels."""
    out = tmp_path_factory.mktemp("report") / "out"
    here = Path.cwd()
    os.chdir(TOYS)
    try:
        threats = ["eavesdropper", "honest_server"]
        attacks, quick = ["blind", "toy_read_off"], {"epochs": 1}
        axes: dict[str, Any] = {"defense": ["none", "dropout"], "attack": attacks, "threat": threats}
        records = splitleak.run(toy_matrix(train=quick, evaluate={"targets": 20}, **axes), out)
        images = {"dataset": "toy_images", "model": "toy_skips", "attack": "blind"}
        records += splitleak.run(toy_matrix(train=quick, **images), out)
    finally:
        os.chdir(here)
    assert any(record["status"] == "done" for record in records)
    return out


@pytest.fixture(scope="module")
def hostile(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile") / "out"
    store = Store(out)
    for i, record in enumerate(Store(folder).records()):
        named = {kind: HOSTILE[(i + k) % len(HOSTILE)] for k, kind in enumerate(record["labels"])}
        store.write_record(record | {"labels": named, "why": HOSTILE[0] if record["why"] else None})
    return out


def made(*paths: Path) -> str:
    return render.page(sources.read([*paths]))


def embedded(page: str) -> dict[str, Any]:
    (content,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(content)
    return found


def browsed(page: str, tmp_path: Path, address: str = "", *more: str) -> tuple[str, list[str]]:
    """The page as a browser has it in the end, and what it said on its console."""
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, *more, f"--user-data-dir={tmp_path / 'profile'}", f"file://{file}{address}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if ":CONSOLE" in line]


def test_every_row_and_record_is_in_the_page(folder: Path) -> None:
    page = made(folder)
    content = embedded(page)
    board = splitleak.leaderboard(Store(folder).records())  # type: ignore[arg-type]
    assert len(content["rows"]) == len(board) == len(content["panels"]) == len(content["sources"])
    assert {"eavesdropper", "honest_server"} <= set(content["threats"])
    assert content["pictures"]
    assert all(picture.startswith("data:image/png;base64,") for picture in content["pictures"].values())
    assert "tradeoff" in content["charts"]


def test_the_page_asks_for_nothing(folder: Path) -> None:
    page = made(folder)
    assert "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'" in page
    own = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action)="(?!data:)', own)


def test_text_of_others_stays_text(hostile: Path, tmp_path: Path) -> None:
    page = made(hostile)
    assert "<script>alert" not in page
    assert page.count("</script>") == 4  # the content, Vega, DataTables and the page's own
    labels = {str(cell) for row in embedded(page)["rows"] for cell in row}
    assert any("</script>" in label for label in labels)


@in_a_browser
@pytest.mark.slow
def test_a_browser_reads_it_without_an_error(hostile: Path, tmp_path: Path) -> None:
    page, said = browsed(made(hostile), tmp_path)
    assert said == []
    assert re.search(r'data-ready="\d+"', page)
    assert "<script>alert" not in page
    assert page.count('class="chart') >= 1
    assert "&lt;/script&gt;" in page


@in_a_browser
@pytest.mark.slow
def test_the_address_keeps_the_state(folder: Path, tmp_path: Path) -> None:
    page, said = browsed(made(folder), tmp_path, "#threat=honest_server&row=0")
    assert said == []
    (tab,) = re.findall(r'<button[^>]*data-threat="honest_server"[^>]*>', page)
    assert 'aria-selected="true"' in tab
    assert "Details of a row" in page
    assert "splitleak run cell.toml" in page


@in_a_browser
@pytest.mark.slow
@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not there ({AXE}; SPLITLEAK_AXE names it)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(folder: Path, tmp_path: Path, scheme: str) -> None:
    check = """<script type="module">
      const wait = setInterval(async () => {
        if (!document.body.dataset.ready) return;
        clearInterval(wait);
        const found = await axe.run(document, { resultTypes: ["violations"] });
        const serious = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
        document.body.dataset.axe = JSON.stringify(
          serious.map((one) => [one.id, one.nodes.map((n) => n.html.slice(0, 90))]));
      }, 100);</script>"""
    script = f"<script>{AXE.read_text(encoding='utf-8')}</script>{check}"
    before, end, after = made(folder).rpartition("</body>")
    page, _ = browsed(
        before + script + end + after,
        tmp_path,
        "#row=0",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    )
    (found,) = re.findall(r'data-axe="([^"]*)"', page)
    assert found == "[]", found


def test_what_is_damaged_is_named_and_the_rest_is_shown(folder: Path, tmp_path: Path, main: Callable[..., Ran]) -> None:
    shutil.copytree(folder, tmp_path / "out")
    files = sorted((tmp_path / "out" / "records").glob("*.json"))
    files[0].write_bytes(files[0].read_bytes()[:-20])
    ran = main("report", str(tmp_path / "out"), "-o", str(tmp_path / "r.html"))
    assert ran.status == 0
    assert files[0].name in ran.err
    page = (tmp_path / "r.html").read_text()
    assert files[0].name in page
    assert embedded(page)["rows"]


def test_a_picture_outside_the_folder_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    inside = tmp_path / "out"
    inside.mkdir()
    records: list[Any] = [{"picture": "../secret.png"}]
    assert dict(panels.pictures([({"advantage": 1.0}, inside, records)])) == {}


def test_what_repeats_a_row_is_a_legal_matrix_with_the_same_cells(folder: Path, tmp_path: Path) -> None:
    from splitleak.plan import matrix

    whole = sources.read([folder])[0].records.values()
    for records in (each for each in whole if each[0]["cell"]["attack"]["name"] != "blind"):
        file = tmp_path / "cell.toml"
        file.write_text(panels.matrix_of(records))
        if any("/" in str(records[0]["cell"][axis]["name"]) for axis in panels.AXES):  # type: ignore[literal-required]
            for toy in TOYS.glob("*.py"):
                shutil.copy(toy, tmp_path)
        keys = {cell.resolved()["attack"]["name"]: cell for cell in matrix.read(file).cells}
        again = keys[records[0]["cell"]["attack"]["name"]].resolved()
        assert {k: v for k, v in again.items() if k != "null"} == {
            k: v for k, v in records[0]["cell"].items() if k != "null"
        }


def test_charts_are_written_for_papers(folder: Path, tmp_path: Path, main: Callable[..., Ran]) -> None:
    ran = main("report", str(folder), "-o", str(tmp_path / "r.html"), "--png", str(tmp_path / "charts"))
    assert ran.status == 0
    assert (tmp_path / "charts" / "tradeoff.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "charts" / "tradeoff.svg").read_text()


def test_the_front_has_what_no_other_defence_beats_in_both() -> None:
    import vl_convert

    found = [("a", 0.9, 0.9), ("b", 0.8, 0.5), ("c", 0.7, 0.6), ("d", 0.6, 0.1)]
    same = {"victim": "v", "threat": "eavesdropper", "goal": "inputs", "attack": "x", "cut": 1, "level": None}
    values = [
        same | {"id": i, "defense": name, "family": name, "utility": utility, "leak": leak, "low": leak, "high": leak}
        for i, (name, utility, leak) in enumerate(found)
    ]
    lines = re.findall(r'<path[^>]* d="(M[^"]*L[^"]*)"', vl_convert.vegalite_to_svg(charts.tradeoff(values)))
    assert max(line.count("L") for line in lines if "C" not in line) == 2  # from a to b and to d


def test_mistakes_are_one_line(folder: Path, tmp_path: Path, main: Callable[..., Ran]) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no records and no leaderboard" in main("report", str(tmp_path / "empty"), "-o", "r.html").line
    board = tmp_path / "other.csv"
    table = splitleak.leaderboard(Store(folder).records())  # type: ignore[arg-type]
    table.assign(version="9.9").to_csv(board, index=False, quoting=csv.QUOTE_MINIMAL)
    line = main("report", str(folder), str(board), "-o", str(tmp_path / "r.html")).line
    assert "figures of one version" in line
    assert "9.9" in line
    assert not (tmp_path / "r.html").exists()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render.util, "find_spec", lambda name: None if name == "altair" else object())
    with pytest.raises(BadInput, match=r"a report needs altair: pip install 'splitleak\[report\]'"):
        render.require()
