"""Attacks that try to see more than their grants, each by another door of the view; none sees anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak import apart
from splitleak.contract import BadGuess, Goal, Grant, View, threats
from splitleak.score import attempt as attempts
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from .thieves import LENSES, DeepSpy, Perfect, Spy, all_lenses

Try = Callable[..., Attempt]
Stage = Callable[..., Scene]
NOISY = {"name": "laplace_range", "epsilon": 1.0}
forks = pytest.mark.skipif(not apart.possible(), reason="needs Linux")


def advantage(tried: Attempt, guess: Tensor) -> float:
    question = tried.scene.question
    return question.score(question.check(guess, "thief"))["advantage"]


# Log ----------------------------------------------------------------------------------------------


def test_logging_a_hundred_times_after_training_shows_one_message_and_no_other(attempt: Try) -> None:
    seen: list[Tensor] = []

    def look(view: View) -> None:
        for number in range(100):
            assert view.log(number, lambda z: (seen.append(z), torch.zeros(len(z), *view.in_shape))[1]) is None
        seen.append(view.smashed)

    tried = attempt(look, "SMASHED|AUX", defense=NOISY, model={"name": "toy_chain", "identity": True}, cut=1)
    average = torch.stack(seen).mean(0)  # what the thief makes of it: the noise would be a tenth of its size
    torch.testing.assert_close(average, seen[-1])
    assert all(torch.equal(z, seen[-1]) for z in seen)
    assert len(tried.curve) <= 20


@pytest.mark.slow
@forks
def test_logging_while_the_training_goes_on_tells_the_attack_nothing(attempt: Try, tmp_path: Path) -> None:
    seen: list[Tensor] = []
    shared = torch.zeros(8).share_memory_()
    reader, writer = os.pipe()

    def thief(z: Tensor) -> Tensor:
        seen.append(z)
        for way in (
            lambda: (tmp_path / "stolen").write_text(str(z.tolist())),
            lambda: os.write(writer, b"stolen"),
        ):
            with pytest.raises(OSError):  # noqa: PT011
                way()
        return z.clamp(0, 1)

    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            for _ in range(10):
                assert view.log(number, thief) is None
            assert not seen

    where = {"defense": NOISY, "model": {"name": "toy_chain", "identity": True}, "cut": 1}
    tried = attempt(look, "SMASHED|STEPS", **where)
    os.close(writer)
    assert not seen
    assert not shared.any()
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert not (tmp_path / "stolen").exists() or not (tmp_path / "stolen").read_bytes()
    assert [point["step"] for point in tried.curve] == list(range(10))  # once in each step


@pytest.mark.slow
@forks
def test_the_curve_is_a_few_points_spread_over_the_calls(attempt: Try) -> None:
    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            view.log(number, lambda z: z.clamp(0, 1))

    identity = {"model": {"name": "toy_chain", "identity": True}, "cut": 1}
    tried = attempt(look, "SMASHED|STEPS", train={"epochs": 10}, **identity)
    assert [point["step"] for point in tried.curve] == list(range(0, 50, 4))
    assert {point["advantage"] for point in tried.curve} == {1.0}


@pytest.mark.slow
@forks
def test_a_guesser_that_fails_is_told_after_the_attack_and_fails_its_cell(attempt: Try) -> None:
    told: list[str] = []

    def bad(z: Tensor) -> Tensor:
        if float(z.mean()) < 10:  # a bit of what it saw, as an exception
            raise ValueError("my guesser is broken")
        return z

    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            view.log(number, bad)
        told.append("went on")

    with pytest.raises(BadGuess, match=r"\(log\): ValueError: my guesser is broken"):
        attempt(look, "SMASHED|STEPS")
    with pytest.raises(BadGuess, match=r"guess has shape \(2,\), goal INPUTS needs"):
        attempt(lambda view: [view.log(0, lambda z: torch.zeros(2)) for _ in view.steps] and None, "SMASHED|STEPS")
    assert told == ["went on"]


@forks
def test_no_process_waits_for_an_attack_that_has_failed(attempt: Try) -> None:
    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            view.log(number, lambda z: z)
        raise ValueError("broken")

    before = children()
    with pytest.raises(ValueError, match="broken"):
        attempt(look, "SMASHED|STEPS")
    assert children() == before


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_where_no_process_can_be_forked_the_guesser_does_not_run_before_the_training_is_over(
    attempt: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts.apart, "possible", lambda: False)
    seen: list[Tensor] = []

    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            view.log(number, lambda z: (seen.append(z), z.clamp(0, 1))[1])
        assert not seen

    assert attempt(look, "SMASHED|STEPS").curve == []


# Hooks and modes of torch -------------------------------------------------------------------------

RECORDS = torch.zeros(2, 6)
READS: dict[str, Callable[[View], object]] = {
    "steps": lambda view: [None for _ in view.steps],
    "smashed": lambda view: view._read("smashed", Grant.SMASHED),  # without the copy, which is the attack's own
    "query": lambda view: view._read("query", Grant.QUERY)(RECORDS),
    "pairs": lambda view: view._read("pairs", Grant.PAIRS),
    "hints": lambda view: view._read("hints", Grant.HINTS),
    "top": lambda view: view._read("top", Grant.TOP),
}


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("read", READS)
def test_hooks_and_modes_see_nothing_of_the_victim(attempt: Try, lens: str, read: str) -> None:
    seen: list[object] = []

    def look(view: View) -> None:
        if read != "steps":
            list(view.steps)
        with LENSES[lens](seen.append):
            READS[read](view)
            assert not seen
            net = torch.nn.Linear(2, 2)
            net(torch.zeros(1, 2)).sum().backward()
            assert seen  # it is switched on again for the attack

    attempt(look, "STEPS", "labels", threat="oracle", defense=NOISY, evaluate={"targets": 20})


def test_they_see_nothing_of_a_federation_that_is_trained_again(attempt: Try) -> None:
    seen: list[object] = []

    def look(view: View) -> None:
        with all_lenses(seen.append):
            view._read("updates", Grant.UPDATES)
            assert not seen

    pytest.importorskip("flwr")
    attempt(look, "UPDATES", protocol={"name": "fedavg", "rounds": 1}, model=PLAIN, clients=1)


PLAIN = {"name": "toy_chain", "norm": False}


def test_what_an_attack_leaves_switched_on_is_off_after_it(attempt: Try) -> None:
    seen: list[object] = []
    left_on = [lens(seen.append) for lens in LENSES.values()]
    attempt(lambda view: [lens.__enter__() for lens in left_on] and None, "SMASHED")
    seen.clear()
    torch.nn.Linear(2, 2)(torch.zeros(1, 2)).sum().backward()
    assert not seen


# Tensors with code in them ------------------------------------------------------------------------


def test_a_query_cannot_carry_code_into_the_client(attempt: Try) -> None:
    def look(view: View) -> None:
        x = torch.rand(4, *view.in_shape)
        honest = view.query(x)
        for spy in (x.as_subclass(Spy), DeepSpy(x)):
            Spy.seen, DeepSpy.seen = [], []
            answer = view.query(spy)
            assert type(answer) is Tensor
            assert torch.equal(answer, honest)
            assert [t for t in (*Spy.seen, *DeepSpy.seen) if isinstance(t, torch.nn.Parameter)] == []

    attempt(look, "QUERY")


def test_a_reply_cannot_carry_code_into_the_client(attempt: Try) -> None:
    def look(view: View) -> None:
        steps = view.steps
        for _ in range(3):
            step = next(steps)
            step.reply(DeepSpy(step.gradient))
            DeepSpy.seen = []
            next(steps)  # the client moves by the reply
            assert not DeepSpy.seen

    attempt(look, "GRADIENT|STEPS|TAMPER", cut=2, model=PLAIN)


def test_only_reply_answers_a_step(attempt: Try) -> None:
    def look(view: View) -> None:
        for step in view.steps:
            with pytest.raises(AttributeError):
                step.answer = DeepSpy(step.gradient)  # type: ignore[misc]

    attempt(look, "GRADIENT|STEPS")


def test_a_guess_cannot_become_the_truth_when_it_is_compared(attempt: Try) -> None:
    guesses: list[Tensor] = []

    def look(view: View) -> Tensor:
        guesses.append(torch.rand(view.targets, *view.in_shape))
        return guesses[0].as_subclass(Perfect)

    tried = attempt(look, "SMASHED")
    assert advantage(tried, guesses[0].as_subclass(Perfect)) == advantage(tried, guesses[0]) < 0


# Places and copies --------------------------------------------------------------------------------


def test_the_place_of_a_hint_tells_nothing_about_targets_that_count(stage: Stage) -> None:
    scene = stage(attack="cosine", protocol="u_shape")
    wrong = 0
    for draw in range(6):
        drawn = replace(scene, draw=draw)
        for place, label in zip(drawn.hints.tolist(), scene.targets.y[drawn.hints].tolist(), strict=True):
            wrong += int((scene.targets.y[:place] == label).sum())  # "none before the first"
        if draw == 0:
            assert wrong
    assert wrong > 30


def test_the_order_of_the_targets_is_not_that_of_the_records(stage: Stage) -> None:
    """Datasets come sorted by class or person: neither may be read off a place."""
    scene = stage(dataset={"name": "toy_flat", "n": 404}, evaluate={"targets": 200})
    places = torch.stack([torch.arange(200.0), scene.targets.id.float()])
    assert abs(float(torch.corrcoef(places)[0, 1])) < 0.2


def test_pairs_hold_no_target_under_another_identity(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = stage(attack={"name": "toy_probe", "wants": "PAIRS"}, threat="oracle", evaluate={"targets": 40})
    private = staged.data.private
    renamed = replace(staged.data, private=replace(private, id=torch.arange(len(private))))  # four copies, eight names
    scene = Scene(staged.case, renamed, staged.kept)
    others = {tuple(row) for row in private.x[~torch.isin(renamed.private.id, scene.targets.id)].tolist()}
    targets = {tuple(row) for row in scene.targets.x.tolist()}
    assert others & targets  # there was something to leave out
    pairs = Attempt(scene).view.pairs
    assert len(pairs[0]) == len(pairs[1]) == 28 - len(others & targets)
    assert not {tuple(row) for row in pairs[0].tolist()} & targets


def test_only_the_oracle_holds_targets_together_with_what_would_undo_their_noise() -> None:
    """Who has a target and may send it again and again averages the defence away, and needs no attack."""
    for name in set(threats.THREATS) - {"oracle"}:
        for goal in Goal:
            grants = threats.granted(name, "vanilla", goal, threats.DATA)
            assert not (Grant.INPUTS in grants and Grant.QUERY in grants), name
            assert Grant.PAIRS not in grants, name


# What hangs on what is handed out -----------------------------------------------------------------

FRAMES = ("gi_frame", "cr_frame", "ag_frame", "f_locals")


def reach(start: object) -> list[Any]:
    """All that hangs on an object by names without an underscore, in containers, closures and bound methods."""
    found: dict[int, Any] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) in found or isinstance(one, type | str | int | float | ModuleType):
            continue
        found[id(one)] = one
        waiting += nearest(one)
    return [*found.values()]


def nearest(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set):
        return [*one]
    cells = [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
    bound = [getattr(one, name) for name in ("__self__", "func", "args", "keywords", *FRAMES) if hasattr(one, name)]
    hides = isinstance(one, View) or type(one).__name__ == "Step"  # their underscores are the harness's
    named = [value for name, value in getattr(one, "__dict__", {}).items() if not (hides and name.startswith("_"))]
    return [*cells, *bound, *named]


@pytest.mark.parametrize("defense", ["none", "laplace_range", "toy_learned", "nopeek", "proxy_adversary", "label_dp"])
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_nothing_of_the_victim_hangs_on_what_is_handed_out(
    attempt: Try, defense: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []

    def look(view: View) -> None:
        steps = view.steps
        handed.extend([step, step.top, step.smashed, step.gradient] for step in steps)
        handed.append([view, steps, view.top, view.bottom, view.fresh_bottom(), view.defense, view.query, view.facts])
        handed.append([view.smashed, view.gradient, view.aux, view.pairs, view.hints, view.query(view.aux)])

    tried = attempt(look, "STEPS", "property", threat="oracle", defense=defense, protocol=protocol,
                    evaluate={"targets": 20})  # fmt: skip
    forbidden = {id(one) for one in (
        tried, tried.scene, tried.victim, tried.victim.split, tried.victim.live, tried.training,
        tried.scene.case.defense, tried.scene.data, tried.scene.data.task
    )}  # fmt: skip
    data = tried.scene.data
    tensors = [*tried.victim.tensors().values(), data.private.x, data.private.y, data.aux.x, tried.scene.targets.x]
    storages = {t.untyped_storage().data_ptr() for t in tensors if t.numel()}
    for one in reach(handed):
        assert id(one) not in forbidden, type(one)
        if isinstance(one, Tensor) and one.numel():
            assert one.untyped_storage().data_ptr() not in storages
            assert one.grad_fn is None
            assert one.grad is None
