"""Labels are read off the gradients of a head that is known here, membership off losses that are known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import splitleak
from splitleak.attacks.cosine import Cosine
from splitleak.attacks.gradient_match import GradientMatch
from splitleak.attacks.membership import Membership
from splitleak.attacks.norm import Norm
from splitleak.attacks.similarity import Similarity
from splitleak.contract import Attack, BadInput, Defense, Grant, Task
from splitleak.contract.view import Facts, View
from splitleak.score import metrics
from splitleak.score.scene import Scene
from splitleak.score.targets import join

N, WIDTH = 500, 16
NOTHING = Defense()
ALL: list[Attack] = [Similarity(), Similarity(spectral=False), Cosine(), GradientMatch(), Norm()]


def first_of_each(y: Tensor) -> Tensor:
    return torch.cat([(y == k).nonzero().flatten()[:1] for k in y.unique()])


def view_of(
    y: Tensor, k: int, hints: Tensor | None = None, aux_labels: bool = True, defense: Defense = NOTHING, **sent: Tensor
) -> View:
    """A u-shape in which `features` and `gradient_features` were sent for records of the labels y (N,)."""
    out = tuple(sent["features"].shape[1:])
    facts = Facts((1,), (0.0, 1.0), out, out, Task("classes", k), 32, len(y))
    index = first_of_each(y) if hints is None else hints
    sources: dict[str, Callable[[], Any]] = {name: lambda t=t: t for name, t in sent.items()}  # type: ignore[misc]
    sources |= {"hints": lambda: (index, y[index]), "aux_labels": lambda: y, "defense": lambda: defense}
    grants = (
        Grant.SMASHED | Grant.GRADIENT | Grant.HINTS | Grant.DEFENSE | (Grant.AUX_LABELS if aux_labels else Grant(0))
    )
    return View(facts, grants, sources)


def trained_head(k: int, shares: list[float], sure: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Labels y (N,), features (N, WIDTH) and gradients W^T (p - onehot y) of a linear head that is mostly right."""
    y = torch.multinomial(torch.tensor(shares), N, replacement=True)
    weight = torch.linalg.qr(torch.randn(WIDTH, k))[0].T * 3
    features = sure * weight[y] / 3 + 0.5 * torch.randn(N, WIDTH)
    error = F.softmax(features @ weight.T, 1) - F.one_hot(y, k)
    return y, features, error @ weight


def advantage(guess: Tensor, y: Tensor) -> float:
    return metrics.classes(guess, y, int(y.bincount().argmax()))["advantage"]


@pytest.mark.parametrize(("attack", "least"), [(Similarity(), 0.95), (Similarity(spectral=False), 0.95),
                                              (Cosine(), 0.7), (GradientMatch(steps=100), 0.97)], ids=str)  # fmt: skip
def test_the_gradients_of_a_head_give_its_labels_away(attack: Attack, least: float) -> None:
    y, features, g = trained_head(4, [0.4, 0.3, 0.2, 0.1])
    assert advantage(attack.run(view_of(y, 4, features=features, gradient_features=g)), y) > least


@pytest.mark.parametrize("attack", ALL, ids=str)
def test_gradients_of_noise_give_nothing_away(attack: Attack) -> None:
    y = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), N, replacement=True)
    f, g = torch.randn(2, N, WIDTH)
    assert advantage(attack.run(view_of(y, 3, features=f, gradient_features=g)), y) <= 0.02


def test_how_short_a_gradient_is_does_not_matter_to_its_direction() -> None:
    y, f, g = trained_head(3, [1.0, 1.0, 1.0])
    short = (g.double() * 10.0 ** -(17 * torch.rand(N, 1).double())).float()
    for attack in (Similarity(), Cosine(), GradientMatch(steps=60)):
        assert advantage(attack.run(view_of(y, 3, features=f, gradient_features=short)), y) > 0.9


def test_one_hint_that_is_like_none_of_its_class_is_put_right_by_the_others() -> None:
    y = torch.randint(0, 4, (N,))
    to = torch.eye(4, WIDTH) - torch.eye(4, WIDTH).mean(0)
    g = to[y] + 0.1 * torch.randn(N, WIDTH)
    hints = first_of_each(y)
    g[hints[0]] = to[1] + 0.1 * torch.randn(WIDTH)  # of class 0, and looks like class 1
    view = view_of(y, 4, hints=hints, features=g, gradient_features=g)
    for spectral in (True, False):
        assert advantage(Similarity(spectral=spectral).run(view), y) > 0.98
        assert advantage(Similarity(spectral=spectral, method="nearest").run(view), y) < 0.9


def test_activations_cluster_by_class_where_the_network_has_told_them_apart() -> None:
    y, f, g = trained_head(4, [0.25] * 4, sure=5.0)
    for method in ("cluster", "nearest"):
        guess = Similarity(source="activation", method=method).run(view_of(y, 4, features=f, gradient_features=g))  # type: ignore[arg-type]
        assert advantage(guess, y) > 0.95


def test_a_class_that_no_hint_names_is_never_guessed() -> None:
    y, f, g = trained_head(4, [0.25] * 4)
    hints = first_of_each(y)[:3]
    for attack in (Similarity(), Cosine()):
        guess = attack.run(view_of(y, 4, hints=hints, features=f, gradient_features=g))
        assert set(guess.argmax(1).tolist()) == {0, 1, 2}
        assert advantage(guess[y < 3], y[y < 3]) > 0.3


def binary() -> tuple[Tensor, Tensor, Tensor]:
    """One in ten is positive, and the features hardly tell: p is near .1 for all, as early in training."""
    y = (torch.rand(N) < 0.1).long()
    f, weight = torch.randn(N, WIDTH), torch.randn(WIDTH)
    p = (0.1 * (f @ weight) / WIDTH**0.5 - 2.2).sigmoid()
    return y, f, (p - y)[:, None] * weight


@pytest.mark.parametrize("aux_labels", [True, False])
@pytest.mark.parametrize("attack", [Norm(), Cosine()], ids=str)
def test_a_rare_class_is_told_by_the_length_and_by_the_direction_of_its_gradients(
    attack: Attack, aux_labels: bool
) -> None:
    y, f, g = binary()
    guess = attack.run(view_of(y, 2, aux_labels=aux_labels, features=f, gradient_features=g))
    scores = metrics.classes(guess, y, 0)
    assert scores["signed_auc"] == pytest.approx(1)
    if aux_labels or isinstance(attack, Cosine):
        assert scores["advantage"] > 0.95


def test_the_rare_class_is_the_one_that_the_auxiliary_labels_say() -> None:
    y, f, g = binary()
    guess = Norm().run(view_of(1 - y, 2, features=f, gradient_features=g))
    assert metrics.classes(guess, 1 - y, 1)["signed_auc"] == pytest.approx(1)


def test_norms_are_cut_where_the_shares_of_three_classes_say() -> None:
    y = torch.tensor([0] * 300 + [1] * 150 + [2] * 50)
    g = torch.tensor([0.1, 1.0, 10.0])[y][:, None] * (1 + 0.1 * torch.rand(N, 1)) * torch.ones(1, WIDTH)
    assert advantage(Norm().run(view_of(y, 3, features=g, gradient_features=g)), y) > 0.98


@pytest.mark.parametrize("attack", ALL, ids=str)
def test_a_mask_is_no_class(attack: Attack) -> None:
    view = view_of(
        *(torch.zeros(4, dtype=torch.long), 1), features=torch.rand(4, 3), gradient_features=torch.rand(4, 3)
    )
    view.task = Task("mask", 1)
    with pytest.raises(BadInput, match=f"attack '{attack.name}'"):
        attack.run(view)


# Membership ---------------------------------------------------------------------------------------


def vanilla(top: nn.Module, z: Tensor, y: Tensor, g: Tensor | None = None, task: Task | None = None) -> View:
    facts = Facts((1,), (0.0, 1.0), tuple(z.shape[1:]), None, task or Task("classes", z.shape[1]), 32, len(y))
    sources = {"smashed": lambda: z, "labels": lambda: y, "gradient": lambda: z if g is None else g, "top": lambda: top}
    return View(facts, Grant.SMASHED | Grant.LABELS | Grant.GRADIENT | Grant.TOP, sources)


def test_a_member_has_a_smaller_loss_a_shorter_gradient_and_a_more_confident_output() -> None:
    y = torch.randint(0, 3, (N,))
    member = torch.arange(N) < N // 2
    logits = (3.0 * F.one_hot(y, 3) + 0.1 * torch.randn(N, 3)) * (0.2 + member[:, None])
    g = F.softmax(logits, 1) - F.one_hot(y, 3)
    view = vanilla(nn.Identity(), logits, y, g)
    torch.testing.assert_close(Membership().run(view), -F.cross_entropy(logits.double(), y, reduction="none"))
    for source in ("loss", "gradient", "activation"):
        scores = metrics.scores(Membership(source=source).run(view), member.double())  # type: ignore[arg-type]
        assert scores["auc"] == scores["tpr_at_1fpr"] == pytest.approx(1)


def test_membership_has_a_score_for_masks_and_values() -> None:
    z = torch.randn(8, 1, 4, 4)
    y, task = (z > 0).float(), Task("mask", 1)
    for source in ("loss", "gradient", "activation"):
        assert Membership(source=source).run(vanilla(nn.Identity(), z, y, task=task)).shape == (8,)  # type: ignore[arg-type]
    value = vanilla(nn.Identity(), z.flatten(1), y.flatten(1), task=Task("value", 16))
    assert Membership().run(value).shape == (8,)
    with pytest.raises(BadInput, match="a predicted value has no probability"):
        Membership(source="activation").run(value)


@pytest.mark.slow
def test_what_membership_needs_goes_with_its_source(run: Callable[..., list[dict[str, Any]]]) -> None:
    attacks = [{"name": "membership", "source": s} for s in ("loss", "gradient", "activation")]
    records = run(attack=attacks, model={"name": "toy_chain", "identity": True}, cut=1)
    assert [r["status"] for r in records] == ["done"] * 3
    threats = {r["cell"]["attack"]["source"]: r["cell"]["threat"] for r in records}
    assert threats == {"loss": "honest_server", "gradient": "eavesdropper", "activation": "honest_server"}
    assert all(r["test_in_train"] == 0 and "test-in-train" not in r["flags"] for r in records)
    (skipped,) = run("u", attack=attacks[:1], protocol="u_shape")
    assert skipped["status"] == "skipped"
    assert "does not grant LABELS" in skipped["why"]


def test_test_rows_that_were_trained_on_are_no_strangers_and_the_record_says_so(stage: Callable[..., Scene]) -> None:
    clean = stage(attack={"name": "membership"})
    data = clean.data
    mixed = replace(data, test=join(data.test, data.private.take(torch.arange(20))))
    scene = replace(clean, data=mixed)
    assert scene.test_in_train == pytest.approx(20 / 80)
    assert "test-in-train" in scene.flags
    assert "test-in-train" not in clean.flags
    strangers = scene.targets.id[scene.member == 0]
    assert not torch.isin(strangers, data.private.id).any()
    assert torch.isin(scene.targets.id[scene.member == 1], data.private.id).all()


def test_neither_its_place_nor_its_batch_tells_whether_a_target_was_trained_on(stage: Callable[..., Scene]) -> None:
    scene = stage(attack={"name": "membership"}, dataset={"name": "toy_flat", "n": 604})
    assert torch.equal(scene.member == 1, torch.isin(scene.targets.id, scene.data.private.id))
    assert float(scene.member.mean()) == 0.5
    assert abs(metrics.scores(-torch.arange(len(scene.targets)).double(), scene.member)["advantage"]) < 0.4
    assert all(0 < float(batch.mean()) < 1 for batch in scene.member.split(16)[:-1])


# Draws of the hints -------------------------------------------------------------------------------


def labels(evaluate: dict[str, Any], attack: str = "cosine") -> dict[str, Any]:
    return {"attack": attack, "protocol": "u_shape", "evaluate": evaluate}


@pytest.mark.slow
def test_the_first_draw_is_the_one_there_always_was_and_the_record_holds_the_mean(
    run: Callable[..., list[dict[str, Any]]],
) -> None:
    (one,), (three,) = run("one", **labels({})), run("three", **labels({"draws": 3}))
    assert one["status"] == three["status"] == "done"
    assert "draws" not in one
    draws = three["draws"]
    assert draws["n"] == len(draws["advantage"]) == 3
    assert draws["advantage"][0] == one["metrics"]["advantage"]
    assert draws["label_accuracy"][0] == one["metrics"]["label_accuracy"]
    assert draws["min"] == min(draws["advantage"])
    assert three["metrics"]["advantage"] == pytest.approx(sum(draws["advantage"]) / 3)
    assert three["metrics"].keys() == one["metrics"].keys()
    assert three["bootstrap_ci95"] == one["bootstrap_ci95"]
    assert three["null"] == one["null"]
    assert splitleak.leaderboard([three])["advantage"][0] == three["metrics"]["advantage"]


def test_an_attack_without_hints_is_run_once(run: Callable[..., list[dict[str, Any]]]) -> None:
    (record,) = run(**labels({"draws": 3}, "norm"))
    assert record["status"] == "done"
    assert "draws" not in record


def test_every_draw_has_its_own_hints_which_its_own_score_leaves_out(stage: Callable[..., Scene]) -> None:
    scene = stage(**labels({"hints": 2}))
    seen = set()
    for draw in range(4):
        mine, again = replace(scene, draw=draw), replace(scene, draw=draw)
        assert torch.equal(mine.hints, again.hints)
        assert scene.targets.y[mine.hints].tolist() == [0, 0, 1, 1, 2, 2]
        assert not set(mine.question.counted.tolist()) & set(mine.hints.tolist())
        assert len(mine.question.counted) == len(scene.targets) - 6
        seen.add(tuple(mine.hints.tolist()))
    assert len(seen) == 4


# On real networks ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["u_shape", "vanilla"])
def test_hints_and_gradients_name_the_labels_of_a_split_that_trained(
    run: Callable[..., list[dict[str, Any]]], protocol: str
) -> None:
    records = run(
        dataset={"name": "ecg_synthetic", "n": 600}, model="ecg_cnn", evaluate={"targets": 200}, protocol=protocol,
        attack=["similarity", "cosine", {"name": "gradient_match", "steps": 50}], train={"epochs": 3, "lr": 1e-3},
    )  # fmt: skip
    assert [r["status"] for r in records] == ["done"] * 3
    found = {r["cell"]["attack"]["name"]: r["metrics"]["advantage"] for r in records}
    assert all(r["null"]["leaks"] is False for r in records)
    assert {r["cell"]["threat"] for r in records} == {"honest_server" if protocol == "u_shape" else "label_thief"}
    if protocol == "u_shape":
        assert min(found["similarity"], found["gradient_match"]) > 0.9, found
