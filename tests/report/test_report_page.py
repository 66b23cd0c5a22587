"""The report: one page that asks for nothing, in which text stays text, read by a browser without an error."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.contract import BadInput
from splitleak.report.html import charts, panels, render, sources
from splitleak.store import Store

from ..conftest import TOYS, Ran, toy_matrix
from .browser import CHROMIUM, Browser

HOSTILE = ("</script><script>alert(1)</script>", "=HYPERLINK('x')", "two\nlines", "n" * 300)
AXE = Path(os.environ.get("SPLITLEAK_AXE", "axe-core/axe.min.js"))  # from the npm package axe-core
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of toys, two defences and one attack with hostile labels."""
    out = tmp_path_factory.mktemp("report") / "out"
    here = Path.cwd()
    os.chdir(TOYS)
    try:
        threats = ["eavesdropper", "honest_server"]
        attacks, quick = ["blind", "toy_read_off"], {"epochs": 2}
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


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return made(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One start serves all tests."""
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("page") / "page.html"
    found.write_text(page, encoding="utf-8")
    return found


@pytest.mark.slow
def test_every_row_and_record_is_in_the_page(folder: Path, page: str) -> None:
    content = embedded(page)
    board = splitleak.leaderboard(Store(folder).records())  # type: ignore[arg-type]
    assert len(content["rows"]) == len(board) == len(content["panels"]) == len(content["sources"])
    assert {"eavesdropper", "honest_server"} <= set(content["threats"])
    assert content["pictures"]
    assert all(picture.startswith("data:image/png;base64,") for picture in content["pictures"].values())
    assert "tradeoff" in content["charts"]


@pytest.mark.slow
def test_figures_of_papers_that_lie_beside_the_tables_are_shown() -> None:
    reference = Path(__file__).parents[2] / "results" / "reference"
    figures = sources.published([reference])
    assert len(figures) == len((reference / "conformance.csv").read_text().splitlines()) - 1
    page = render.page(sources.read([reference / "main.csv"]), figures)
    assert "<td>MNIST conv1, white box</td><td>as in their code</td><td>psnr</td>" in page
    assert '<td class="number">39.69</td><td class="number">37.41</td>' in page
    assert "Reported by papers" not in made(reference / "main.csv")


@pytest.mark.slow
def test_the_page_asks_for_nothing(page: str) -> None:
    assert "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'" in page
    own = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href|action)="(?!data:)', own)


@pytest.mark.slow
def test_text_of_others_stays_text(hostile: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    page = made(hostile)
    assert "<script>alert" not in page
    assert page.count("</script>") == 4  # the content, Vega, DataTables and the page's own
    labels = {str(cell) for row in embedded(page)["rows"] for cell in row}
    assert any("</script>" in label for label in labels)
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed: the page was not opened")
    browser = request.getfixturevalue("browser")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    browser.open(tmp_path / "page.html", "#row=0")
    assert browser.said == []
    seen = browser.value("document.documentElement.outerHTML")
    assert "<script>alert" not in seen
    assert seen.count('class="chart') >= 1
    assert "&lt;/script&gt;" in seen


@in_a_browser
@pytest.mark.slow
def test_the_address_keeps_the_state_and_a_panel_tells_all_of_its_row(browser: Browser, file: Path, page: str) -> None:
    content = embedded(page)
    attack = content["columns"].index("attack")
    row = next(i for i, cells in enumerate(content["rows"]) if cells[attack] == "toy_read_off")
    assert content["panels"][row]["flags"]
    browser.open(file, f"#threat=honest_server&row={row}")
    assert browser.said == []
    assert browser.value("document.querySelector('[data-threat=honest_server]').ariaSelected") == "true"
    told = browser.value("document.getElementById('panel').innerText")
    for words in ("null channel", "reported", "measured", "best known", "no paper's figure", "splitleak run cell.toml"):
        assert words in told
    for flag, meaning in content["panels"][row]["flags"].items():
        assert f"{flag}\n{meaning}" in told
    assert browser.value("document.querySelectorAll('#panel .chart svg').length") == 1


@in_a_browser
@pytest.mark.slow
def test_all_is_done_by_keyboard(browser: Browser, file: Path) -> None:
    browser.open(file)
    assert browser.value("document.querySelectorAll('#gallery img').length") > 0
    focus = "document.activeElement"
    browser.press("Tab", "ArrowRight")
    first = browser.value(f"{focus}.dataset.threat")
    assert browser.value(f"{focus}.ariaSelected") == "true"
    assert first == browser.value("new URLSearchParams(location.hash.slice(1)).get('threat')") == "eavesdropper"
    browser.press("ArrowLeft", "End")
    assert browser.value(f"{focus}.dataset.threat") not in ("", first)
    browser.press("ArrowRight")
    assert browser.value(f"{focus}.dataset.threat") == ""  # round to the first

    browser.value("document.getElementById('search').focus()")
    browser.write("read_off")
    column = "[...document.querySelectorAll('#rows tbody tr')].map((row) => row.cells[{}].innerText)"
    assert set(browser.value(column.format(2))) == {"toy_read_off"}

    browser.value("document.querySelector('#rows thead th:nth-child(5) [role=button]').focus()")
    for key, way in (("Enter", "none"), (" ", "ascending"), ("Enter", "descending"), (" ", "none")):
        browser.press(key)
        browser.wait(f"(document.querySelector('#rows thead th:nth-child(5)').ariaSort ?? 'none') === '{way}'")
    browser.press("Enter")
    browser.wait("document.querySelector('#rows thead th:nth-child(5)').ariaSort === 'ascending'")
    numbers = browser.value(column.format(4))
    assert numbers == sorted(numbers, key=float)

    browser.value("document.querySelector('#rows tbody button').focus()")
    browser.press("Enter")
    assert browser.value(f"{focus}.id") == "panel"
    browser.press("Tab", "Enter")  # its first button closes it
    assert browser.value("document.getElementById('panel').hidden")
    assert browser.said == []


@in_a_browser
@pytest.mark.slow
@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not there ({AXE}; SPLITLEAK_AXE names it)")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(browser: Browser, file: Path, scheme: str, width: int) -> None:
    browser.open(file, "#row=0", scheme, width)
    assert browser.value("document.documentElement.scrollWidth") <= width  # the page itself never scrolls sideways
    browser.value(AXE.read_text(encoding="utf-8"))
    found = browser.value("""axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => [one.id, one.nodes.map((n) => n.html.slice(0, 90))]))""")
    assert found == []


@pytest.mark.slow
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


def test_the_room_for_pictures_is_shared_by_all_attacks_and_defences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(292))  # 400 bytes in a page
    monkeypatch.setattr(panels, "ROOM", 1000)
    records: list[Any] = [{"picture": "one.png"}]
    rows = [("strong", "none", 0.9), ("strong", "none", 0.8), ("weak", "none", -0.5), ("weak", "noise", -0.9)]
    whole = [({"attack": a, "defense": d, "advantage": v}, tmp_path, records) for a, d, v in rows]
    assert list(dict(panels.pictures(whole))) == [0, 2]  # then 3, then 1


def test_a_curve_is_thinned_and_keeps_its_ends() -> None:
    long = [float(i) for i in range(1000)]
    found = sources.thinned(long)
    assert len(found) == sources.POINTS
    assert (found[0], found[-1]) == ((1, 0.0), (1000, 999.0))
    assert sources.thinned([0.5, 0.25]) == [(1, 0.5), (2, 0.25)]
    assert (sources.thinned([0.5]), sources.thinned([])) == ([(1, 0.5)], [])


@pytest.mark.slow
def test_a_panel_has_the_curves_of_each_seed(folder: Path) -> None:
    (source,) = sources.read([folder])
    records: list[Any] = [next(iter(source.records.values()))[0]]
    steps = [{"step": s, "error": e, "advantage": 0.0} for s, e in ((0, 0.5), (9, 0.25))]
    told = panels.panel(source.rows[0], [records[0] | {"curve": steps}], source.losses)
    loss, error = told["curves"]
    assert (loss["of"], loss["at"]) == (panels.LOSS, [1, 2])
    assert (error["of"], error["at"], error["value"]) == (panels.ERROR, [0, 9], [0.5, 0.25])


@pytest.mark.slow
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


@pytest.mark.slow
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
        same | {"id": i, "defense": name, "utility": utility, "leak": leak, "low": leak, "high": leak}
        for i, (name, utility, leak) in enumerate(found)
    ]
    (front,) = re.findall(
        r'<path[^>]* d="([^"]*)"[^>]*stroke-dasharray', vl_convert.vegalite_to_svg(charts.tradeoff(values))
    )
    assert front.count("L") == 2  # from a to b and to d


@pytest.mark.slow
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
