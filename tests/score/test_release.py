"""What is seen after training: the release, queries, an untrained client part; and what rows share by their seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.contract import Grant, View
from splitleak.plan.seeds import Stream
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train import victim
from splitleak.train.fit import training_of

Try = Callable[..., Attempt]
Stage = Callable[..., Scene]
DELICATE = {"name": "toy_chain", "dropout": 0.5}  # batch norm and dropout: training mode would show
CASES = [("toy_flat", DELICATE, "vanilla"), ("toy_flat", DELICATE, "u_shape"), ("toy_images", "toy_skips", "u_shape")]


@pytest.mark.parametrize(("dataset", "model", "protocol"), CASES)
@pytest.mark.parametrize("batch_size", [10, 16])
def test_release_is_in_eval_mode_and_each_records_own_gradient(
    attempt: Try, dataset: str, model: Any, protocol: str, batch_size: int
) -> None:
    seen: dict[str, Tensor] = {}

    def look(view: View) -> None:
        names = ("smashed", "gradient", *(("features", "gradient_features") if protocol == "u_shape" else ("labels",)))
        seen.update({name: getattr(view, name) for name in names})

    tried = attempt(look, "SMASHED", dataset=dataset, model=model, protocol=protocol, train={"batch_size": batch_size})
    split, targets, task = tried.victim.split, tried.scene.targets, tried.scene.data.task
    assert not split.training
    for i in range(len(targets)):  # by hand, one record at a time, its loss not divided by anything
        z, kept = split.bottom(targets.x[i : i + 1])
        z = z.detach().requires_grad_()
        out = split.top(z.clone())
        ends, y = {"gradient": z}, targets.y[i : i + 1]
        if split.head is not None:
            out.retain_grad()
            ends["gradient_features"] = out
            torch.testing.assert_close(seen["features"][i], out[0], rtol=1e-4, atol=1e-5)
            out = split.head(out.clone(), tuple(k.detach() for k in kept))
        task.loss(out, y).backward()
        torch.testing.assert_close(seen["smashed"][i], z[0], rtol=1e-4, atol=1e-5)
        for name, end in ends.items():
            torch.testing.assert_close(seen[name][i], end.grad[0], rtol=1e-3, atol=1e-6)
    if protocol == "vanilla":
        assert torch.equal(seen["labels"], targets.y)


def test_release_and_queries_leave_victim_and_its_learned_defence_as_they_were(attempt: Try) -> None:
    def look(view: View) -> None:
        view.smashed, view.gradient, view.query(view.aux), view.query(view.aux[:1])

    tried = attempt(look, "SMASHED|GRADIENT|QUERY", model=DELICATE, defense="toy_learned", cut=1)
    assert tried.victim.fingerprint() == tried.scene.kept.facts.fingerprint


def test_a_query_is_what_the_trained_client_sends(attempt: Try) -> None:
    answers: list[tuple[Tensor, Tensor]] = []
    tried = attempt(lambda view: answers.append((view.aux[:37], view.query(view.aux[:37]))), "QUERY", model=DELICATE)
    x, z = answers[0]
    with torch.no_grad():
        torch.testing.assert_close(z, tried.victim.split.bottom(x)[0], rtol=1e-5, atol=1e-6)


def test_a_query_has_fresh_noise_each_time(attempt: Try) -> None:
    answers: list[Tensor] = []
    attempt(lambda view: answers.extend(view.query(view.aux) for _ in range(3)), "QUERY", defense="laplace_range")
    assert all((a != b).all() for a, b in pairwise(answers))


@pytest.mark.slow
def test_a_single_record_gets_the_noise_of_a_full_batch(attempt: Try) -> None:
    sent: list[Tensor] = []
    clean: list[Tensor] = []

    def look(view: View) -> None:
        x = view.aux[-1:]
        sent.append(torch.cat([view.query(x) for _ in range(1500)]))
        with torch.no_grad():
            clean.append(view.bottom(torch.cat([x, view.aux[: view.batch_size - 1]])))

    defense = {"name": "laplace_range", "epsilon": 2.0}
    attempt(look, "QUERY|BOTTOM|AUX", defense=defense, cut=1, evaluate={"targets": 20})
    scale = (clean[0].amax(0) - clean[0].amin(0)) / 2.0  # of the batch that the query was filled up to
    torch.testing.assert_close((sent[0] - clean[0][0]).abs().mean(0), scale, rtol=0.1, atol=0)


def test_the_release_does_not_depend_on_what_was_asked_before(attempt: Try) -> None:
    seen: list[Tensor] = []
    attempt(lambda view: seen.append(view.smashed), "SMASHED|QUERY", defense="laplace_range")
    attempt(lambda view: seen.append((view.query(view.aux), view.smashed)[1]), "SMASHED|QUERY", defense="laplace_range")
    assert torch.equal(*seen)


def test_fresh_bottom_is_the_same_network_with_weights_that_the_victim_never_had(attempt: Try) -> None:
    made: list[list[Tensor]] = []

    def look(view: View) -> None:
        for _ in range(2):
            part = view.fresh_bottom()
            assert part(torch.rand(4, *view.in_shape)).shape[1:] == view.cut_shape
            made.append([p.detach() for p in part.parameters()])

    tried = attempt(look, "ARCHITECTURE", model={"name": "toy_chain", "norm": False}, cut=2)
    start = list(victim.fresh(tried.scene.case, tried.scene.data).split.bottom.parameters())
    for one, other in ((made[0], start), (made[1], start), (made[0], made[1])):
        assert [a.shape for a in one] == [b.shape for b in other]
        assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# Seeds --------------------------------------------------------------------------------------------


def first_epoch(scene: Scene) -> tuple[list[Tensor], list[Tensor]]:
    """Initial weights, and the batches of an epoch by the labels that cross."""
    made = victim.fresh(scene.case, scene.data)
    start = [t.clone() for t in made.split.state_dict().values()]
    with Stream(0):
        return start, [step.labels for step in training_of(made).steps(Grant.LABELS, set()) if step.epoch == 0]


@pytest.mark.parametrize("defense", ["laplace_range", "gaussian", "toy_learned", "toy_static"])
def test_rows_that_differ_in_the_defence_share_start_order_and_targets(stage: Stage, defense: str) -> None:
    scenes = [stage(defense=name, cut=1, evaluate={"targets": 20}) for name in ("none", defense)]
    (start, order), (start2, order2) = map(first_epoch, scenes)
    assert all(map(torch.equal, start, start2))
    assert all(map(torch.equal, order, order2))
    assert torch.equal(scenes[0].targets.id, scenes[1].targets.id)
    assert torch.equal(scenes[0].aux.id, scenes[1].aux.id)


def test_another_seed_has_another_start_order_and_targets(stage: Stage) -> None:
    scenes = [stage(seed=seed, evaluate={"targets": 20}) for seed in (0, 1)]
    (start, order), (start2, order2) = map(first_epoch, scenes)
    assert not all(map(torch.equal, start, start2))
    assert not torch.equal(torch.cat(order), torch.cat(order2))
    assert scenes[0].targets.id.tolist() != scenes[1].targets.id.tolist()


def test_the_cut_changes_neither_start_nor_order(stage: Stage) -> None:
    (start, order), (start2, order2) = (first_epoch(stage(cut=cut)) for cut in (1, 3))
    assert all(map(torch.equal, start, start2))
    assert all(map(torch.equal, order, order2))
