"""What a hijack does to the network is a number of its own: the utility is that of the victim nobody tampered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., list[dict[str, Any]]]


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, {"n": 2, "mode": "parallel"}])
def test_a_hijack_does_not_count_for_the_utility(run: Run, clients: Any) -> None:
    train = {"epochs": 20, "batch_size": 12}
    records = run(attack=["blind", {"name": "toy_hijack", "steps": 60}], clients=clients, train=train)
    honest, hijacked = sorted(records, key=lambda record: "toy_hijack" in record["labels"]["attack"])
    assert hijacked["cell"]["tampers"]
    assert hijacked["utility"] == honest["utility"]
    assert hijacked["utility_attacked"] != hijacked["utility"]
    assert "utility_attacked" not in honest
