"""How many steps a second a training makes across two processes with TLS on loopback, and how many in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from splitleak.train.data import load_data
from splitleak.train.fit import Fit
from splitleak.train.victim import fresh
from splitleak.wire.agree import one_victim
from splitleak.wire.papers import Authority

MATRIX = """\
[matrix]
dataset = [{ name = "ecg_synthetic", n = 16000 }]
model = ["ecg_cnn"]
cut = [2]
[train]
epochs = 3
"""  # 300 batches of 32 an epoch


def rates(folder: Path) -> tuple[float, float]:
    """(across, in one process), one after the other."""
    folder.mkdir(parents=True)
    matrix = folder / "wire.toml"
    matrix.write_text(MATRIX)
    case = one_victim(str(matrix), ())
    learned = Fit(fresh(case, load_data(case, torch.device("cpu")))).run()
    return across(folder, matrix), learned.steps / learned.seconds_train


def across(folder: Path, matrix: Path) -> float:
    """From the client's first batch to its last, its own and the server's files after each epoch among it."""
    authority = Authority(folder / "papers")
    given = ["serve", str(matrix), "--listen", "127.0.0.1:0", "--out", str(folder / "s"), *authority.sign("server")]
    quiet: dict[str, Any] = {"env": one_thread(), "text": True, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(command(given), stderr=subprocess.PIPE, **quiet) as server:
        if server.stderr is None:
            raise RuntimeError("the server has no stderr")
        address = server.stderr.readline().partition("listening on ")[2].split()[0]
        given = ["join", str(matrix), "--client", "0", "--server", address, "--out", str(folder / "c")]
        subprocess.run(command([*given, *authority.sign("client")]), check=True, stderr=subprocess.DEVNULL, **quiet)
    (path,) = (folder / "c/wire").glob("*.client0.json")
    record = json.loads(path.read_text())
    return float(record["steps"] / record["seconds_train"])


def command(args: list[str]) -> list[str]:
    return [sys.executable, "-c", "from splitleak.cli import main; main()", *args]


def one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}
