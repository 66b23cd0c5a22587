"""Published sha256 checksums of raw database files, and the comparison of a file with its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

Checksums = dict[str, str]  # name of a file: its sha256
MAX_BYTES = 2**24  # no raw file comes near it, and nothing longer is read into memory


def read_checksums(file: Path) -> Checksums:
    """A list in the format of sha256sum; lines that begin with # are comments."""
    lines = (line.split() for line in file.read_text().splitlines() if not line.startswith("#"))
    return {name: digest for digest, name in lines}


def mismatch(name: str, content: bytes, digest: str) -> str:
    """How a file differs from the published one; '' if it is the same. Headers (.hea) may have either line end."""
    if name.endswith(".hea"):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    actual = hashlib.sha256(content).hexdigest()
    size = f"{len(content)} bytes" if len(content) <= MAX_BYTES else f"more than {MAX_BYTES} bytes"
    return "" if actual == digest else f"sha256 {actual[:12]}... of {size}, published is {digest[:12]}..."
