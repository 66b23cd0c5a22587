"""The search for the most probable record: what it learns of a defence, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.contract import BadInput
from splitleak.pieces import DecoderLearner, learned_channel
from splitleak.pieces.gaussian_prior import fit_prior
from splitleak.pieces.latent_prior import fit_latent_prior
from splitleak.pieces.learned_channel import LearnedChannel, learn_channel
from splitleak.pieces.local_prior import NEIGHBOURS, fit_local, refined, search_on
from splitleak.pieces.map_estimate import Knowledge, MapEstimate, learn
from splitleak.plan import plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from ..conftest import TOYS

Stage = Callable[..., Scene]
OPEN = {"name": "toy_chain", "identity": True}  # a client that changes nothing, cut behind it
FLAT = {"dataset": {"name": "toy_flat", "n": 304}, "model": OPEN, "cut": 1, "train": {"epochs": 1}}
SIGNALS = {"dataset": {"name": "toy_signals", "n": 256}, "model": "ecg_cnn", "train": {"epochs": 2}}
FAST = {"learn": 40, "width": 8}
BOTH = [{"name": name} | FAST for name in ("map_search", "oracle", "prior_search")]
NAMES = [attack["name"] for attack in BOTH]


def advantage(scene: Scene, null: bool = False) -> float:
    return float(scene.question.score(Attempt(scene, null).run()[0])["advantage"])


@pytest.mark.slow
@pytest.mark.parametrize("attack", BOTH, ids=NAMES)
def test_a_client_that_changes_nothing_leaks_everything(stage: Stage, attack: dict[str, Any]) -> None:
    assert advantage(stage(attack=attack, **FLAT, evaluate={"targets": 50})) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "toy_static"])
@pytest.mark.parametrize("attack", BOTH, ids=NAMES)
def test_noise_tells_nothing(stage: Stage, attack: dict[str, Any], defense: str) -> None:
    scene = stage(attack=attack | {"steps": 60}, **SIGNALS, defense=defense, evaluate={"targets": 100})
    assert advantage(scene, null=defense == "none") <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("attack", [BOTH[0], BOTH[2]], ids=["map_search", "prior_search"])
def test_missing_elements_are_not_elements_of_value_0(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, attack: dict[str, Any]
) -> None:
    given = {"attack": attack, "defense": {"name": "dropout", "rate": 0.6}, "evaluate": {"targets": 100}} | SIGNALS
    aware = advantage(stage(**given))
    monkeypatch.setattr(learned_channel, "meaning_of_zero", lambda z, y: "none")
    assert aware > 0.7
    assert advantage(stage(**given)) < aware - 0.1


@pytest.mark.slow
def test_noise_that_is_one_of_a_few_tensors_hides_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"attack": BOTH[0], "defense": "shredder", "evaluate": {"targets": 100}} | SIGNALS
    aware = advantage(stage(**given))
    monkeypatch.setattr(learned_channel, "few_different", lambda vectors, tolerance: None)
    assert aware > 0.8
    assert 1 - advantage(stage(**given)) > 1.3 * (1 - aware)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["toy_images", {"name": "toy_flat", "task": "value"}], ids=["masks", "values"])
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("name", NAMES)
def test_other_tasks_and_a_u_shape_are_attacked_alike(stage: Stage, dataset: Any, protocol: str, name: str) -> None:
    attack = {"name": name, "steps": 5, "learn": 8, "width": 8}
    scene = stage(attack=attack, dataset=dataset, protocol=protocol, cut=2, evaluate={"targets": 20})
    assert Attempt(scene).run()[0].shape == scene.targets.x.shape


def test_a_search_that_needs_two_parts_of_the_auxiliary_records_says_so(stage: Stage) -> None:
    attempt = Attempt(stage(attack=BOTH[2], **FLAT))
    view = SimpleNamespace(aux=attempt.view.aux[:2])
    with pytest.raises(BadInput, match="attack 'prior_search': it needs three auxiliary records"):
        attempt.scene.attack.run(view)  # type: ignore[arg-type]


def knowledge(stage: Stage, latents: int) -> tuple[Knowledge, MapEstimate]:
    view = Attempt(stage(attack=BOTH[2], **FLAT)).view
    aux = view.aux
    learner = DecoderLearner(10, batch=32, lr=3e-3, width=8, dense=16, checks=1)
    known = learn(view, aux[50:], aux[:50], learner)
    return known, known.latents(latents, steps=40, lr=0.2, drawn=3, trial=5)


def test_what_a_generator_cannot_make_is_noise_of_the_message(stage: Stage) -> None:
    known, small = knowledge(stage, latents=2)
    left = known.held - small.prior.records(small.prior.coordinates(known.held))
    noise = (
        small.channel.variance - known.channel.variance
    )  # the client changes nothing: of the message as of the record
    torch.testing.assert_close(noise, left.square().mean(0) * 1.0 + 0.01 * left.square().mean(), rtol=1e-3, atol=1e-6)
    whole = knowledge(stage, latents=6)[1]
    assert float(whole.channel.variance.max()) < 1e-3 * float(small.channel.variance.max())


def test_of_all_starts_the_one_of_least_loss_counts(stage: Stage) -> None:
    known, search = knowledge(stage, latents=6)
    far = known.held + 10.0  # a useless decoder: the mean record and drawn ones are starts too
    error = (search.search(far, known.bottom(known.held), 1.0) - known.held).square().mean()
    assert float(error) < 0.05 * float(known.held.var(0).mean())


@pytest.mark.slow
def test_the_oracle_searches_with_the_generator_too_where_records_are_images(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    latents = Knowledge.latents

    def seen(self: Knowledge, number: int, *given: Any, **named: Any) -> MapEstimate:
        asked.append(number)
        return latents(self, number, *given, **named)

    monkeypatch.setattr(Knowledge, "latents", seen)
    short = BOTH[1] | {"steps": 2, "learn": 4}
    for dataset, wanted in (("toy_flat", []), ("toy_images", [256])):
        Attempt(stage(attack=short, dataset=dataset, cut=2, evaluate={"targets": 10})).run()
        assert asked == wanted


def test_the_oracle_needs_records_to_learn_from(stage: Stage) -> None:
    scene = stage(attack="oracle", threat="oracle", aux="none", model=OPEN, cut=1)  # all private records are targets
    with pytest.raises(BadInput, match="attack 'oracle': no private records beside the targets"):
        Attempt(scene).run()


def learned(name: str, **given: Any) -> tuple[LearnedChannel, Tensor, Tensor]:
    torch.manual_seed(1)
    z, defense = torch.randn(512, 4, 8), plugins.make("defense", {"name": name} | given, TOYS)
    y = defense.smash(z)  # type: ignore[attr-defined]
    return learn_channel(z, y, defense.smash), z, y  # type: ignore[attr-defined]


def test_left_out_elements_are_unbounded_and_the_others_are_scaled() -> None:
    channel, z, y = learned("dropout", rate=0.5)
    assert channel.missing == "random"
    assert channel.gain == pytest.approx(2, rel=1e-4)
    low, high = channel.bounds(y)
    assert torch.equal(low.isinf() & high.isinf(), y == 0)
    assert float(channel.misfit(z, y).max()) < 0.01


def test_an_element_that_was_too_small_to_be_sent_is_small() -> None:
    channel, z, y = learned("top_k", keep=0.25)
    assert (channel.missing, channel.gain) == ("smallest", 1.0)
    assert float(channel.misfit(z, y).max()) < 0.01
    assert float(channel.misfit(3 * z, y).min()) > 1  # then the elements that were not sent would have been


def test_a_rounded_element_lies_in_its_interval() -> None:
    channel, z, y = learned("quantize", bits=2)
    assert channel.cells is not None
    assert len(channel.cells[0]) == 4
    low, high = channel.bounds(y)
    assert float(((z >= low - 0.01) & (z <= high + 0.01)).double().mean()) > 0.999


def test_added_noise_is_known_by_its_variance_and_its_tails() -> None:
    laplace = learned("laplace_range", epsilon=5)[0]
    gaussian = learned("gaussian", epsilon=100.0, clip=100.0)[0]
    assert (laplace.gain, laplace.heavy, len(laplace.shifts)) == (1.0, True, 1)
    assert (gaussian.gain, gaussian.heavy) == (1.0, False)
    sigma = plugins.make("defense", {"name": "gaussian", "epsilon": 100.0, "clip": 100.0}, TOYS).sigma  # type: ignore[attr-defined]
    assert float(gaussian.variance.mean()) == pytest.approx(sigma**2, rel=0.05)


def test_where_the_algorithm_explains_more_than_a_gain_it_is_followed() -> None:
    torch.manual_seed(1)
    z = torch.randn(512, 4, 8) * torch.rand(512, 1, 1) * 10
    defense = plugins.make("defense", {"name": "gaussian", "epsilon": 1000.0, "clip": 1.0}, TOYS)
    y = defense.smash(z)  # type: ignore[attr-defined]
    assert learn_channel(z, y, defense.smash).smash is not None  # type: ignore[attr-defined]
    assert learn_channel(z, z.clone(), lambda z: z).smash is None


def test_replies_that_have_nothing_to_do_with_the_output_leave_the_prior_alone() -> None:
    torch.manual_seed(1)
    channel = learn_channel(torch.randn(512, 4, 8), torch.randn(512, 4, 8), lambda z: z)
    assert channel.gain == 0


def test_a_prior_has_the_mean_and_the_covariance_of_its_records() -> None:
    torch.manual_seed(1)
    x = torch.randn(4000, 1, 6) @ torch.randn(6, 6) + 2
    prior = fit_prior(x)
    torch.testing.assert_close(prior.coordinates(prior.records(x.flatten(1))), x.flatten(1), rtol=1e-3, atol=1e-3)
    drawn = prior.records(torch.randn(20000, 6)).flatten(1)
    torch.testing.assert_close(drawn.T.cov(), x.flatten(1).T.cov(), rtol=0.1, atol=0.2)
    few = fit_prior(x[:30])  # 3 components, one deviation for the other directions
    assert few.axes.shape == (6, 3)
    torch.testing.assert_close(few.coordinates(few.records(x.flatten(1))), x.flatten(1), rtol=1e-3, atol=1e-3)


def test_a_small_generator_makes_records_like_those_that_it_learned_from() -> None:
    torch.manual_seed(1)
    x = (torch.randn(500, 2) @ torch.randn(2, 12) + 0.01 * torch.randn(500, 12)).view(500, 1, 3, 4) + 2
    prior = fit_latent_prior(x[:400], 2)
    torch.testing.assert_close(prior.records(prior.coordinates(x[400:])), x[400:], rtol=0, atol=0.06)
    drawn = prior.records(torch.randn(20000, 2)).flatten(1)
    torch.testing.assert_close(drawn.T.cov(), x.flatten(1).T.cov(), rtol=0.1, atol=0.3)
    torch.testing.assert_close(prior.coordinates(prior.mean[None]), torch.zeros(1, 2))
    assert fit_latent_prior(x[:5], 64).axes.shape == (4, 12)  # five records span four directions


def test_a_local_prior_is_the_gaussian_of_the_nearest_records() -> None:
    torch.manual_seed(1)
    crowds = torch.tensor([[-8.0], [8.0]]).repeat(1, 6)  # two kinds of records, far apart
    x = (crowds[torch.arange(400) % 2] + torch.randn(400, 6) * 0.1).view(400, 1, 6)
    common = fit_prior(x)
    local = fit_local(common, x, x[:2] + 0.5, neighbours=100)
    torch.testing.assert_close(local.mean.flatten(1), crowds, rtol=0, atol=0.1)
    own, other = (local.surprise(common.coordinates(x.view(2, 1, 6))) for x in (crowds, crowds.flip(0)))
    assert float(own.max()) < 1
    assert float(other.min()) > 10  # the common Gaussian finds both as probable


def crowd_search(near: bool) -> tuple[MapEstimate, Tensor, Tensor, Tensor]:
    """A search behind strong noise, the targets with their messages, and the attacker's records: of 40 tight crowds.

    near: the targets are of the same crowds. If not, they are of others.
    """
    torch.manual_seed(1)
    centres = torch.randn(80, 1, 12)
    records = (centres[torch.arange(2000) % 40] + torch.randn(2000, 1, 12) * 0.05).float()
    x = centres[torch.arange(120) % 40 + (0 if near else 40)] + torch.randn(120, 1, 12) * 0.05
    channel = LearnedChannel(1.0, torch.zeros(1, 1, 12), torch.full((1, 12), 0.2))
    search = MapEstimate(lambda x: x, channel, fit_prior(records), (-9.0, 9.0), 60, 0.2)
    return search, x, x + torch.randn_like(x) * 0.2**0.5, records


def test_neighbours_help_where_targets_have_them() -> None:
    search, x, y, records = crowd_search(near=True)
    guess = search.search(y, y, 1.0)
    better = refined(search, guess, y, records)
    assert float((better - x).square().mean()) < 0.6 * float((guess - x).square().mean())


def test_neighbours_are_left_alone_where_targets_have_none() -> None:
    search, x, y, records = crowd_search(near=False)
    guess = search.search(y, y, 1.0)
    assert torch.equal(refined(search, guess, y, records), guess)
    harmed = search_on(search, guess, y, records, NEIGHBOURS[-1])
    assert float((harmed - x).square().mean()) > float((guess - x).square().mean())


def test_a_local_search_starts_at_its_priors_mean() -> None:
    search, x, y, records = crowd_search(near=True)
    untold = replace(search, steps=10, channel=replace(search.channel, variance=torch.full((1, 12), 1e6)))
    far = x + 20 * (x - records.mean(0))  # too far for ten steps, and its neighbours are near x
    near = search_on(untold, far, y, records, NEIGHBOURS[-1])
    assert float((near - x).square().mean()) < 0.05 * float((far - x).square().mean())
