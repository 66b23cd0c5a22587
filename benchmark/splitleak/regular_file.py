"""Regular files only: a pipe would block, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}


def require_regular(path: Path) -> None:
    """OSError if there is no such file, or if it is a directory, a FIFO, a socket or a device."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "a device")
        raise OSError(errno.EINVAL, f"is {kind}, must be a regular file", str(path))
