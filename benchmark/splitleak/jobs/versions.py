"""The versions that a number was made with."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy
import torch

from splitleak import __version__


@cache
def versions() -> dict[str, str]:
    """Packages, machine, and the commit of the source tree if it is one."""
    folder = Path(__file__).resolve().parent
    commit = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "splitleak": __version__,
        "commit": commit.stdout.strip(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
    }
