"""Small raw records as the database writes them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import wfdb

BUILT = ("train_ecg.hdf5", "test_ecg.hdf5")


# (sample, symbol, kept): what is beside a record's beats, and why a beat is not kept
MARKS = [
    (30, "+", False),
    (150, "N", False),  # its neighbour is the first annotation, which counts for nothing
    (400, "N", True), (500, "L", True),  # exactly 100 apart
    (700, "R", True), (900, "A", True), (1100, "V", True),
    (1300, "N", False), (1399, "V", False),  # 99 apart
    (1600, "/", False),  # a paced beat is none of the five
    (1800, "L", True),
    (2000, "A", False), (2060, "~", False),  # any annotation is a neighbour, noise too
    (2300, "V", True), (2500, "R", True), (2700, "A", True),
    (2900, "N", False), (3200, "N", False),  # beside the last, and the last
]  # fmt: skip


def write_record(folder: Path, record: int) -> np.ndarray:
    """A noisy WFDB record with MARKS; its channel 0 in the recorder's units."""
    rng = np.random.default_rng(record)
    wave = rng.integers(600, 1400, (3600, 2))
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        str(record), fs=360, units=["mV"] * 2, sig_name=["MLII", "V1"], d_signal=wave, fmt=["212"] * 2,
        adc_gain=[200, 200], baseline=[1024, 1024], write_dir=str(folder),
    )  # fmt: skip
    at, symbols, _ = zip(*MARKS, strict=True)
    wfdb.wrann(str(record), "atr", np.array(at), list(symbols), write_dir=str(folder))
    return wave[:, 0]


def published(file: Path) -> bytes:
    content = file.read_bytes()
    return content.replace(b"\n", b"\r\n") if file.suffix == ".hea" else content


def content(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in BUILT:
        with h5py.File(folder / name) as file:
            found |= {key: file[key][()] for key in file}
    return found


def same(one: Path, other: Path) -> bool:
    a, b = content(one), content(other)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def nothing_built(folder: Path) -> bool:
    return not any((folder / name).exists() for name in BUILT)


def pack(raw: Path, kind: str, **more: bytes) -> Path:
    """An archive of the records, in a folder of it, with other things beside them."""
    files = {f"mitdb-1.0.0/{f.name}": f.read_bytes() for f in sorted(raw.iterdir())}
    files |= {"mitdb-1.0.0/notes.txt": b"read me"} | {f"mitdb-1.0.0/{k.replace('_', '.')}": v for k, v in more.items()}
    archive = raw.parent / f"records.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name, data in files.items():
                opened.writestr(name, data)
    else:
        with tarfile.open(archive, "w:xz" if kind == "txz" else "w") as opened:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                opened.addfile(member, io.BytesIO(data))
    return archive
