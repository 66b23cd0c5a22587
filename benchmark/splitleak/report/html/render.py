"""The report as one HTML file that asks for nothing, and its charts as PNG and SVG."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources, util
from pathlib import Path
from typing import Any

from splitleak import __version__
from splitleak.contract.errors import BadInput
from splitleak.contract.threats import THREATS
from splitleak.report.html import charts, panels
from splitleak.report.html.sources import Source
from splitleak.report.table import COLUMNS
from splitleak.report.victims import Row
from splitleak.store import write

NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python", "itables": "itables", "jinja2": "jinja2"}
PRESETS = {  # columns that are shown at first, by what a reader wants to know
    "what leaks": ["defense", "attack", "goal", "advantage", "advantage_ci95", "worst", "best_known", "reid_top1",
                   "null_advantage", "control_advantage", "flags"],
    "what it costs": ["defense", "utility_metric", "utility", "utility_ci95", "utility_drop", "epsilon", "worst",
                      "bytes_up", "bytes_down", "seconds_train"],
    "how sure it is": ["defense", "attack", "n_seeds", "advantage", "advantage_ci95", "null_advantage",
                       "control_advantage", "reid_top1", "reid_strangers", "reid_chance", "nearest_aux", "suite",
                       "flags"],
}  # fmt: skip
EXPORTS = re.compile(r"export\s*\{([^}]*)\}\s*;?\s*")


def require() -> None:
    """BadInput where the packages of the extra `report` are missing."""
    missing = [package for module, package in NEEDED.items() if util.find_spec(module) is None]
    if missing:
        raise BadInput(f"a report needs {', '.join(missing)}: pip install 'splitleak[report]'")


def page(sources: Sequence[Source], published: Sequence[Row] = ()) -> str:
    """The whole page. published: figures of papers beside measured ones, see `sources.published`."""
    from jinja2 import Environment, StrictUndefined

    whole = [(row, s, s.records.get(i, [])) for s in sources for i, row in enumerate(s.rows)]
    rows = [row for row, _, _ in whole]
    content = _content(rows)
    content["panels"] = [panels.panel(row, records, source.losses) for row, source, records in whole]
    content["pictures"] = dict(panels.pictures([(row, source.path, records) for row, source, records in whole]))
    drawn = sum(any(record.get("picture") for record in records) for _, _, records in whole)
    content["sources"] = [source.path.name or str(source.path) for _, source, _ in whole]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("report.html")).render(
        overview=_overview(sources, rows), left_out=drawn - len(content["pictures"]), presets=PRESETS,
        threats=content["threats"], goals=content["goals"], published=published,
        style=_raw(_text("report.css")), tables_style=_raw(_tables_style()), script=_raw(_scripts()),
        content=_raw(_json(content)),
    )  # fmt: skip


def _content(rows: Sequence[Row]) -> dict[str, Any]:
    """What the page's script reads of the rows."""
    used = [name for name in COLUMNS if any(row.get(name) not in (None, "") for row in rows)]
    values = charts.points(rows)
    drawn = {name: make([]) for name, make in charts.CHARTS.items() if charts.worth_drawing(name, values)}
    present = {str(row["threat"]) for row in rows}
    return {
        "columns": used,
        "rows": [[row.get(name) for name in used] for row in rows],
        "points": values,
        "charts": drawn,
        "compared": charts.COMPARED,
        "curves": charts.curves([]),
        "victims": [charts.victim(row) for row in rows],
        "presets": PRESETS,
        "threats": [name for name in THREATS if name in present],
        "goals": list(dict.fromkeys(str(row["goal"]) for row in rows)),
    }


def _overview(sources: Sequence[Source], rows: Sequence[Row]) -> dict[str, Any]:
    records = [record for source in sources for own in source.records.values() for record in own]
    statuses = Counter(str(row["status"]) for row in rows)
    faults = [
        {"row": f"{row['defense']}, {row['attack']} ({row['threat']})", "status": row["status"]}
        for row in rows if row["status"] in ("failed", "diverged", "skipped")
    ]  # fmt: skip
    whys = {
        f"{r['labels']['defense']}, {r['labels']['attack']} ({r['cell']['threat']})": r["why"]
        for r in records if r["status"] != "done"
    }  # fmt: skip
    partial = sorted({str(row["defense"]) for row in rows if row["status"] == "done" and not row.get("suite")})
    machines = {json.dumps(record["versions"], sort_keys=True) for record in records}
    return {
        "sources": [
            {"name": str(s.path), "rows": len(s.rows), "records": sum(map(len, s.records.values()))} for s in sources
        ],
        "statuses": dict(statuses), "faults": [fault | {"why": whys.get(fault["row"])} for fault in faults],
        "partial": partial, "warnings": [w for s in sources for w in s.warnings],
        "machines": [json.loads(one) for one in sorted(machines)],
        "versions": sorted({v for s in sources for v in s.versions}), "by": __version__,
    }  # fmt: skip


def write_charts(sources: Sequence[Source], folder: Path) -> list[Path]:
    """Each chart that has something to compare, as PNG (twice the size of the page's) and SVG."""
    import vl_convert

    every = charts.points([row for source in sources for row in source.rows])
    goals = {value["goal"] for value in every}
    values = [v for v in every if v["goal"] == "inputs"] if "inputs" in goals else every
    written = []
    for name, make in charts.CHARTS.items():
        if charts.worth_drawing(name, values):
            spec = make(values)
            for ending, content in (
                ("png", vl_convert.vegalite_to_png(spec, scale=2)),
                ("svg", vl_convert.vegalite_to_svg(spec).encode()),
            ):
                write(folder / f"{name}.{ending}", content)
                written.append(folder / f"{name}.{ending}")
    return written


@cache
def _scripts() -> str:
    """Vega and DataTables as they are distributed, and the page's own script, in one module."""
    import itables
    import vl_convert

    vega = vl_convert.javascript_bundle("window.splitleak = { embed: vegaEmbed };")
    tables = (Path(itables.__file__).parent / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    names = dict(reversed(pair.split(" as ")) for pair in EXPORTS.findall(tables)[-1].split(",") if " as " in pair)
    tables = EXPORTS.sub("", tables) + f"\nwindow.splitleak.Table = {names['default']};\n"
    parts = (vega, tables, _text("report.js"))
    return "\n".join(f'<script type="module">{_inside(part)}</script>' for part in parts)


def _inside(script: str) -> str:
    """A script that no text in it can end."""
    return script.replace("</script", r"<\/script")


def _tables_style() -> str:
    import itables

    return (Path(itables.__file__).parent / "html" / "dt_bundle.css").read_text(encoding="utf-8").replace("</", r"<\/")


def _json(value: Any) -> str:
    """JSON that no text in it can end: `<` is written as an escape."""
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c")


def _raw(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _text(name: str) -> str:
    return (resources.files("splitleak.report.html") / name).read_text(encoding="utf-8")
