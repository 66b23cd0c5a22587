"""Hijack detectors: their formulas, what a fake batch does and does not do, honest runs left alone, hijacks stopped."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, pi, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak import apart
from splitleak.attacks import fsha, splitspy
from splitleak.attacks.splitspy import FalseLabelDetector
from splitleak.contract import BadInput, Grant, Step, Task, View
from splitleak.defenses.scrutinizer import separation
from splitleak.defenses.splitguard import LiveSplitGuard, SplitGuard, alarm, score
from splitleak.report import detection
from splitleak.score.attempt import Attempt
from splitleak.score.null import NullChannel
from splitleak.score.scene import Scene
from splitleak.train import victim
from splitleak.train.fit import training_of

Try = Callable[..., Attempt]
Stage = Callable[..., Scene]
Run = Callable[..., list[dict[str, Any]]]
SIGNALS = {"dataset": "toy_signals", "model": "ecg_cnn"}
GUARD = {"name": "splitguard", "p_fake": 0.3, "start": 5, "memory": 60, "policy": "avg-10", "threshold": 0.45}
WATCH = {"name": "scrutinizer", "warmup": 10}
HIJACK = {"name": "fsha", "iterations": 60, "pilot": 30, "width": 16, "curve": 1000}
LONG = {"epochs": 50}  # of four batches


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


# Formulas -----------------------------------------------------------------------------------------


def test_splitguard_scores_as_computed_by_hand() -> None:
    fake = torch.tensor([[0.0, 3.0], [0.0, 5.0]]).double()  # mean (0, 4), mean size 4
    one = torch.tensor([[1.0, 0.0], [3.0, 0.0]]).double()  # mean (2, 0), mean size 2
    two = torch.tensor([[0.5, 0.0], [1.5, 0.0]]).double()  # mean (1, 0), mean size 1
    apart, noise = 4 - 1.5, 2 - 1  # a right angle to the regular ones, none between their halves
    expected = sigmoid(5 * (pi / 2) * apart / (apart + noise)) ** 2
    assert score(fake, one, two) == pytest.approx(expected)
    assert score(1e-6 * fake, 1e-6 * one, 1e-6 * two) == pytest.approx(expected)  # in any unit
    assert score(fake, one, two, 2, 3) == pytest.approx(sigmoid(2 * (pi / 2) * apart / (apart + noise)) ** 3)
    turned = torch.tensor([[1.0, 2.0], [-1.0, 2.0]]).double()  # mean (0, 2), a right angle away; mean size sqrt 5
    apart, noise = 4 - (2 + sqrt(5)) / 2, sqrt(5) - 2
    x = (pi / 4 * apart - pi / 2 * noise) / (apart + noise)
    assert score(fake, one, turned) == pytest.approx(sigmoid(5 * x) ** 2)


def test_splitguard_scores_a_quarter_where_fake_labels_change_nothing() -> None:
    same = torch.randn(1, 9).double().expand(4, -1)
    assert score(same, same, same) == pytest.approx(0.25, abs=1e-4)


def test_policies_read_the_scores_as_they_say() -> None:
    assert alarm([0.9, 0.1], "fast", 0.5)
    assert not alarm([0.1, 0.9], "fast", 0.5)
    assert not alarm([0.1] * 9, "avg-10", 0.5)  # too few to say
    assert alarm([0.9] * 20 + [0.1] * 10, "avg-10", 0.5)
    assert not alarm([0.9] * 20 + [0.1] * 10, "avg-50", 0.5)
    assert alarm([0.1] * 10 + [0.9] * 5 + [0.1] * 4, "voting", 0.5)  # two groups of three; the rest is no group yet
    assert not alarm([0.1] * 5 + [0.9] * 5, "voting", 0.5)


def test_scrutinizer_counts_the_pairs_that_are_in_order() -> None:
    g = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    y = torch.tensor([0, 0, 1, 1])
    assert separation(g, y) == 1
    assert separation(g * torch.tensor([[1e-9], [1.0], [3.0], [1e-12]]), y) == 1  # sizes do not count
    assert separation(g, torch.tensor([0, 1, 0, 1])) == pytest.approx(2 / 8)  # two other pairs are the closest of all
    assert separation(torch.ones(4, 2), y) == 0.5  # all alike: ties count half
    assert separation(g, torch.zeros(4, dtype=torch.long)) is None
    assert separation(torch.zeros(4, 2), y) is None


def test_a_gradient_that_knows_no_label_has_an_area_of_a_half() -> None:
    areas = [separation(torch.randn(32, 20), torch.randint(0, 3, (32,))) for _ in range(50)]
    assert sum(a or 0 for a in areas) / 50 == pytest.approx(0.5, abs=0.02)


# Fake batches -------------------------------------------------------------------------------------


def weights(*parts: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for part in parts for p in part.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_fake_batches_carry_wrong_labels_and_do_not_move_the_client(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = stage(**SIGNALS, defense=GUARD, train={"epochs": 1})
    made = victim.fresh(scene.case, scene.data)
    live, split, inside = made.live, made.split, LiveSplitGuard.batch
    assert isinstance(live, LiveSplitGuard)
    true: list[Tensor] = []
    monkeypatch.setattr(LiveSplitGuard, "batch", lambda guard, x, y: (true.append(y), inside(guard, x, y))[1])
    fakes = []
    steps = training_of(made).steps(Grant.LABELS, set(), endless=True)
    step = next(steps)
    for _ in range(100):
        fake, client, server = live.fake, weights(split.bottom), weights(split.top)
        wrong = step.labels != true[-1]
        step = next(steps)  # the end of the last one
        fakes.append(fake)
        assert (bool(wrong.all()), bool(wrong.any())) == (fake, fake)
        assert same(client, weights(split.bottom)) is fake
        assert not same(server, weights(split.top))  # the server cannot know
    assert not any(fakes[:5])
    assert 15 < sum(fakes) < 45  # 30 % of 95


def test_every_wrong_class_is_as_likely(stage: Stage) -> None:
    live = LiveSplitGuard(SplitGuard(p_fake=0.999, start=0), (4,), 0).train()
    y = torch.full((3000,), 1)
    counts = live.batch(y, y)[1].bincount(minlength=4)
    assert live.fake
    assert counts[1] == 0
    assert all(abs(int(n) - 1000) < 120 for n in counts[[0, 2, 3]])


@pytest.mark.slow
def test_nothing_fake_in_release_queries_log_or_utility(attempt: Try) -> None:
    read: dict[str, Tensor] = {}

    def look(view: View) -> None:
        for i, _ in enumerate(view.steps):
            view.log(i, lambda z: torch.zeros(len(z), *view.in_shape))
        read.update(labels=view.labels, smashed=view.smashed)

    mostly = GUARD | {"p_fake": 0.9, "threshold": 1e-9}
    tried = attempt(look, "SMASHED|LABELS|STEPS", **SIGNALS, defense=mostly, train={"epochs": 10})
    live, targets = tried.victim.live, tried.scene.targets
    assert isinstance(live, LiveSplitGuard)
    assert len(tried.curve) == 20  # of 40 steps
    assert not live.training
    assert torch.equal(read["labels"], targets.y)
    with torch.no_grad():
        assert torch.allclose(read["smashed"], tried.victim.split.bottom(targets.x)[0], atol=1e-6)
    live.fake = True  # whatever the last batch of training was
    z = torch.randn(3, 2, requires_grad=True)
    assert live.smash(z) is z
    assert live.batch(targets.x, targets.y)[1] is targets.y


def test_a_null_channel_gets_no_fake_batches(attempt: Try) -> None:
    tried = attempt(lambda view: [None for _ in view.steps] and None, "STEPS", null=True, **SIGNALS, defense=GUARD)
    null = tried.victim.live
    assert isinstance(null, NullChannel)
    assert isinstance(null.live, LiveSplitGuard)
    assert not null.live.training
    assert null.live.batch(torch.rand(2, 3), torch.tensor([0, 1]))[1].tolist() == [0, 1]


def test_detectors_refuse_labels_that_are_no_classes() -> None:
    values = torch.rand(4, 2)
    with pytest.raises(BadInput, match="'splitguard': it needs labels of classes"):
        LiveSplitGuard(SplitGuard(), (2,), 0).batch(values, values)
    with pytest.raises(BadInput, match="'scrutinizer': it needs labels of classes"):
        separation(values, values)


def test_splitguard_refuses_a_u_shape(run: Run) -> None:
    with pytest.raises(BadInput, match="'splitguard': in a u-shape the client's head would learn"):
        run(**SIGNALS, protocol="u_shape", defense="splitguard")


# Detection ----------------------------------------------------------------------------------------


def only(records: list[dict[str, Any]]) -> dict[str, Any]:
    (record,) = records
    assert record["status"] == "done", record.get("traceback")
    return record


@pytest.mark.slow
@pytest.mark.parametrize("defense", [GUARD, WATCH], ids=lambda d: d["name"])
def test_honest_toy_training_is_left_alone_and_a_blind_hijack_is_stopped(
    stage: Stage, attempt: Try, defense: dict[str, Any]
) -> None:
    scene = stage(**SIGNALS, defense=defense, train=LONG)
    assert scene.kept.facts.learned.detected_at == -1
    assert scene.kept.facts.learned.steps == 200
    pulled = []

    def hijack(view: View) -> None:
        aim = torch.randn(view.cut_shape)
        for step in view.steps:
            pulled.append(step.index)
            step.reply(aim + torch.randn_like(step.smashed))

    tried = attempt(hijack, "SMASHED|STEPS|TAMPER", **SIGNALS, defense=defense, train=LONG)
    assert tried.training is not None
    assert 10 < tried.training.detected_at < 200
    assert len(pulled) == tried.training.detected_at + 1  # the gradient that gave it away moved nothing
    assert tried.training.steps_done == tried.training.detected_at


@pytest.mark.slow
def test_a_detected_hijack_leaves_a_record_of_that_moment(run: Run) -> None:
    record = only(run(**SIGNALS, defense=WATCH | {"threshold": 0.99, "warmup": 0, "window": 3}, attack=HIJACK))
    assert 2 <= record["detected_at"] < 60
    assert record["steps_attacked"] == record["detected_at"]
    assert record["metrics"]["mse"] > 0


# Attacks that adapt -------------------------------------------------------------------------------


class Replies:
    """Which steps of a run got a reply: wraps Step.reply, in a run that has no processes of its own."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(apart, "possible", lambda: False)
        self.at: list[int] = []
        reply = Step.reply
        patch.setattr(Step, "reply", lambda step, g: (self.at.append(4 * step.epoch + step.index), reply(step, g))[1])


@pytest.mark.slow
def test_a_delayed_fsha_sends_nothing_before_its_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(monkeypatch)
    record = only(run(**SIGNALS, attack=HIJACK | {"start": 25}, seed=[1]))
    assert replies.at == [*range(25, 60), *range(25, 60)]  # the attack, and its null twin
    assert record["steps_attacked"] == 60
    assert "step.top" not in record["read"]


@pytest.mark.slow
def test_fsha_without_the_new_fields_answers_every_step(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(monkeypatch)
    record = only(run(**SIGNALS, attack=HIJACK))
    assert replies.at == [*range(60), *range(60)]
    assert not {"step.top", "step.labels"} & set(record["read"])


@pytest.mark.slow
def test_the_spy_knows_false_labels_and_leaves_them_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[bool, bool]] = []
    told: list[bool] = []
    inside, detects = LiveSplitGuard.batch, FalseLabelDetector.detects

    def batch(guard: LiveSplitGuard, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        sent = inside(guard, x, y)
        told.append(guard.fake)
        return sent

    def judge(detector: FalseLabelDetector, step: Step) -> bool:
        found = detects(detector, step)
        judged.append((told[-1], found))
        return found

    monkeypatch.setattr(LiveSplitGuard, "batch", batch)
    monkeypatch.setattr(FalseLabelDetector, "detects", judge)
    replies = Replies(monkeypatch)
    spying = HIJACK | {"name": "splitspy", "iterations": 200, "start": 60}
    defense = GUARD | {"p_fake": 0.1, "start": 20}
    record = only(run(**SIGNALS, attack=spying, defense=defense, train={"epochs": 1}))
    mine = judged[:200]  # before the null twin's
    late = mine[60:]
    fakes, real = [f for t, f in late if t], [f for t, f in late if not t]
    assert len(fakes) >= 5
    assert sum(fakes) >= 0.9 * len(fakes)
    assert sum(real) <= 0.2 * len(real)
    wanted = [i for i, (_, found) in enumerate(mine) if i >= 60 and not found]
    assert replies.at[: len(wanted)] == wanted
    assert {"step.top", "step.labels"} <= set(record["read"])


def test_the_spy_needs_what_it_reads_and_no_u_shape_has_it(run: Run) -> None:
    assert not fsha.FSHA().needs & (Grant.TOP | Grant.LABELS)
    assert splitspy.SplitSpy().needs == fsha.FSHA().needs | Grant.TOP | Grant.LABELS
    (record,) = run(**SIGNALS, protocol="u_shape", attack=HIJACK | {"name": "splitspy"})
    assert record["status"] == "skipped"
    assert "LABELS" in record["why"]


def test_a_spys_threshold_comes_from_the_losses_before() -> None:
    detector = FalseLabelDetector(Task("classes", 2))
    losses = iter([0.5, 0.6, 0.4, 0.5, 0.7, 0.5, 0.45, 2.0, 0.6, 2.5])
    detector.task = type("Fixed", (), {"loss": lambda *_: torch.tensor(next(losses))})()  # type: ignore[assignment]
    step = type("Batch", (), {"top": staticmethod(lambda z: z), "smashed": 0, "labels": 0})()
    found = [detector.detects(step) for _ in range(10)]
    assert [i for i, f in enumerate(found) if f and i > 4] == [7, 9]


# The table ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_summary_counts_runs_detected_and_what_the_attack_had(run: Run) -> None:
    alarm_at = {"name": "toy_alarm", "after": [3, 99]}
    records = run(
        attack=["blind", "toy_hijack"],
        model={"name": "toy_chain", "identity": True},
        cut=1,
        defense=alarm_at,
        seed=[0, 1],
    )
    table = detection.summary([*records, records[0] | {"status": "failed"}]).set_index(["defense", "attack"])
    assert table.loc[("toy_alarm(after=3)", "blind"), ["runs", "detected", "rate", "batches"]].tolist() == [2, 2, 1, 3]
    quiet = table.loc[("toy_alarm(after=99)", "toy_hijack")]
    assert (quiet["detected"], quiet["rate"]) == (0, 0)
    assert quiet[["batches", "advantage_then"]].isna().all()
    hijacked = [r for r in records if r["labels"]["attack"] == "toy_hijack" and r["detected_at"] == 3]
    expected = sum(max(0.0, r["metrics"]["advantage"]) for r in hijacked) / 2
    assert table.loc[("toy_alarm(after=3)", "toy_hijack"), "advantage_then"] == pytest.approx(expected)
