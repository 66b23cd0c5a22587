"""Membership by shadow victims: known answers on densities, on simulated fits, and on victims that learned by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy import stats
from torch import Tensor, nn

from splitleak.attacks import lira
from splitleak.attacks.lira import LiRA
from splitleak.attacks.rmia import RMIA
from splitleak.contract import Attack, BadInput, Grant, Shadow, Task, View
from splitleak.contract.view import Facts
from splitleak.pieces.fit_of_records import fit_of
from splitleak.plan import plugins
from splitleak.score.attempt import Attempt
from splitleak.score.per_target import auc
from splitleak.score.scene import Scene

from .test_attacks_labels import vanilla

Stage = Callable[..., Scene]
N = 2000
BY_HEART = {
    "dataset": "toy_coin", "model": "mlp", "evaluate": {"targets": 200}, "train": {"epochs": 40, "lr": 0.01}
}  # fmt: skip


def two_classes(phi: Tensor) -> Tensor:
    """Logits (N, 2) of which the first class, the label of all, has the logit phi (N,)."""
    return torch.stack([phi, torch.zeros_like(phi)], 1)


def audit(own: Tensor, phi: Tensor, trained_on: Tensor) -> View:
    """A view of a victim with the logits own (N,), and of shadows with phi (S, N), all with the label 0."""
    y = torch.zeros(len(own), dtype=torch.long)

    def sources(one: Tensor) -> dict[str, Callable[[], Any]]:
        return {"smashed": lambda: two_classes(one), "labels": lambda: y, "top": nn.Identity}

    made = [Shadow(sources(p) | {"trained_on": lambda t=t: t}, set()) for p, t in zip(phi, trained_on, strict=True)]  # type: ignore[misc]
    facts = Facts((1,), (0.0, 1.0), (2,), None, Task("classes", 2), 32, len(own))
    grants = Grant.SMASHED | Grant.LABELS | Grant.TOP | Grant.SHADOWS
    return View(facts, grants, sources(own) | {"shadows": lambda: made})


def simulated(shift: float, shadows: int) -> tuple[View, Tensor]:
    """Fits of deviation 1 around the difficulty of each record, higher by `shift` where it was trained on."""
    difficulty, member = 5 * torch.randn(N), torch.arange(N) % 2 == 0
    coins = torch.rand(shadows // 2, N) < 0.5
    trained = torch.stack([coins, ~coins], 1).flatten(0, 1)  # shadows 2j and 2j + 1 have no record in common
    fit = difficulty + torch.randn(shadows, N) + shift * trained
    return audit(difficulty + torch.randn(N) + shift * member, fit, trained), member.double()


# The parts ----------------------------------------------------------------------------------------


def test_the_density_is_students_with_the_posterior_of_a_normal_inverse_gamma_prior(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    m0, k0, a0, b0 = 0.3, 2.0, 3.0, 1.5
    monkeypatch.setattr(lira, "prior", lambda *_: (m0, k0, torch.tensor(a0), b0))
    values, own = torch.randn(5, 7).double(), torch.randn(7).double()
    x = values.mean(0)
    k, a = k0 + 5, a0 + 2.5
    b = b0 + (values - x).square().sum(0) / 2 + k0 * 5 * (x - m0).square() / (2 * k)
    right = stats.t.logpdf(own, 2 * a, (k0 * m0 + 5 * x) / k, (b * (k + 1) / (a * k)).sqrt())
    torch.testing.assert_close(lira.density(own, values), torch.from_numpy(right))


@pytest.mark.parametrize("n", [2, 8])
def test_the_prior_is_that_of_the_targets(n: int) -> None:
    """Drawn from m0 = 1, k0 = 0.5, a0 = 6, b0 = 10: means vary by 2 / k0 around 1, variances around 2."""
    variance = 1 / torch.distributions.Gamma(6.0, 10.0).sample((100_000,)).double()
    mean = 1 + (variance / 0.5).sqrt() * torch.randn(100_000)
    values = mean + variance.sqrt() * torch.randn(n, 100_000)
    m0, k0, a0, b0 = (float(t) for t in lira.prior(n, values.mean(0), values.var(0)))
    assert m0 == pytest.approx(1, abs=0.05)
    assert k0 == pytest.approx(0.5, rel=0.1)
    assert b0 / (a0 - 1) == pytest.approx(2, rel=0.05)
    assert 4 < a0 < 9


def test_a_target_that_all_shadows_fit_alike_has_a_finite_score() -> None:
    view, _ = simulated(1.0, 4)
    flat = audit(torch.ones(N), torch.ones(4, N), torch.stack([s.trained_on for s in view.shadows]))
    for attack in (LiRA(), RMIA()):
        assert attack.run(flat).isfinite().all()


def test_the_fit_of_a_class_is_the_logit_of_the_probability_of_its_label() -> None:
    z, y = 3 * torch.randn(50, 4), torch.randint(0, 4, (50,))
    p = F.softmax(z.double(), 1).gather(1, y[:, None])[:, 0]
    view = vanilla(nn.Identity(), z, y)
    torch.testing.assert_close(fit_of(view, view), (p / (1 - p)).log())
    sure = vanilla(nn.Identity(), torch.tensor([[90.0, 0.0], [95.0, 0.0]]), torch.tensor([0, 0]))
    assert fit_of(sure, sure).tolist() == [90, 95]  # 1 - p is below what a double can tell from 0


@pytest.mark.parametrize("kind", ["mask", "value"])
def test_other_tasks_are_fitted_as_well_as_their_loss_is_small(kind: Any) -> None:
    y = torch.randint(0, 2, (1, 1, 4, 4)).float().expand(40, 1, 4, 4)
    z = (4 * y - 2) * torch.linspace(0, 1, 40)[:, None, None, None] if kind == "mask" else y
    z = z if kind == "mask" else z + torch.linspace(9, 0, 40)[:, None, None, None]
    view = vanilla(nn.Identity(), z, y, task=Task(kind, 1))
    fit = fit_of(view, view)
    assert fit.isfinite().all()
    assert (fit.diff() > 0).all()


# Simulated fits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "shadows", "least"),
    [(LiRA(), 4, 0.69), (LiRA(), 8, 0.72), (LiRA(), 64, 0.74), (RMIA(), 2, 0.63), (RMIA(), 8, 0.66)],
)
def test_few_shadows_come_near_the_best_test_that_there_is(attack: Attack, shadows: int, least: float) -> None:
    """At deviation 1 a shift of 1 gives an AUC of .760 to who knows each difficulty, and .555 to a threshold."""
    view, member = simulated(1.0, shadows)
    found = auc(attack.run(view), member)
    assert least < found < 0.79
    assert auc(fit_of(view, view), member) < 0.6


def test_lira_finds_members_where_only_hard_records_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the records has all the shift, and the others vary more; one prior for all of them hides it."""
    trained = torch.stack([shadow.trained_on for shadow in simulated(0.0, 8)[0].shadows])
    hard, member = torch.arange(N) < N // 10, (torch.arange(N) % 2 == 0).double()
    level, deviation = torch.where(hard, -40, 40 * torch.rand(N)), torch.where(hard, 1.0, 4.0)
    own = level + hard * member + deviation * torch.randn(N)
    asked = audit(own, level + hard * trained + deviation * torch.randn(8, N), trained)
    by_difficulty = auc(LiRA().run(asked), member)
    monkeypatch.setattr(lira, "GROUP", N)
    assert by_difficulty > 0.51
    assert by_difficulty > auc(LiRA().run(asked), member) + 0.01


@pytest.mark.parametrize("attack", [LiRA(), RMIA()], ids=str)
def test_fits_that_do_not_depend_on_membership_give_nothing(attack: Attack) -> None:
    view, member = simulated(0.0, 8)
    assert abs(auc(attack.run(view), member) - 0.5) < 0.05  # four deviations


def test_lira_depends_on_who_trained_on_what() -> None:
    view, member = simulated(1.0, 8)
    swapped = [~shadow.trained_on for shadow in view.shadows]
    again = audit(fit_of(view, view), torch.stack([fit_of(s, view) for s in view.shadows]), torch.stack(swapped))
    assert auc(LiRA().run(view), member) > 0.7
    assert auc(LiRA().run(again), member) < 0.3


def test_gamma_ties_targets_and_changes_no_order() -> None:
    view, _ = simulated(1.0, 8)
    one, two = RMIA().run(view), RMIA(gamma=2.0).run(view)
    order = one.argsort()
    assert len(one.unique()) == N
    assert len(two.unique()) < N
    assert (two[order].diff() >= 0).all()


# Trained victims ----------------------------------------------------------------------------------


def found(stage: Stage, attack: dict[str, Any], **given: Any) -> float:
    tried = Attempt(stage(attack=attack, **(BY_HEART | given)))
    return float(tried.scene.question.score(tried.run()[0])["auc"])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_what_was_learned_by_heart_is_told_from_strangers(stage: Stage, name: str, protocol: str) -> None:
    assert found(stage, {"name": name, "shadows": 4}, protocol=protocol) > 0.9


@pytest.mark.parametrize("name", ["lira", "rmia"])
def test_an_untrained_victim_has_no_members(stage: Stage, name: str) -> None:
    auc = found(stage, {"name": name, "shadows": 4}, train={"epochs": 1, "lr": 1e-12})
    assert abs(auc - 0.5) < 0.13  # of 114 members and as many strangers: three and a half deviations


@pytest.mark.slow
def test_the_null_channel_gives_nothing(stage: Stage) -> None:
    tried = Attempt(stage(attack={"name": "lira", "shadows": 4}, **BY_HEART), null=True)
    assert abs(tried.scene.question.score(tried.run()[0])["auc"] - 0.5) < 0.13


@pytest.mark.slow
def test_the_shadows_have_the_defence_of_the_victim(stage: Stage) -> None:
    """In training and in what they send: they fit the targets as well as the victim does, and without it better."""
    level = dict[str, float]()
    for name, defense in {"noisy": {"name": "laplace_range", "epsilon": 2}, "plain": {"name": "none"}}.items():
        scene = stage(attack={"name": "rmia", "shadows": 2}, defense=defense, **BY_HEART)
        view = Attempt(scene).view
        level[name] = float(torch.stack([fit_of(shadow, view) for shadow in view.shadows]).mean())
        assert abs(float(fit_of(view, view).mean()) - level[name]) < 0.6
        assert {cell.defense["name"] for cell in scene.cell.victims} == {defense["name"]}
    assert level["plain"] > level["noisy"] + 0.9


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "lira", "shadows": 2}, "attack 'lira': shadows: .*greater than or equal to 4"),
        ({"name": "lira", "shadows": 1000}, "attack 'lira': shadows: .*less than or equal to 256"),
        ({"name": "rmia", "shadows": 3}, "attack 'rmia': shadows: .*multiple of 2"),
        ({"name": "rmia", "gamma": 0.5}, "attack 'rmia': gamma: .*greater than or equal to 1"),
    ],
)
def test_how_many_shadows_there_may_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        plugins.make("attack", given, plugins.Path())


def test_an_attack_of_ones_own_says_how_many_it_needs(lab: Any, main: Any) -> None:
    name = lab.attack("own", "return view.smashed", "SHADOWS")
    lab.matrix(f"attack = [{name}]")
    said = main("check", "m.toml").line
    assert "attack './own.py': it needs SHADOWS, so `shadows` must be an even number from 2" in said
