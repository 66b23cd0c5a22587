"""The progress bar: what runs now, what has ended, no time left."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

import splitleak
from splitleak import apart
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_a_job_is() -> None:
    file = Terminal()
    with Progress(1, file=file) as bar:
        bar.show_started("training none")
        bar.show_moved("training none", "epoch 3/20")
        bar.show_ended("training none", "victim")
    assert "running: training none, epoch 3/20" in file.getvalue()
    assert "epoch" not in file.getvalue().split("\r")[-1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_every_epoch_and_every_logged_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    heard: list[tuple[str, str]] = []
    monkeypatch.setattr(Progress, "show_moved", lambda self, label, position: heard.append((label, position)))
    monkeypatch.setattr("splitleak.api.need_main_guard", lambda workers: None)
    axes = {"dataset": [{"name": "ecg_synthetic", "n": 500}], "model": ["ecg_cnn"],
            "attack": [{"name": "fsha", "iterations": 30, "pilot": 5, "curve": 10}]}  # fmt: skip
    splitleak.run({"matrix": axes, "train": {"epochs": 3}, "evaluate": {"targets": 20}}, tmp_path, workers=workers)
    positions = [position for label, position in heard if label.startswith("training none")]
    assert positions == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    steps = [position for label, position in heard if label.startswith("fsha")]
    assert steps[:4] == ["step 0", "step 10", "step 20", "step 30"]


@pytest.mark.skipif(not apart.possible(), reason="needs Linux")
def test_a_process_that_is_forked_while_the_bar_is_drawn_can_draw_one_itself() -> None:
    holds, over = threading.Event(), threading.Event()

    def draw() -> None:
        with tqdm.get_lock():
            holds.set()
            over.wait(0.2)

    thread = threading.Thread(target=draw)
    thread.start()
    holds.wait()
    apart.call(lambda say: bool(tqdm.get_lock().acquire()), timeout=60)  # and ends without releasing it
    thread.join()
    assert tqdm.get_lock().mp_lock.acquire(timeout=60)
    tqdm.get_lock().mp_lock.release()
