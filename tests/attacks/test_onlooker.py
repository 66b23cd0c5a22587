"""Who looks on leaves the victim bit-identical; who tampers changes exactly what was answered."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from splitleak.contract import BadInput, View
from splitleak.score import attempt as attempt_module
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train import victim

Try = Callable[..., Attempt]
Stage = Callable[..., Scene]
PER_EPOCH = 5  # 68 records of toy_flat in batches of 16
NOISY = {"name": "toy_chain", "dropout": 0.3}


def draw() -> None:
    """Use up random numbers of every kind."""
    torch.randn(7), np.random.rand(5), random.random()
    torch.manual_seed(random.randrange(100))


def everything(view: View) -> None:
    """Read all there is in every step, drawing in between, and train something of one's own."""
    own = torch.nn.LazyLinear(4)
    mover: torch.optim.Optimizer | None = None
    for step in view.steps:
        draw()
        u_shaped = view.out_shape is not None
        for name in ("smashed", "gradient", *(("features", "gradient_features") if u_shaped else ("labels",))):
            getattr(step, name).mul_(0)
        draw()
        top = step.top.train().requires_grad_()
        view.fresh_bottom()(torch.rand(4, *view.in_shape))
        loss = top(step.smashed).square().mean() + own(step.smashed.flatten(1)).square().mean()
        mover = mover or torch.optim.SGD([*own.parameters()], lr=0.1)
        loss.backward()
        mover.step()
        with torch.no_grad():
            [p.zero_() for p in top.parameters()]
        draw()


@pytest.mark.parametrize("clients", [1, {"n": 2, "mode": "sequential"}, {"n": 2, "mode": "parallel"}], ids=str)
@pytest.mark.parametrize("defense", ["none", "laplace_range", "toy_learned"])
def test_passive_onlooker_leaves_victim_bit_identical(attempt: Try, defense: str, clients: Any) -> None:
    wants = "SMASHED|GRADIENT|LABELS|TOP|STEPS|ARCHITECTURE"
    tried = attempt(everything, wants, model=NOISY, defense=defense, clients=clients, train={"batch_size": 12})
    assert tried.victim.fingerprint() == tried.scene.kept.facts.fingerprint
    assert tried.training.steps_done >= 2 * PER_EPOCH


def test_passive_onlooker_of_a_u_shape_with_skips_leaves_victim_bit_identical(attempt: Try) -> None:
    tried = attempt(everything, "SMASHED|GRADIENT|TOP|STEPS|ARCHITECTURE", dataset="toy_images", model="toy_skips")
    assert tried.scene.cell.protocol == "u_shape"
    assert tried.victim.fingerprint() == tried.scene.kept.facts.fingerprint


def test_an_onlooker_that_reaches_the_victim_is_found_out(attempt: Try) -> None:
    def vandal(view: View) -> None:
        step = next(view.steps)
        with torch.no_grad():
            next(step._open[0].args[0].parameters()).mul_(2)  # past the gate: Python cannot forbid it

    with pytest.raises(RuntimeError, match="the attack disturbed it"):
        attempt(vandal, "STEPS")


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "laplace_range", "toy_learned"])
def test_log_changes_neither_victim_nor_attack(attempt: Try, defense: str) -> None:
    drawn: list[list[float]] = []

    def looker(logs: bool) -> Callable[[View], None]:
        def look(view: View) -> None:
            drawn.append([])
            for number, _ in enumerate(view.steps):
                if logs:
                    view.log(number, lambda z: torch.rand(len(z), *view.in_shape))  # a guesser that draws
                drawn[-1].append(float(torch.rand(())))

        return look

    silent, logged = (attempt(looker(logs), "STEPS|SMASHED", model=NOISY, defense=defense) for logs in (False, True))
    assert drawn[0] == drawn[1]
    assert silent.victim.fingerprint() == logged.victim.fingerprint() == silent.scene.kept.facts.fingerprint
    assert [point["step"] for point in logged.curve] == list(range(2 * PER_EPOCH))
    assert all(np.isfinite(point["advantage"]) for point in logged.curve)


@pytest.mark.slow
def test_log_scores_the_guesser_on_the_weights_of_that_moment(attempt: Try) -> None:
    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            view.log(number, lambda z: z.clamp(0, 1))

    tried = attempt(look, "STEPS|SMASHED", model={"name": "toy_chain", "identity": True}, cut=1)
    assert [point["advantage"] for point in tried.curve] == [1.0] * 2 * PER_EPOCH  # the client changes nothing
    moving = attempt(look, "STEPS|SMASHED", cut=1)
    assert len({point["advantage"] for point in moving.curve}) == 2 * PER_EPOCH


# Tampering ----------------------------------------------------------------------------------------

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "lr": 0.1}


def test_reply_is_what_moves_the_client(attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    real, bottoms, inputs, moves = attempt_module.training_of, [], [], []

    def spied(made: victim.Victim) -> Any:
        bottoms.append(made.split.bottom)
        bottoms[-1].register_forward_hook(lambda module, args, out: inputs.append(args[0].clone()))
        return real(made)

    def look(view: View) -> None:
        step = next(view.steps)
        (weight, _), x, g = bottoms[-1].parameters(), inputs[-1], torch.rand_like(step.smashed)
        before = weight.detach().clone()
        step.reply(g)
        next(view.steps)
        moves.append((before - weight.detach(), PLAIN["lr"] * g.T @ x))  # z = x W^T + b: dL/dW = g^T x

    monkeypatch.setattr(attempt_module, "training_of", spied)
    attempt(look, "SMASHED|STEPS|TAMPER", cut=1, train=PLAIN)
    torch.testing.assert_close(*moves[0], rtol=1e-4, atol=1e-6)


def test_a_reply_of_zeros_freezes_the_client_but_not_the_server(attempt: Try) -> None:
    def look(view: View) -> None:
        for _, step in zip(range(PER_EPOCH), view.steps, strict=False):
            step.reply(torch.zeros_like(step.smashed))

    tried = attempt(look, "SMASHED|STEPS|TAMPER", cut=1, train=PLAIN)
    start = victim.fresh(tried.scene.case, tried.scene.data).split
    now = tried.victim.split
    assert all(map(torch.equal, start.bottom.parameters(), now.bottom.parameters()))
    assert not any(map(torch.equal, start.top[-1].parameters(), now.top[-1].parameters()))


def test_a_reply_of_the_honest_gradient_changes_nothing(attempt: Try) -> None:
    def look(view: View) -> None:
        for _, step in zip(range(2 * PER_EPOCH), view.steps, strict=False):
            step.reply(step.gradient)

    tried = attempt(look, "GRADIENT|STEPS|TAMPER", train=PLAIN)
    assert tried.training.steps_done == 2 * PER_EPOCH - 1  # the last step was left in the middle
    assert tried.scene.kept.facts.learned.steps == 2 * PER_EPOCH


@pytest.mark.parametrize("shape", [(16, 5), (15, 8), (8,)], ids=str)
def test_a_reply_of_another_shape_is_refused(attempt: Try, shape: tuple[int, ...]) -> None:
    def look(view: View) -> None:
        step = next(view.steps)
        with pytest.raises(BadInput, match=r"step.reply: gradient of shape .* the client sent \(16, 8\)"):
            step.reply(torch.zeros(shape))

    attempt(look, "STEPS|TAMPER", cut=2)


@pytest.mark.parametrize("pulls", [1, 3, 7 * PER_EPOCH + 2])
def test_a_hijacker_ends_training_by_ceasing_to_pull_and_may_go_past_the_epochs(attempt: Try, pulls: int) -> None:
    epochs: list[int] = []

    def look(view: View) -> None:
        for number, step in enumerate(view.steps, start=1):
            epochs.append(step.epoch)
            if number == pulls:
                return

    tried = attempt(look, "STEPS|TAMPER")
    assert tried.training.steps_done == pulls - 1  # the step in hand was never answered
    assert max(epochs) == (pulls - 1) // PER_EPOCH
    assert not tried.victim.split.training


def test_the_reply_to_the_last_step_that_was_pulled_is_never_sent(attempt: Try) -> None:
    def look(view: View) -> None:
        step = next(view.steps)
        step.reply(torch.ones_like(step.smashed))
        assert len(view.smashed) == view.targets  # what comes after training ends it

    assert attempt(look, "SMASHED|STEPS|TAMPER").training.steps_done == 0
