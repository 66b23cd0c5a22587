"""What a label holder does to its gradients and labels is what the formulas say, and the attacks on labels feel it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.optimize import minimize
from torch import Tensor, nn

from splitleak.attacks.norm import Norm
from splitleak.attacks.similarity import Similarity
from splitleak.contract import BadInput, Defense, Exposure, Grant, Hooks, Records, Split, Task, View
from splitleak.contract.split import Bottom
from splitleak.contract.view import Facts
from splitleak.defenses.label_dp import LabelDP
from splitleak.defenses.marvell import Marvell, solve, sum_kl
from splitleak.defenses.max_norm import MaxNorm
from splitleak.score import metrics
from splitleak.score.attempt import Attempt
from splitleak.train.party import Party

B, D = 64, 12


def gradients(shares: tuple[float, ...] = (0.8, 0.2)) -> tuple[Tensor, Tensor]:
    """(B, D) and labels (B,): each class around its own mean, with its own spread."""
    y = torch.multinomial(torch.tensor(shares), B, replacement=True)
    means = 2 * torch.randn(len(shares), D)
    return means[y] + (0.2 + 0.3 * y[:, None]) * torch.randn(B, D), y


# max_norm -----------------------------------------------------------------------------------------


def test_under_max_norm_every_gradient_is_as_long_as_the_longest_on_average_and_keeps_its_line() -> None:
    g, y = gradients()
    g = g * 10.0 ** -torch.arange(B)[:, None].div(8)  # over eight orders of magnitude
    sent = MaxNorm().gradient(g.repeat(4000, 1), y.repeat(4000)).view(4000, B, D)
    longest = g.norm(dim=1).max()
    torch.testing.assert_close(
        sent.norm(dim=2).square().mean(0).sqrt(), longest.expand(B), rtol=0.05, atol=0
    )  # E |g|^2 = |g_max|^2
    torch.testing.assert_close(F.cosine_similarity(sent, g[None], dim=2).abs(), torch.ones(4000, B))
    sigma = (longest.square() / g.norm(dim=1).square() - 1).clamp(min=0).sqrt()
    along = (sent * g).sum(2) / g.norm(dim=1).square()
    torch.testing.assert_close(along.std(0), sigma, rtol=0.06, atol=1e-6)


def test_max_norm_leaves_the_longest_and_what_is_zero_as_they_are() -> None:
    g = torch.stack([torch.zeros(D), torch.ones(D), torch.full((D,), 1e-17)])
    sent = MaxNorm().gradient(g, torch.zeros(3))
    assert torch.equal(sent[:2], g[:2])
    assert sent[2].norm() > 1e-3
    assert sent.isfinite().all()


# marvell ------------------------------------------------------------------------------------------

CASES = [(0.1, 0.1, 12, 0.2, 1.0), (0.001, 0.5, 128, 0.1, 4.0), (0.6, 0.05, 128, 0.5, 0.1), (1.0, 3.0, 2, 0.9, 25.0),
         (0.0, 0.3, 12, 0.03, 10.0), (0.2, 0.0, 1, 0.3, 1.0)]  # fmt: skip


def left(v: float, u: float, d: int, noise: tuple[float, float, float, float]) -> float:
    k1, l1, k0, l0 = noise
    v, u = max(v, 1e-9), max(u, 1e-9)
    return float(sum_kl(np.float64(v + k1), v + l1, np.float64(u + k0), u + l0, d))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_marvell_spends_its_power_and_leaves_less_than_noise_alike_in_all_directions(
    case: tuple[float, float, int, float, float],
) -> None:
    v, u, d, p, power = case
    noise = k1, l1, k0, l0 = solve(*case)
    assert min(noise) >= 0
    assert p * (k1 + (d - 1) * l1) + (1 - p) * (k0 + (d - 1) * l0) == pytest.approx(power)
    even = (power / d,) * 4
    assert left(v, u, d, noise) < left(v, u, d, even) or d == 1


@pytest.mark.parametrize("case", CASES[:5], ids=str)
def test_no_search_over_all_four_variances_finds_a_better_noise(case: tuple[float, float, int, float, float]) -> None:
    v, u, d, p, power = case
    price = np.array([p, p * (d - 1), 1 - p, (1 - p) * (d - 1)])

    def loss(share: np.ndarray[Any, Any]) -> float:
        noise = power * np.abs(share) / np.abs(share).sum() / price
        return left(v, u, d, tuple(noise))

    starts = np.random.default_rng(0).dirichlet(np.ones(4), 4)
    best = min(float(minimize(loss, s, method="Nelder-Mead", options={"maxiter": 1000}).fun) for s in starts)
    assert left(v, u, d, solve(*case)) <= 1.01 * best + 1e-9


def test_both_classes_see_the_same_problem_from_their_sides() -> None:
    one, other = solve(0.2, 0.7, 20, 0.3, 2.0), solve(0.7, 0.2, 20, 0.7, 2.0)
    assert one == pytest.approx((*other[2:], *other[:2]), rel=1e-3, abs=1e-6)


def test_the_kullback_leibler_divergence_is_that_of_two_gaussians() -> None:
    a1, b1, a0, b0, d = 0.5, 1.5, 2.0, 0.7, 5
    mean = torch.zeros(d).index_fill(0, torch.tensor(0), 1.0)
    normal = torch.distributions.MultivariateNormal
    p1 = normal(mean, torch.diag(torch.tensor([a1] + [b1] * (d - 1))))
    p0 = normal(torch.zeros(d), torch.diag(torch.tensor([a0] + [b0] * (d - 1))))
    kl = torch.distributions.kl_divergence
    whole = kl(p1, p0) + kl(p0, p1)
    assert float(sum_kl(np.array(a1), np.array(b1), np.array(a0), np.array(b0), d)) == pytest.approx(float(whole))


def test_marvells_noise_has_the_variances_that_were_solved_for() -> None:
    g, y = gradients()
    scale, own = 4.0, y == 1
    gap = g[own].mean(0) - g[~own].mean(0)
    g, y, own = g.repeat(1000, 1), y.repeat(1000), own.repeat(1000)  # one batch: means, spreads and shares stay
    sent = Marvell(scale).gradient(g, y)
    noise, line = (sent - g).double(), (gap / gap.norm()).double()
    spread = [float((x - x.mean(0)).square().sum(1).mean()) / D / float(gap.square().sum()) for x in (g[own], g[~own])]
    k1, l1, k0, l0 = solve(spread[0], spread[1], D, float(own.double().mean()), scale)
    along = noise @ line
    across = (noise - along[:, None] * line).square().sum(1) / (D - 1)
    for mine, on, off in ((own, k1, l1), (~own, k0, l0)):
        assert float(along[mine].var()) == pytest.approx(on * float(gap.square().sum()), rel=0.03)
        assert float(across[mine].mean()) == pytest.approx(off * float(gap.square().sum()), rel=0.03, abs=1e-4)
    power = float(noise.square().sum(1).mean())
    assert power == pytest.approx(scale * float(gap.square().sum()), rel=0.03)


def test_a_batch_of_one_class_is_sent_as_it_is_and_every_class_of_three_is_noised() -> None:
    g, y = gradients((0.4, 0.3, 0.3))
    assert torch.equal(Marvell().gradient(g, torch.ones_like(y)), g)
    sent = Marvell().gradient(g, y)
    assert (sent != g).all()
    assert not torch.equal(sent, Marvell().gradient(g, y))
    with pytest.raises(BadInput, match="defense 'marvell'"):
        Marvell().gradient(g, torch.rand(B, 1, 4, 4))


# label_dp -----------------------------------------------------------------------------------------


def answers(epsilon: float, seed: int = 3, k: int = 4, n: int = 4000) -> tuple[Hooks, Records]:
    split = Split(Bottom(nn.Linear(5, 3)), nn.Linear(3, k))
    records = Records(torch.rand(n, 5), torch.randint(0, k, (n,)), torch.arange(n) + 7)
    return LabelDP(epsilon).begin(split.measure((5,)), seed), records


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0])
def test_a_label_is_kept_as_often_as_epsilon_says_and_else_any_other(epsilon: float) -> None:
    live, records = answers(epsilon)
    told, y = live.labels(records), records.y
    keep = exp(epsilon) / (exp(epsilon) + 3)
    assert float((told == y).double().mean()) == pytest.approx(keep, abs=4 * (keep * (1 - keep) / 4000) ** 0.5)
    shift = (told - y)[told != y] % 4
    counts = shift.bincount(minlength=4)[1:].double()
    assert ((counts / counts.sum() - 1 / 3).abs() < 4 * (2 / 9 / counts.sum()) ** 0.5).all()


def test_a_record_is_answered_once_whatever_its_values_its_place_and_the_moment() -> None:
    live, records = answers(0.5, n=200)
    told, order = live.labels(records), torch.randperm(200)
    torch.manual_seed(99)
    assert torch.equal(live.labels(records.take(order)), told[order])
    assert torch.equal(torch.cat([live.labels(records.take(torch.tensor([i]))) for i in range(200)]), told)
    assert torch.equal(live.labels(replace(records, x=records.x.flip(1))), told)
    again, other = (answers(0.5, seed)[0] for seed in (3, 4))
    assert torch.equal(again.labels(records), told)
    assert not torch.equal(other.labels(records), told)


def test_copies_of_a_record_share_one_answer_and_records_of_equal_values_do_not() -> None:
    live, records = answers(0.5, n=200)
    alike = replace(records, x=torch.zeros(200, 5), y=torch.zeros(200, dtype=torch.long))
    assert len(live.labels(alike).unique()) == 4
    assert len(live.labels(replace(alike, id=torch.full((200,), -5))).unique()) == 1


EPOCHS = 20


@pytest.mark.slow
@pytest.mark.parametrize("variation", [{}, {"flip": "both"}, {"augment": True}], ids=["plain", "flip", "augment"])
def test_twenty_epochs_of_varied_images_name_no_more_labels_than_one(
    attempt: Callable[..., Attempt], monkeypatch: pytest.MonkeyPatch, variation: dict[str, Any]
) -> None:
    places, drawn = list[Tensor](), Party.drawn

    def noted(party: Party) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in drawn(party):
            places.append(batch[2])
            yield batch

    monkeypatch.setattr(Party, "drawn", noted)
    seen: list[Tensor] = []

    def look(view: View) -> None:
        places.clear()
        seen.extend(step.labels for step in view.steps)
        seen.append(view.labels)

    scene = {"dataset": {"name": "toy_images", "n": 200, "task": "classes"}, "model": "mlp", "protocol": "vanilla"}
    tried = attempt(look, "STEPS|LABELS", defense={"name": "label_dp", "epsilon": 0.5},
                    train={"epochs": EPOCHS} | variation, **scene)  # fmt: skip
    private, targets = tried.scene.data.private, tried.scene.targets
    counts = torch.zeros(len(private), tried.scene.data.task.size)
    counts.index_put_((torch.cat(places), torch.cat(seen[:-1])), torch.tensor(1.0), accumulate=True)
    assert (counts.max(1).values == EPOCHS).all()  # one label in all epochs
    sent = dict(zip(private.id.tolist(), counts.argmax(1).tolist(), strict=True))
    assert [sent[i] for i in targets.id.tolist()] == seen[-1].tolist()  # and in the release
    right = float((counts.argmax(1) == private.y).double().mean())
    n, keep = len(private), 1 / (1 + exp(-0.5))
    assert right == pytest.approx(keep, abs=4 * (keep * (1 - keep) / n) ** 0.5)


def test_label_dp_promises_the_same_epsilon_however_often_a_label_is_sent() -> None:
    promise = LabelDP(2.0).privacy(Exposure(20, copies=4))
    assert (promise.epsilon, promise.epsilon_one, promise.delta) == (2.0, 2.0, 0.0)
    assert (promise.unit, promise.adjacency, promise.multiplicity) == ("label", "replace", 4)
    assert LabelDP(2.0).privacy(Exposure(20, copies=4, records=3)).epsilon == 6.0  # of a person
    assert LabelDP(2.0).privacy(Exposure(0, released=False)).epsilon == 0


def test_label_dp_refuses_what_is_no_class() -> None:
    live, records = answers(1.0)
    with pytest.raises(BadInput, match="defense 'label_dp'"):
        live.labels(replace(records, y=torch.rand(len(records), 1, 4, 4)))


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_a_split_learns_the_number_of_classes_and_trains_on_its_answers(
    attempt: Callable[..., Attempt], protocol: str
) -> None:
    tried = attempt(lambda view: None, protocol=protocol, defense={"name": "label_dp", "epsilon": 1.0})
    live, targets = tried.victim.live, tried.scene.targets
    told = live.labels(targets)
    assert live.classes == 3  # type: ignore[attr-defined]
    assert not torch.equal(told, targets.y)
    assert tried.victim.split.training is False
    if protocol == "vanilla":
        assert torch.equal(tried.released["labels"], told)


def test_who_is_granted_labels_sees_those_that_were_sent(attempt: Callable[..., Attempt]) -> None:
    seen: list[Tensor] = []

    def look(view: View) -> None:
        seen.extend(step.labels for step in view.steps)
        seen.append(view.labels)

    tried = attempt(look, wants="STEPS|LABELS", defense={"name": "label_dp", "epsilon": 0.5})
    targets = tried.scene.targets
    assert torch.equal(seen[-1], tried.victim.live.labels(targets))
    wrong = float((seen[-1] != targets.y).double().mean())
    assert wrong == pytest.approx(1 - 1 / (1 + 2 * exp(-0.5)), abs=0.2)
    plain = attempt(look, wants="STEPS|LABELS")
    assert torch.equal(seen[-1], plain.scene.targets.y)


# What attacks find --------------------------------------------------------------------------------


def sent_by(defense: Defense, y: Tensor, g: Tensor) -> View:
    """A u-shape whose gradients went through the defence in batches of 50."""
    parts = [defense.gradient(a, b) for a, b in zip(g.split(50), y.split(50), strict=True)]
    sent, facts = torch.cat(parts), Facts((1,), (0.0, 1.0), (D,), (D,), Task("classes", 2), 50, len(y))
    hints = torch.cat([(y == k).nonzero().flatten()[:1] for k in range(2)])
    sources: dict[str, Callable[[], Any]] = {"gradient_features": lambda: sent, "hints": lambda: (hints, y[hints])}
    return View(facts, Grant.GRADIENT | Grant.HINTS, sources)


@pytest.mark.parametrize(
    ("defense", "norm_at_most", "hits_at_most"),
    [(Hooks(), 1.0, 1.0), (MaxNorm(), 0.5, 0.7), (Marvell(25.0), 0.3, 0.7)],
    ids=["none", "max_norm", "marvell"],
)
def test_norms_and_clusters_tell_less_under_a_defence_of_the_gradient(
    defense: Any, norm_at_most: float, hits_at_most: float
) -> None:
    y = (torch.rand(600) < 0.15).long()
    p = (0.4 * torch.randn(600) - 1.7).sigmoid()
    g = (p - y)[:, None] * torch.randn(D) + 0.01 * torch.randn(600, D)
    view = sent_by(defense, y, g)
    norm = metrics.classes(Norm().run(view), y, 0)["signed_auc"]
    hits = metrics.classes(Similarity().run(view), y, 0)["label_accuracy"]
    assert norm <= norm_at_most
    assert hits <= hits_at_most
    if isinstance(defense, Hooks) and not isinstance(defense, Defense):
        assert min(norm, hits) > 0.97
