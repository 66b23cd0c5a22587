"""NoPeek lowers the distance correlation, computed by hand here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from splitleak.defenses.nopeek import NoPeek, distance_correlation

from .feature_defenses import network, steps

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


def by_hand(x: Tensor, z: Tensor) -> float:
    """Székely, Rizzo, Bakirov 2007, definitions 2 and 3."""
    centred = []
    for t in (x, z):
        flat = t.double().flatten(1).numpy()
        d = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(2))
        centred.append(d - d.mean(0) - d.mean(1)[:, None] + d.mean())
    a, b = centred
    return float(np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())))


@pytest.mark.parametrize("shapes", [((1, 20), (4, 5)), ((3, 4, 4), (7,)), ((6,), (2, 3, 3))], ids=str)
def test_nopeek_penalises_the_distance_correlation_as_it_is_defined(shapes: tuple[tuple[int, ...], ...]) -> None:
    x, z = (torch.randn(12, *shape) for shape in shapes)
    got = NoPeek(2.5).penalty(x, z, z, torch.zeros(12))
    assert float(got) == pytest.approx(2.5 * by_hand(x, z), rel=1e-5)


def test_distance_correlation_is_one_of_a_copy_and_has_no_scale() -> None:
    x = torch.rand(20, 3, 4)
    assert float(distance_correlation(x, 3 - 1e-4 * x)) == pytest.approx(1, abs=1e-4)
    assert float(distance_correlation(x, 1e4 * x.flatten(1))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("case", ["equal records", "equal activations", "all activations equal", "one record", "two"])
def test_nopeeks_gradient_is_finite_where_distances_are_zero(case: str) -> None:
    x, z = torch.rand(1 if case == "one record" else 2 if case == "two" else 8, 1, 6), torch.rand(8, 4)
    z = z[: len(x)]
    if case == "equal records":
        x[1:4] = x[0]
    if case == "equal activations":
        z[1:4] = z[0]
    if case == "all activations equal":
        z[:] = 1
    z.requires_grad_()
    loss = NoPeek().penalty(x, z, z, torch.zeros(8))
    (g,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert g.isfinite().all()


def test_training_under_nopeek_makes_z_less_like_x_and_sends_z_itself() -> None:
    found = []
    for weight in (0, 0.3, 3):
        split, records, task = network(n=256)
        defense = NoPeek(weight)
        pairs = steps(split, records, task, defense.begin(split, 0), batch=32, epochs=15)
        assert all(torch.equal(z, sent) for z, sent in pairs)
        with torch.no_grad():
            found.append(by_hand(records.x, split.eval().bottom(records.x)[0]))
    assert found == sorted(found, reverse=True)
    assert found[2] < 0.7 * found[0]
