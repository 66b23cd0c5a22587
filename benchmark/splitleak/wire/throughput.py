"""Training steps per second across two processes with TLS on loopback, and in one process."""

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
from splitleak.wire.authority import Authority
from splitleak.wire.single_victim import single_victim

MATRIX = """\
[matrix]
dataset = [{ name = "ecg_synthetic", n = 16000 }]
model = ["ecg_cnn"]
cut = [2]
[train]
epochs = 3
"""  # 300 batches of 32 in each epoch


def steps_per_second(folder: Path) -> tuple[float, float]:
    """(across two processes, in one process), measured one after the other."""
    folder.mkdir(parents=True)
    matrix = folder / "wire.toml"
    matrix.write_text(MATRIX)
    case = single_victim(str(matrix), ())
    learned = Fit(fresh(case, load_data(case, torch.device("cpu")))).run()
    return across_processes(folder, matrix), learned.steps / learned.seconds_train


def across_processes(folder: Path, matrix: Path) -> float:
    """From the client's first batch to its last, including the files that both ends write after each epoch."""
    authority = Authority(folder / "certificates")
    serve = ["serve", str(matrix), "--listen", "127.0.0.1:0", "--out", str(folder / "s"), *authority.sign("server")]
    quiet: dict[str, Any] = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "text": True, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(_command(serve), stderr=subprocess.PIPE, **quiet) as server:
        if server.stderr is None:
            raise RuntimeError("the server has no stderr")
        address = server.stderr.readline().partition("listening on ")[2].split()[0]
        join = ["join", str(matrix), "--client", "0", "--server", address, "--out", str(folder / "c")]
        subprocess.run(_command([*join, *authority.sign("client0")]), check=True, stderr=subprocess.DEVNULL, **quiet)
    (path,) = (folder / "c/wire").glob("*.client0.json")
    record = json.loads(path.read_text())
    return float(record["steps"] / record["seconds_train"])


def _command(args: list[str]) -> list[str]:
    return [sys.executable, "-m", "splitleak", *args]
