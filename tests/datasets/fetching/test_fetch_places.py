"""Where the built files go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitleak.datasets.reading import fetch


def test_files_go_where_the_dataset_looks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPLITLEAK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert fetch.writable_folder("ecg") == tmp_path / "cache" / "splitleak" / "ecg"
    (tmp_path / "data").mkdir()
    assert fetch.writable_folder("ecg") == tmp_path / "data" / "ecg"
    monkeypatch.setenv("SPLITLEAK_DATA", str(tmp_path / "mine"))
    assert fetch.writable_folder("ecg") == tmp_path / "mine" / "ecg"
    monkeypatch.setattr(os, "access", lambda path, mode: "mine" not in str(path))
    (tmp_path / "mine").mkdir()
    assert fetch.writable_folder("ecg") == tmp_path / "data" / "ecg"
