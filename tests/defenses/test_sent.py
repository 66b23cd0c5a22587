"""What crosses is what the defence made of it: labels, the server's gradient, in a u-shape that of the features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.contract import Hooks, View
from splitleak.score.attempt import Attempt
from splitleak.train.loop import exchange

Toy = Callable[..., Any]


class Seven(Hooks):
    """Replaces every gradient, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, Tensor]] = []

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        self.given.append((g, y))
        return torch.full_like(g, 7.0)


class Exchanged(Hooks):
    """Swaps the records of a batch for zeros, and every label for 2."""

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), torch.full_like(y, 2)


def test_labels_and_records_are_sent_as_the_defence_changed_them(toy: Toy) -> None:
    data, model = toy("dataset", "toy_flat").load(), toy("model", "toy_chain", norm=False)
    x, y = data.private.x[:8], data.private.y[:8]
    split = model.split(data.in_shape, data.task, 2, "vanilla")
    done = exchange(split, Exchanged(), data.task, x, y)
    assert (done.wire["labels"] == 2).all()
    assert torch.equal(done.wire["smashed"], split.bottom(torch.zeros_like(x))[0])
    assert float(done.loss) == float(data.task.loss(split.top(done.wire["smashed"].clone()), torch.full_like(y, 2)))


def test_the_servers_gradient_is_sent_as_the_defence_changed_it(toy: Toy) -> None:
    data, model = toy("dataset", "toy_flat").load(), toy("model", "toy_chain", norm=False)
    x, y, live = data.private.x[:8], data.private.y[:8], Seven()
    split = model.split(data.in_shape, data.task, 2, "vanilla")
    done = exchange(split, live, data.task, x, y)
    assert (done.wire["gradient"] == 7).all()
    ((g, labels),) = live.given
    assert g.shape == done.wire["smashed"].shape
    assert torch.equal(labels, y)


def test_the_gradient_of_the_features_is_sent_as_the_defence_changed_it(toy: Toy) -> None:
    data, model = toy("dataset", "toy_flat").load(), toy("model", "toy_chain", norm=False)
    x, y, live = data.private.x[:8], data.private.y[:8], Seven()
    split = model.split(data.in_shape, data.task, 2, "u_shape")
    done = exchange(split, live, data.task, x, y)
    assert (done.wire["gradient_features"] == 7).all()
    ((g, labels),) = live.given  # once: the client is the owner, and the server's own gradient is not changed again
    assert g.shape == done.wire["features"].shape
    assert torch.equal(labels, y)
    z = done.wire["smashed"].requires_grad_()
    (expected,) = torch.autograd.grad(split.top(z.clone()), z, torch.full_like(g, 7.0))
    assert torch.equal(done.wire["gradient"], expected)  # the server goes on from what it was sent


@pytest.mark.parametrize(("protocol", "name"), [("vanilla", "gradient"), ("u_shape", "gradient_features")])
def test_an_attack_sees_no_undefended_gradient(attempt: Callable[..., Attempt], protocol: str, name: str) -> None:
    """`toy_static` sends noise of deviation one; an honest gradient of so small a network is far below that."""
    seen: list[float] = []

    def look(view: View) -> None:
        seen.extend(float(getattr(step, name).std()) for step in view.steps)
        seen.append(float(getattr(view, name).std()))

    attempt(look, "GRADIENT|STEPS", protocol=protocol)
    assert len(seen) == 2 * 5 + 1  # every step, and the release
    assert max(seen) < 0.5
    seen.clear()
    attempt(look, "GRADIENT|STEPS", protocol=protocol, defense="toy_static")
    assert all(0.6 < deviation < 1.4 for deviation in seen)
