"""The noise that a defence promises is the noise that is sent."""

from __future__ import annotations

import json
from math import erfc, exp, sqrt

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from splitleak.contract import Defense, Exposure
from splitleak.defenses.gaussian import Gaussian
from splitleak.defenses.laplace_range import LaplaceRange
from splitleak.defenses.none import NoDefense

NOISY: list[Defense] = [LaplaceRange(), Gaussian()]
SHAPES = [(64, 16, 32), (64, 3, 8, 8), (64, 10)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def delta_of(multiplier: float, epsilon: float) -> float:
    """Balle & Wang 2018, eq. 6: delta of a Gaussian release, sigma = multiplier * sensitivity."""

    def phi(x: float) -> float:
        return erfc(-x / sqrt(2)) / 2

    return phi(0.5 / multiplier - epsilon * multiplier) - exp(epsilon) * phi(-0.5 / multiplier - epsilon * multiplier)


def test_no_defence_sends_what_it_is_given_and_claims_nothing() -> None:
    z = torch.randn(4, 3)
    assert NoDefense().smash(z) is z
    assert NoDefense().privacy(Exposure(10)) is None
    assert str(NoDefense()) == "none"


@pytest.mark.parametrize("defense", NOISY, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_element_is_noised_and_anew_each_time(defense: Defense, shape: tuple[int, ...]) -> None:
    z = torch.randn(shape)
    sent, again = defense.smash(z), defense.smash(z)
    assert sent.shape == z.shape
    assert (sent != z).all()
    assert (sent != again).all()
    assert torch.equal(z, torch.randn(shape, generator=torch.Generator().manual_seed(0)))  # z itself is untouched


@pytest.mark.parametrize("defense", NOISY, ids=str)
def test_the_same_random_state_gives_the_same_noise(defense: Defense) -> None:
    z = torch.randn(8, 5)
    torch.manual_seed(1)
    first = defense.smash(z)
    torch.manual_seed(1)
    assert torch.equal(first, defense.smash(z))


@pytest.mark.parametrize("cls", [LaplaceRange, Gaussian])
def test_a_larger_epsilon_is_less_noise(cls: type[LaplaceRange] | type[Gaussian]) -> None:
    z = 0.01 * torch.randn(64, 50)  # below every clip
    noise = [float((cls(epsilon=e).smash(z) - z).abs().mean()) for e in (0.5, 1, 5, 10, 100)]
    assert noise == sorted(noise, reverse=True)


@pytest.mark.parametrize("epsilon", [1, 5, 10])
def test_laplace_noise_has_the_published_scale_for_each_element(epsilon: float) -> None:
    z = torch.rand(500, 3, 4) * torch.arange(1, 13).reshape(3, 4)
    scale = (z.amax(0) - z.amin(0)) / epsilon
    noise = torch.cat([LaplaceRange(epsilon).smash(z) - z for _ in range(40)])  # (20000, 3, 4)
    torch.testing.assert_close(noise.abs().mean(0), scale, rtol=0.04, atol=0)  # mean absolute deviation: b
    torch.testing.assert_close(noise.std(0), sqrt(2) * scale, rtol=0.05, atol=0)
    assert float(noise.div(scale).mean().abs()) < 0.02
    assert float((noise.abs() > 3 * scale).float().mean()) == pytest.approx(exp(-3), rel=0.05)  # Laplace's tail


def test_laplace_noise_of_a_batch_of_one_is_the_least_published_one() -> None:
    z = torch.randn(1, 10_000)
    assert float((LaplaceRange(1).smash(z) - z).abs().mean()) == pytest.approx(1e-5, rel=0.05)


def test_the_gradient_passes_straight_through_laplace_noise() -> None:
    z = torch.randn(16, 5, requires_grad=True)
    weight = torch.randn(16, 5)
    (got,) = torch.autograd.grad((LaplaceRange().smash(z) * weight).sum(), z)
    assert torch.equal(got, weight)


def test_laplace_range_claims_no_privacy() -> None:
    assert LaplaceRange().privacy(Exposure(1)) is None


def without_noise(defense: Gaussian, z: Tensor) -> Tensor:
    """What `smash` sends less its noise, from the same random state."""
    torch.manual_seed(3)
    sent = defense.smash(z)
    torch.manual_seed(3)
    return sent - defense.sigma * torch.randn_like(z)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gaussian_clips_each_record_and_leaves_the_smaller_ones(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape)
    z[: len(z) // 2] *= 100
    z[-1] = 0
    defense = Gaussian(epsilon=1000, clip=0.5 + float(z[len(z) // 2 :].flatten(1).norm(dim=1).max()))
    clipped = without_noise(defense, z)
    norms = clipped.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms[: len(z) // 2], torch.full_like(norms[: len(z) // 2], defense.clip))
    torch.testing.assert_close(clipped[len(z) // 2 :], z[len(z) // 2 :], rtol=0, atol=1e-5)


def test_gaussian_gradients_pass_through_the_clipping_and_are_finite_at_zero() -> None:
    z = torch.stack([torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4]), torch.zeros(2)]).requires_grad_()
    sent = Gaussian(epsilon=1000, clip=1).smash(z)
    (got,) = torch.autograd.grad(sent[:, 0].sum(), z)
    along = torch.tensor([16.0, -12.0]) / 125  # d (x / |x|) / dx of (3, 4), first component
    torch.testing.assert_close(got, torch.stack([along, torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]))


@pytest.mark.parametrize("epsilon", [1, 10, 100])
def test_gaussian_noise_has_the_calibrated_deviation(epsilon: float) -> None:
    defense, z = Gaussian(epsilon, clip=2), torch.zeros(100, 1000)
    noise = defense.smash(z)
    assert float(noise.std()) == pytest.approx(defense.sigma, rel=0.02)
    assert abs(float(noise.mean())) < 0.02 * defense.sigma
    assert float((noise.abs() > 2 * defense.sigma).float().mean()) == pytest.approx(erfc(sqrt(2)), rel=0.05)


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("epsilon", [0.1, 1, 10, 100, 600])
def test_one_release_meets_its_epsilon_and_delta_with_nothing_to_spare(epsilon: float, delta: float) -> None:
    defense = Gaussian(epsilon, clip=3, delta=delta)
    multiplier = defense.sigma / (2 * defense.clip)  # two clipped activations lie 2 * clip apart
    assert delta_of(multiplier, epsilon) == pytest.approx(delta, rel=0.001)
    assert delta_of(0.99 * multiplier, epsilon) > delta
    claimed = defense.privacy(Exposure(0))
    assert claimed.epsilon == pytest.approx(epsilon)
    assert (claimed.delta, claimed.epsilon_one) == (delta, epsilon)


@pytest.mark.parametrize(("epsilon", "releases"), [(1, 1), (1, 21), (0.1, 400), (5, 21)])
def test_the_composed_epsilon_is_dp_accountings_own(epsilon: float, releases: int) -> None:
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    defense = Gaussian(epsilon, clip=7)
    once = from_gaussian_mechanism(defense.sigma, sensitivity=2 * defense.clip, value_discretization_interval=1e-3)
    theirs = once.self_compose(releases).get_epsilon_for_delta(defense.delta)
    assert defense.privacy(Exposure(releases - 1)).epsilon == pytest.approx(theirs, rel=0.01)


def test_epsilon_grows_with_the_releases_but_slower_than_their_number() -> None:
    epsilons = [Gaussian(0.1).privacy(Exposure(k, released=False)).epsilon for k in (0, 1, 2, 10, 100)]
    assert epsilons[0] == 0
    assert epsilons == sorted(set(epsilons))
    assert epsilons[-1] < 100 * 0.1


def made(cls: type[Defense], **given: object) -> Defense:
    """From a matrix's parameters; in Python mode strict validation takes nothing but an instance."""
    return TypeAdapter(cls).validate_json(json.dumps(given))


@pytest.mark.parametrize("bad", [0, -1, float("inf"), float("nan"), "5", True])
@pytest.mark.parametrize("cls", [LaplaceRange, Gaussian])
def test_an_impossible_epsilon_is_refused(cls: type[Defense], bad: object) -> None:
    with pytest.raises(ValidationError, match="epsilon"):
        made(cls, epsilon=bad)


@pytest.mark.parametrize(
    ("cls", "given", "shown"),
    [
        (LaplaceRange, {"epsilon": 5}, "laplace_range(epsilon=5)"),
        (Gaussian, {"epsilon": 1, "clip": 4}, "gaussian(epsilon=1, clip=4, delta=1e-05)"),
        (NoDefense, {}, "none"),
    ],
)
def test_defences_read_integers_print_as_written_and_can_be_keys(
    cls: type[Defense], given: dict[str, object], shown: str
) -> None:
    assert str(made(cls, **given)) == shown
    assert len({made(cls, **given), made(cls, **given)}) == 1
