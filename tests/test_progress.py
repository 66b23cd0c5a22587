"""The progress bar: what runs now, what has ended, no time left."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from splitleak.report.progress import Progress, state

Run = Callable[..., list[dict[str, Any]]]


def test_bar_shows_what_runs_and_what_has_ended() -> None:
    file = io.StringIO()
    with Progress(3, file=file) as bar:
        bar.show_started("training none")
        bar.show_ended("training none", "victim")
        bar.show_started("channel on none")
        bar.show_ended("channel on none", "done")
        bar.show_ended("never announced", "failed")
    shown = [line.strip() for line in file.getvalue().split("\r")]
    assert any(line.endswith("running: training none") for line in shown)
    assert any(line.endswith("1 trained; running: channel on none") for line in shown)
    assert shown[-1].startswith("3/3 jobs")
    assert "1 trained, 1 done, 1 failed" in shown[-1]
    assert "?" not in file.getvalue()  # an unknown rate or time left


def test_hidden_bar_prints_nothing() -> None:
    file = io.StringIO()
    for total, visible in ((3, False), (0, True)):
        with Progress(total, visible, file) as bar:
            bar.show_ended("a", "done")
    assert file.getvalue() == ""


def test_labels_are_cut_to_the_width() -> None:
    counts = Counter(done=3)
    assert state(counts, ["a on none", "b on none"], 60) == "3 done; running: a on none, b on none"
    cut = state(counts, ["a" * 50, "b" * 50, "c"], 40)
    assert len(cut) <= 40
    assert cut.startswith("3 done; running: aaa")
    assert cut.endswith("… (+2)")
    assert state(counts, [], 60) == "3 done"


def test_run_announces_every_job_in_its_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, ...]] = []
    monkeypatch.setattr(Progress, "show_started", lambda self, label: events.append(("started", label)))
    monkeypatch.setattr(Progress, "show_ended", lambda self, label, status: events.append((label, status)))
    run(attack=["blind", "toy_read_off"])
    assert events == [
        ("started", "training none, cut 1, seed 0"), ("training none, cut 1, seed 0", "victim"),
        ("started", "blind on none, cut 1, seed 0"), ("blind on none, cut 1, seed 0", "done"),
        ("started", "toy_read_off on none, cut 1, seed 0"), ("toy_read_off on none, cut 1, seed 0", "done"),
    ]  # fmt: skip


def test_victim_that_fails_is_ended_with_its_attacks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    ended: list[tuple[str, str]] = []
    monkeypatch.setattr("splitleak.jobs.worker.Worker.make_victim", fail)
    monkeypatch.setattr(Progress, "show_ended", lambda self, label, status: ended.append((label.split()[0], status)))
    run(attack=["blind", "toy_read_off"])
    assert ended == [("training", "failed"), ("blind", "failed"), ("toy_read_off", "failed")]
