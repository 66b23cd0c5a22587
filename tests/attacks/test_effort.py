"""An attack does a quarter of its steps where a record has 4096 values and more, and never none."""

from __future__ import annotations

import pytest

from splitleak.pieces import affordable


@pytest.mark.parametrize(
    ("count", "shape", "done"),
    [(3000, (1, 128), 3000), (3000, (1, 64, 64), 750), (4, (3, 64, 64), 1), (1, (4096,), 1), (4, (4095,), 4)],
)
def test_large_records_get_a_quarter(count: int, shape: tuple[int, ...], done: int) -> None:
    assert affordable(count, shape) == done
