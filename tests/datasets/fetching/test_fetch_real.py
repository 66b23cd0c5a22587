"""The files built from the real records are the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading import mitbih_beats, raw_files
from splitleak.datasets.reading.checksums import read_checksums
from splitleak.datasets.reading.locate import find_file

from .raw_records import BUILT, content


def real(name: str) -> Path | None:
    try:
        return find_file("ecg", name)
    except FilesMissing:
        return None


ARCHIVE, HEADER, GIVEN = real("mitdb48.txz"), real("mitdb/100.hea"), real(BUILT[0])


@pytest.mark.skipif(HEADER is None, reason="no raw records of MIT-BIH: set SPLITLEAK_DATA to their folder")
def test_real_records_have_their_published_checksums_and_the_missing_are_named() -> None:
    assert HEADER is not None
    there = {f.name for f in HEADER.parent.iterdir()}
    sums = {name: digest for name, digest in read_checksums(mitbih_beats.CHECKSUMS).items() if name in there}
    assert "100.dat" in sums
    assert raw_files.gather(sums, str(HEADER.parent), Path("unused"), print) == HEADER.parent
    with pytest.raises(BadInput, match=r"missing 101\.\*, 102\.\*"):
        raw_files.gather(read_checksums(mitbih_beats.CHECKSUMS), str(HEADER.parent), Path("unused"), print)


@pytest.mark.slow
@pytest.mark.skipif(not (ARCHIVE and GIVEN), reason="no MIT-BIH: set SPLITLEAK_DATA to its folder")
def test_real_records_give_the_published_set_row_by_row(main: Callable[..., Any], tmp_path: Path) -> None:
    assert ARCHIVE is not None
    assert GIVEN is not None
    ran = main("fetch", "mitbih", "--from", str(ARCHIVE), "--out", str(tmp_path))
    assert ran.status == 0
    assert "96049 beats of 43 records" in ran.out
    given, built = content(GIVEN.parent), content(tmp_path)
    for part in ("train", "test"):
        np.testing.assert_allclose(built[f"x_{part}"], given[f"x_{part}"], rtol=0, atol=1e-5)
        for key in ("y", "record", "rpeak"):
            assert np.array_equal(built[f"{key}_{part}"], given[f"{key}_{part}"])
