"""A script that starts workers without a main guard ends in one line that says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CALL = 'splitleak.run({"matrix": {"dataset": ["ecg_synthetic"], "model": ["mlp"]}}, "out", workers=2, only=["seed=9"])'


def run(script: Path, *more: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, *more, str(script)], cwd=script.parent, text=True, capture_output=True)
    return done.returncode, done.stderr


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "experiment.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        f"import splitleak\n{CALL}\n",
        f"import splitleak\ndef main():\n    {CALL}\nif True:\n    main()\n",
    ],
    ids=["call", "function"],
)
def test_script_without_a_guard_is_refused_before_anything_starts(script: Path, text: str) -> None:
    script.write_text(text.replace(', only=["seed=9"]', ""))
    status, said = run(script)
    last = said.strip().splitlines()[-1]
    assert status == 1
    assert last.startswith("splitleak.contract.errors.BadInput: run(workers=2) starts processes that import experiment")
    assert 'if __name__ == "__main__":' in last
    assert said.count("Traceback") == 1  # of the script alone, not of a worker
    assert "RuntimeError" not in said
    assert not (script.parent / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "guard",
    [
        'if __name__ == "__main__":',
        "import multiprocessing\nif multiprocessing.current_process().name == 'MainProcess':",
    ],
)
def test_guarded_script_is_not_refused(script: Path, guard: str) -> None:
    script.write_text(f"import splitleak\n{guard}\n    {CALL}\n")
    assert "no such cell (seed: 0)" in run(script)[1]


@pytest.mark.slow
def test_call_in_an_imported_module_is_the_scripts(script: Path) -> None:
    (script.parent / "study.py").write_text(f"import splitleak\n{CALL}\n".replace(', only=["seed=9"]', ""))
    script.write_text("import study\n")
    assert "that import experiment.py again" in run(script)[1]


@pytest.mark.slow
def test_worker_that_is_still_importing_its_script_is_refused(script: Path) -> None:
    """In a thread the script's own statement is not on the stack: only the worker can tell."""
    script.write_text(
        "import multiprocessing\nfrom splitleak.main_guard import need_main_guard\nfrom splitleak import BadInput\n"
        "try:\n    if __name__ == '__mp_main__':\n        need_main_guard(2)\n"
        "except BadInput:\n    print('refused', flush=True)\n"
        "if __name__ == '__main__':\n    child = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    child.start()\n    child.join()\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=script.parent, text=True, capture_output=True)
    assert "refused" in done.stdout
