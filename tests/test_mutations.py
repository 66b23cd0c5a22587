"""The table of `make mutation-test` fits the code of today: each text is there once, and so is each test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from .long.mutations import CHECKOUT, PLANTED, Mistake


@pytest.mark.parametrize("mistake", PLANTED, ids=[mistake.promise.replace(" ", "-") for mistake in PLANTED])
def test_a_mistake_can_be_planted_and_its_tests_are_there(mistake: Mistake) -> None:
    assert mistake.times(CHECKOUT) == 1, f"stale: '{mistake.before}' in {mistake.path}"
    assert mistake.before != mistake.after
    assert mistake.named
    for name in mistake.named:
        file, _, test = name.partition("::")
        whole = (CHECKOUT / file).read_text()
        assert not test or f"def {test.partition('[')[0]}(" in whole, name


def test_the_table_has_a_mistake_for_each_promise_and_no_promise_twice() -> None:
    assert len(PLANTED) >= 25
    assert [promise for promise, n in Counter(mistake.promise for mistake in PLANTED).items() if n > 1] == []
    assert Path(__file__).parents[1] == CHECKOUT
