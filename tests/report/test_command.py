"""The tables that `python -m splitleak.report.NAME` prints: a mistake is one line, and status 2."""

from __future__ import annotations

import subprocess
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


@pytest.mark.slow
@pytest.mark.parametrize("given", MISTAKES)
def test_a_mistake_is_one_line(given: str, tmp_path: Path) -> None:
    (name, *words), message = MISTAKES[given]
    ran = subprocess.run(
        [sys.executable, "-m", f"splitleak.report.{name}", *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("splitleak: ")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
