"""The tables that `python -m splitleak.report.NAME` prints: a mistake is one line, and status 2."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

MISTAKES = {
    "too few words": (["verdicts", "quick"], "usage: python -m splitleak.report.verdicts MATRIX DIR [OUT.csv]"),
    "too many": (["figures", "a", "b"], "usage: python -m splitleak.report.figures DIR"),
    "an option": (["conformance", "--help", "x"], "usage: python -m splitleak.report.conformance RUNS OUT.csv"),
    "no such matrix": (["costs", "quikc", "."], "no matrix 'quikc'; did you mean 'quick'?"),
    "no such folder": (["costs", "quick", "nowhere"], "no record of matrix 'quick' in 'nowhere'"),
}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (name, *words), message = MISTAKES[given]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"splitleak.report.{name}", run_name="__main__", alter_sys=True)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith("splitleak: ")
    assert message in told.err
    assert told.err.count("\n") == 1
