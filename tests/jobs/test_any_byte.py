"""One byte of a folder of results is another: its file is named, set aside and made again; the table is the same."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.sealed import pack_json, pack_tensors, unpack_json, unpack_tensors
from splitleak.store import digest

from ..conftest import Lab

TRIED = int(os.environ.get("SPLITLEAK_BYTES", 8))  # places; `make damage-test` tries 200
AXES = 'attack = ["blind", "./toy_peek.py"]'


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of AXES: one victim, a judge and two records, with their table."""
    made = Lab(tmp_path_factory.mktemp("whole"))
    made.matrix(AXES)
    assert made.process("run", "m.toml", "--out", "out", "--workers", "1").status == 0
    return made.out


@pytest.fixture
def done(lab: Any, whole: Path) -> Any:
    """A lab with these results in `out`, and in `whole` to compare with."""
    lab.matrix(AXES)
    for name in ("out", "whole"):
        shutil.copytree(whole, lab.folder / name)
    return lab


def places(done: Any, n: int, seed: int) -> Iterator[tuple[Path, int]]:
    """Random bytes of records and victims: first a file, then a place in it, so that small files are not forgotten."""
    chance = random.Random(seed)
    files = sorted(p for kind in ("records", "victims") for p in (done.out / kind).glob("*.*"))
    for _ in range(n):
        path = chance.choice(files)
        yield path, chance.randrange(path.stat().st_size)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_any_one_byte_is_noticed_named_and_mended(done: Any, main: Any) -> None:
    chance, table = random.Random(TRIED), done.csv("whole")
    for path, place in places(done, TRIED, seed=TRIED):
        content = bytearray(path.read_bytes())
        content[place] ^= 1 + chance.randrange(255)
        path.write_bytes(content)
        left_out = main("leaderboard", "out", "-o", "all.csv")  # looks at records only, and changes nothing
        assert left_out.status == 0
        assert (f"'{path.relative_to(done.folder)}' is damaged" in left_out.err) == (path.parent.name == "records")
        if path.parent.name == "victims":  # a kept victim is read for a cell that is to be run
            next(done.out.glob("records/*.json")).unlink()
            for_judge = "judge" in path.name
            if for_judge:
                shutil.rmtree(done.out / "records")
        ran = main("run", "m.toml", "--out", "out")
        assert ran.status == 0, ran.err
        assert re.search(rf"'out/{path.parent.name}/{path.name}' is .*set aside as '{path.name}\.damaged'", ran.err)
        assert done.csv() == table
        (path.parent / f"{path.name}.damaged").unlink()


def as_directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no metrics": lambda r: r.pop("metrics"),
    "no labels": lambda r: r.pop("labels"),
    "no defence in the cell": lambda r: r["cell"].pop("defense"),
    "a label less": lambda r: r["labels"].pop("model"),
    "no name": lambda r: r["cell"]["attack"].pop("name"),
    "text for a number": lambda r: r["metrics"].update(advantage=".99"),
    "a truth value for a number": lambda r: r.update(utility=True),
    "a list for metrics": lambda r: r.update(metrics=[1]),
    "an unknown status": lambda r: r.update(status="splendid"),
    "a number for flags": lambda r: r.update(flags=3),
    "flags of numbers": lambda r: r.update(flags=[3]),
    "another cell": lambda r: r["cell"].update(seed=5),
    "another key": lambda r: r.update(key="0" * 32),
    "schema as text": lambda r: r.update(schema="1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_record_of_another_form_is_named_and_made_again(done: Any, main: Any, change: str) -> None:
    path = next(done.out.glob("records/*.json"))
    record = unpack_json(path.read_bytes())
    CHANGES[change](record)
    path.write_bytes(pack_json(record))
    seen(done, main, path)


CELLS: dict[str, dict[str, Any]] = {
    "an unknown threat": {"threat": "nobody"},
    "an unknown protocol": {"protocol": "odd"},
    "more of clients": {"clients": {"n": 1, "mode": "sequential", "more": 2}},
    "less of clients": {"clients": {}},
    "text in clients": {"clients": {"n": "3", "mode": "sequential"}},
    "an odd federation": {"federated": {"x": 1}},
    "a list in a federation": {"federated": {"strategy": [1]}},
    "no time": {"seconds": None},
    "half a guarantee": {"privacy_unit": "record", "delta": None},
    "an empty null run": {"null": {"metrics": {}, "leaks": False, "p": None}},
}


@pytest.mark.parametrize("forged", CELLS)
def test_a_strangers_record_whose_checksum_and_key_are_right_is_left_out(done: Any, main: Any, forged: str) -> None:
    path = next(done.out.glob("records/*.json"))
    record = unpack_json(path.read_bytes())
    for name, value in CELLS[forged].items():
        (record["cell"] if name in ("threat", "protocol", "clients", "federated") else record)[name] = value
    record["key"] = digest(record["cell"])
    (path.parent / f"{record['key']}.json").write_bytes(pack_json(record))
    table = main("leaderboard", "out", "-o", "all.csv")
    assert table.status == 0
    assert re.search(rf"'out/records/{record['key']}.json' is damaged \(.+\); left out", table.err)


def test_an_edited_advantage_does_not_reach_a_table(done: Any, main: Any) -> None:
    path = next(p for p in done.out.glob("records/*.json") if "toy_peek" in p.read_text())
    path.write_text(re.sub(r'"advantage": [-\d.e]+', '"advantage": 0.999', path.read_text()))
    seen(done, main, path)
    assert "0.999" not in (done.folder / "all.csv").read_text()


@pytest.mark.parametrize("kind", ["directory", "loop", "FIFO", "nested", "NaN", "latin"])
def test_what_is_no_record_is_named_and_made_again(done: Any, main: Any, kind: str) -> None:
    path = next(done.out.glob("records/*.json"))
    path.unlink()
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        write = {"directory": as_directory, "loop": as_loop}.get(kind)
        texts = {"nested": b"[" * 10**6, "NaN": b'{"a": NaN}', "latin": b'{"a": "\xff"}'}
        write(path) if write else path.write_bytes(texts[kind])
    seen(done, main, path)


def seen(done: Any, main: Any, path: Path) -> None:
    """A table leaves the file out, and a run sets it aside and makes it again; each names it in one line."""
    table = main("leaderboard", "out", "-o", "all.csv")
    assert table.status == 0
    lines = [line for line in table.err.splitlines() if path.name in line]
    assert len(lines) == 1
    assert lines[0].endswith("; left out")
    assert "1 row from 1 record" in table.out
    ran = main("run", "m.toml", "--out", "out")
    assert ran.status == 0
    assert re.search(rf"'out/records/{path.name}' is damaged \(.+\); set aside as '{path.name}\.damaged'", ran.err)
    assert os.path.lexists(path.with_name(f"{path.name}.damaged"))
    assert done.csv() == done.csv("whole")


def test_files_of_other_systems_among_the_records_are_left_out(done: Any, main: Any) -> None:
    (done.out / "records" / "._abc.json").write_bytes(b"\x00\x05\x16\x07")
    (done.out / "records" / "notes.txt").write_text("not ours")
    table = main("leaderboard", "out", "-o", "all.csv")
    assert table.status == 0
    assert "'out/records/._abc.json' is damaged" in table.err
    assert "2 rows from 2 records" in table.out


def test_a_folder_of_nothing_but_damage_is_one_line(done: Any, main: Any) -> None:
    for path in done.out.glob("records/*.json"):
        path.write_text("{")
    ran = main("leaderboard", "out", "-o", "all.csv")
    assert ran.status == 2
    assert ran.err.splitlines()[-1] == "splitleak: no records in out"
    assert not Path("all.csv").exists()


@pytest.mark.slow
def test_facts_of_a_victim_of_another_form_are_named_and_it_is_trained_again(done: Any, main: Any) -> None:
    path = next(p for p in done.out.glob("victims/*") if "judge" not in p.name)
    tensors, facts = unpack_tensors(path.read_bytes())
    assert json.loads(json.dumps(facts)) == facts
    for name, value in (("utility", "0.99"), ("victim", []), ("loss_curve", ["low"])):
        path.write_bytes(pack_tensors(tensors, facts | {name: value}))
        shutil.rmtree(done.out / "records")
        ran = main("run", "m.toml", "--out", "out")
        assert ran.status == 0
        assert f"'out/victims/{path.name}' is damaged" in ran.err
        assert done.csv() == done.csv("whole")


def test_python_users_see_the_same(done: Any) -> None:
    path = next(done.out.glob("records/*.json"))
    path.write_text("{")
    records = splitleak.run("m.toml", "out")
    assert sorted(record["status"] for record in records) == ["done", "done"]
