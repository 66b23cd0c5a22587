"""What six defences do to the features that are sent, or to the weights behind them, is what they say."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from math import ceil, exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from splitleak.contract import BadInput, Bottom, Defense, Grant, Head, Hooks, Records, Split, Task
from splitleak.defenses.dp_sgd import DPSGD
from splitleak.defenses.dropout import Dropout
from splitleak.defenses.gaussian import Gaussian
from splitleak.defenses.nopeek import NoPeek, distance_correlation
from splitleak.defenses.quantize import Quantize
from splitleak.defenses.shredder import Shredder
from splitleak.defenses.top_k import TopK
from splitleak.jobs.making import privacy
from splitleak.plan.seeds import Stream
from splitleak.plan.settings import Clients, Train
from splitleak.score import channel, utility
from splitleak.score.null import NullChannel
from splitleak.score.scene import Scene
from splitleak.train import victim
from splitleak.train.division import divide
from splitleak.train.fit import Fit
from splitleak.train.loop import Training, exchange, finish
from splitleak.train.victim import Victim

from ..conftest import PLAIN, SETTINGS, watched

TOYS = Path(__file__).parents[1] / "toys"
ONE = Clients()
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")
Stage = Callable[..., Scene]
SENDS: list[Defense] = [Dropout(), TopK(0.3, 0.5), Quantize(2), Shredder(tensors=3)]  # what is sent is changed
ALL: list[Defense] = [*SENDS, NoPeek(), DPSGD()]


def spec(defense: Defense) -> dict[str, Any]:
    return {"name": defense.name} | defense.parameters()


def kept(scene: Scene) -> Victim:
    """The staged victim as another process would have it from its file."""
    made = victim.fresh(scene.case, scene.data)
    made.load(scene.kept.tensors)
    return made


def staged(stage: Stage, defense: Defense, **given: Any) -> Victim:
    return kept(stage(**({"model": PLAIN, "defense": spec(defense)} | given)))


def network(*, head: bool = False, n: int = 40) -> tuple[Split, Records, Task]:
    """A small network without anything that mixes records, cut with an in-place layer at either side."""
    torch.manual_seed(3)
    bottom = Bottom(nn.Linear(5, 12), nn.ReLU(inplace=True), nn.Linear(12, 12), nn.LeakyReLU(inplace=True))
    top = nn.Sequential(nn.Linear(12, 16), nn.ReLU(inplace=True), nn.Linear(16, 8 if head else 3))
    split = Split(bottom, top, Head(nn.ReLU(inplace=True), nn.Linear(8, 3)) if head else None).measure((5,))
    x = torch.randn(n, 5)
    return split, Records(x, x[:, :3].argmax(1), torch.arange(n)), Task("classes", 3)


def steps(
    split: Split, records: Records, task: Task, live: Hooks, batch: int = 16, epochs: int = 1, lr: float = 0.01,
    optimizer: str = "adam", clients: Clients = ONE,
) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    """Train; for every step what the client computed and what crossed."""
    seen: list[Tensor] = []
    handle = split.bottom.register_forward_hook(lambda module, given, made: seen.append(made[0].detach().clone()))
    settings = Train(epochs, batch, lr, optimizer, 0.0)  # type: ignore[arg-type]
    training = Training(split, records, task, live, settings, clients, 0)
    crossed = [step.smashed for step in training.steps(Grant.SMASHED, set())]
    handle.remove()
    return list(zip(seen, crossed, strict=True)) if clients.n == 1 else []


def is_defended(defense: Defense, live: Hooks, z: Tensor, sent: Tensor, *, training: bool) -> bool:
    """The property that each defence promises of z (B, *cut) and what is sent for it."""
    z, sent = z.flatten(1), sent.flatten(1)
    if isinstance(defense, Dropout):
        out = sent == 0
        return torch.allclose(sent, torch.where(out, 0, z / (1 - defense.rate))) and bool(out.any())
    if isinstance(defense, TopK):
        k = max(1, round(defense.keep * z.shape[1]))
        largest = torch.zeros_like(z).scatter(1, z.abs().topk(k).indices, 1) * z
        mine = bool(((sent == 0) | (sent == z)).all() and ((sent != 0).sum(1) <= k).all())
        return mine and not torch.equal(sent, z) and (training or torch.equal(sent, largest))
    if isinstance(defense, Quantize):
        return len(sent.unique()) <= 2**defense.bits and not torch.equal(sent, z)
    bank = live.noise.detach().flatten(1)  # type: ignore[attr-defined]
    return bool(((sent - z)[:, None] - bank).abs().amax(2).amin(1).max() < 1e-5) and bool((bank.abs() > 0).any())


# All of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("defense", SENDS, ids=lambda d: d.name)
@pytest.mark.parametrize("head", [False, True], ids=["vanilla", "u_shape"])
def test_every_message_of_training_is_defended(defense: Defense, head: bool) -> None:
    split, records, task = network(head=head)
    live = defense.begin(split, 0)
    if isinstance(live, nn.Module) and hasattr(live, "noise"):  # it moves after each step: note what it was
        live.noise.requires_grad_(False)
    pairs = steps(split, records, task, live)
    assert len(pairs) == 3
    assert all(is_defended(defense, live, z, sent, training=True) for z, sent in pairs)


@pytest.mark.parametrize("defense", SENDS, ids=lambda d: d.name)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_released_and_asked_for_is_defended(stage: Stage, defense: Defense, setting: str) -> None:
    made = staged(stage, defense, **SETTINGS[setting])
    private = made.data.private
    sent = channel.release(made, private, Stream(1))["smashed"]
    with torch.no_grad(), Stream(2):
        z = made.split.bottom(private.x)[0]
        asked = channel.send(made, private.x, private.x)
    assert is_defended(defense, made.live, z, sent, training=False)
    assert is_defended(defense, made.live, z, asked, training=False)
    random = isinstance(defense, Dropout | Shredder)
    assert torch.equal(sent, asked) is not random  # a fresh draw for each message


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
@pytest.mark.parametrize("setting", ["flat", "masks"])
@pytest.mark.parametrize("defense", ALL, ids=lambda d: d.name)
def test_two_clients_train_under_it_and_it_is_kept(stage: Stage, defense: Defense, setting: str, mode: str) -> None:
    clients = {"n": 2, "mode": mode}
    scene = stage(**({"model": PLAIN, "defense": spec(defense), "clients": clients} | SETTINGS[setting]))
    made, start = kept(scene), victim.fresh(scene.case, scene.data)
    assert made.fingerprint() == scene.kept.facts.fingerprint != start.fingerprint()
    assert all(bool(t.isfinite().all()) for t in made.tensors().values())
    moved = {name for name, t in made.tensors().items() if not torch.equal(t, start.tensors()[name])}
    learns = {"split", "defense"} if isinstance(defense, Quantize | Shredder) else {"split"}
    assert {name.partition(".")[0] for name in moved} == learns


@pytest.mark.parametrize("defense", ALL, ids=lambda d: d.name)
def test_a_kept_victim_sends_bit_for_bit_what_the_trained_one_sends(stage: Stage, defense: Defense) -> None:
    scene = stage(model=PLAIN, defense=spec(defense), protocol="u_shape")
    trained = victim.fresh(scene.case, scene.data)
    Fit(trained).run()
    one, other = (channel.release(made, scene.data.test, Stream(5)) for made in (trained, kept(scene)))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert utility.on_test(trained) == utility.on_test(kept(scene))


@pytest.mark.parametrize("defense", ALL, ids=lambda d: d.name)
def test_an_onlooker_who_logs_at_every_step_does_not_disturb_it(stage: Stage, defense: Defense) -> None:
    for tried in watched(stage, model=PLAIN, defense=spec(defense)):
        assert tried.view.smashed.shape == (len(tried.scene.targets), *tried.view.cut_shape)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_a_whole_run_under_each_ends_well_with_an_onlooker_and_with_a_hijacker(run: Any, protocol: str) -> None:
    attacks = ["toy_read_off", "toy_hijack"]
    found = run(model=PLAIN, defense=[spec(d) for d in ALL], attack=attacks, protocol=protocol)
    assert len(found) == 12
    for record in found:
        assert record["status"] == "done", record["why"]
        claims = record["cell"]["defense"]["name"] == "dp_sgd"
        assert (record.get("epsilon") is not None) is claims


def made_of(cls: type[Defense], **given: object) -> Defense:
    return TypeAdapter(cls).validate_json(json.dumps(given))


@pytest.mark.parametrize(
    ("cls", "name", "bad"),
    [
        *[(NoPeek, "weight", v) for v in (-1, float("inf"), "1")],
        *[(Dropout, "rate", v) for v in (-0.1, 1, 2, True)],
        *[(TopK, "keep", v) for v in (0, 1.1)],
        *[(TopK, "alpha", v) for v in (-0.1, 1.1)],
        *[(Quantize, "bits", v) for v in (0, 17, 1.5)],
        *[(Shredder, "in_vivo", v) for v in (0, -1)],
        *[(Shredder, "tensors", v) for v in (0, 1.5)],
        *[(DPSGD, "noise_multiplier", v) for v in (0, -1)],
        *[(DPSGD, "max_grad_norm", v) for v in (0, -1)],
        *[(DPSGD, "delta", v) for v in (0, 1)],
    ],
)
def test_an_impossible_knob_is_refused(cls: type[Defense], name: str, bad: object) -> None:
    with pytest.raises(ValidationError, match=name):
        made_of(cls, **{name: bad})


# NoPeek -------------------------------------------------------------------------------------------


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


# Dropout ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, 0.3, 0.6, 0.9])
def test_dropout_leaves_out_that_share_and_keeps_the_mean(rate: float) -> None:
    z = torch.full((500, 4, 25), 2.0)
    sent = Dropout(rate).smash(z)
    assert float((sent == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    torch.testing.assert_close(sent[sent != 0], torch.full_like(sent[sent != 0], 2 / (1 - rate)))
    assert float(sent.mean()) == pytest.approx(2, rel=0.03)


def test_dropouts_gradient_passes_through_what_was_sent() -> None:
    z = torch.ones(8, 30, requires_grad=True)
    sent = Dropout(0.75).smash(z)
    (g,) = torch.autograd.grad(sent.sum(), z)
    torch.testing.assert_close(g, sent.detach())  # 0 or 4


# Top-k --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "k"), [(1.0, 60), (0.5, 30), (0.1, 6), (0.001, 1)])
def test_top_k_keeps_the_largest_of_each_record_as_they_are(keep: float, k: int) -> None:
    z = torch.randn(50, 3, 20)
    sent = TopK(keep).smash(z).flatten(1)
    assert ((sent != 0).sum(1) == k).all()
    assert ((sent == z.flatten(1)) | (sent == 0)).all()
    left_out = torch.where(sent == 0, z.flatten(1), torch.zeros(())).abs().amax(1)
    assert (torch.where(sent == 0, torch.inf, sent.abs()).amin(1) >= left_out).all()


def test_top_k_sends_exactly_k_places_where_elements_are_equal() -> None:
    assert (TopK(0.5).smash(torch.ones(4, 10)).sum(1) == 5).all()


@pytest.mark.parametrize("alpha", [0, 0.1, 0.5, 1])
def test_randomised_top_k_takes_that_share_from_outside_in_training_alone(alpha: float) -> None:
    z = torch.randn(4000, 50)
    live = TopK(0.2, alpha).begin(network()[0], 0)
    assert isinstance(live, nn.Module)
    sent, largest = live.train().smash(z), z.abs().topk(10).indices
    chosen = (sent != 0).float()
    assert (chosen.sum(1) == 10).all()
    inside = chosen.gather(1, largest).mean()
    assert float(inside) == pytest.approx(1 - alpha, abs=0.02)
    outside = chosen.scatter(1, largest, 0).sum(0) / chosen.scatter(1, largest, 0).sum().clamp(min=1)
    assert float(outside.max()) < 0.04  # any of them alike: 1 / 50 each
    assert torch.equal(live.eval().smash(z), TopK(0.2, 0).smash(z))


def test_top_k_outside_the_largest_takes_no_more_than_there_are() -> None:
    live = TopK(0.9, 1.0).begin(network()[0], 0)
    assert (((live.smash(torch.ones(30, 10))) != 0).sum(1) == 9).all()


def test_top_ks_gradient_passes_through_the_kept_elements_alone() -> None:
    z = torch.randn(9, 4, 5, requires_grad=True)
    sent = TopK(0.25).smash(z)
    (g,) = torch.autograd.grad((3 * sent).sum(), z)
    assert torch.equal(g, 3.0 * (sent != 0))


# Quantisation -------------------------------------------------------------------------------------


def test_one_bit_is_the_mean_plus_or_minus_a_deviation() -> None:
    z = 5 + 3 * torch.randn(200, 10)
    mean, deviation = z.mean(), z.std(correction=0)
    torch.testing.assert_close(Quantize(1).smash(z), mean + deviation * torch.where(z >= mean, 1.0, -1.0))


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_quantised_values_are_evenly_spaced_and_the_nearest_ones(bits: int) -> None:
    z = torch.randn(5000, 4).clamp(-1.5, 1.5)  # all within the range
    sent = Quantize(bits).smash(z)
    values = sent.unique()
    assert 2 ** (bits - 1) <= len(values) <= 2**bits
    step = 4 * float(z.std(correction=0)) / 2**bits
    torch.testing.assert_close(values.diff(), torch.full_like(values.diff(), step), rtol=0.02, atol=1e-4)
    assert float((sent - z).abs().max()) <= step / 2 + 1e-4


def test_more_bits_are_nearer_to_the_truth() -> None:
    z = torch.randn(300, 20)
    errors = [float((Quantize(bits).smash(z) - z).square().mean()) for bits in (1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True)


def test_the_gradient_passes_straight_through_rounding() -> None:
    z, weight = torch.randn(6, 7, requires_grad=True), torch.randn(6, 7)
    (g,) = torch.autograd.grad((Quantize(1).smash(z) * weight).sum(), z)
    assert torch.equal(g, weight)


def test_the_range_follows_training_and_then_stands_still() -> None:
    live = Quantize(3).begin(network()[0], 0)
    assert isinstance(live, nn.Module)
    batches = [k + (k + 1) * torch.randn(100, 8) for k in range(4)]
    mean, variance = float(batches[0].mean()), float(batches[0].var(correction=0))
    for z in batches:
        live.smash(z)
    for z in batches[1:]:
        mean, variance = 0.9 * mean + 0.1 * float(z.mean()), 0.9 * variance + 0.1 * float(z.var(correction=0))
    state = live.eval().state_dict()
    assert float(state["mean"]) == pytest.approx(mean, rel=1e-4)
    assert float(state["variance"]) == pytest.approx(variance, rel=1e-4)
    z = 100 * torch.randn(10, 8)
    whole = live.smash(z)
    assert torch.equal(whole, torch.cat([live.smash(one) for one in z.split(1)]))  # of its own record alone
    assert all(torch.equal(t, live.state_dict()[name]) for name, t in state.items())


# Shredder -----------------------------------------------------------------------------------------


def shredded(epochs: int = 10, **given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The noise before and after, and z."""
    split, records, task = network(n=128)
    live = Shredder(**given).begin(split, 0)
    assert isinstance(live, nn.Module)
    start = live.noise.detach().clone()
    z = steps(split, records, task, live, batch=32, epochs=epochs)[-1][0]
    return start, live.noise.detach(), z


def test_shredders_noise_begins_as_laplace_noise_of_its_scale() -> None:
    split, _, _ = network()
    noise = Shredder(tensors=2000, scale=0.3).begin(split, 0).noise.detach()  # type: ignore[attr-defined]
    assert noise.shape == (2000, *split.cut_shape)
    assert float(noise.abs().mean()) == pytest.approx(0.3, rel=0.03)
    assert float((noise.abs() > 0.9).float().mean()) == pytest.approx(exp(-3), rel=0.1)


def test_the_tasks_gradient_teaches_the_noise() -> None:
    split, records, task = network()
    live = Shredder(strength=0, tensors=3).begin(split, 0)
    done = exchange(split, live, task, records.x, records.y)
    finish(done, None)
    sent, z = done.wire["smashed"], split.bottom(records.x)[0].detach()
    which = ((sent - z)[:, None] - live.noise.detach()).abs().sum(2).argmin(1)  # type: ignore[attr-defined]
    by_tensor = torch.zeros(3, 12).index_add(0, which, done.wire["gradient"])
    torch.testing.assert_close(live.noise.grad, by_tensor)  # type: ignore[attr-defined]
    start, end, _ = shredded(strength=0)
    assert (start != end).all()


def test_shredders_noise_grows_with_its_strength_up_to_the_wanted_size() -> None:
    def size(strength: float, in_vivo: float) -> float:
        _, noise, z = shredded(epochs=20, strength=strength, in_vivo=in_vivo, scale=0.05, lr=0.05)
        return float(noise.square().mean() / z.square().mean())

    assert size(0, 1e9) < size(0.3, 1e9) < size(30, 1e9)
    small, large = size(30, 0.25), size(30, 1.0)
    assert 0.15 < small < 0.4
    assert 0.6 < large < 1.6


def test_each_record_gets_one_tensor_of_the_bank_and_all_of_them_are_used() -> None:
    live = Shredder(tensors=4).begin(network()[0], 0)
    sent = live.smash(torch.zeros(400, 12)).detach()
    bank, counts = sent.unique(dim=0, return_counts=True)
    assert len(bank) == 4
    assert counts.min() > 60
    assert torch.equal(bank, live.noise.detach().unique(dim=0))  # type: ignore[attr-defined]


def test_a_client_without_weights_still_has_noise_that_learns(stage: Stage) -> None:
    identity = {"name": "toy_chain", "identity": True}
    scene = stage(model=identity, cut=1, defense={"name": "shredder"})
    start = victim.fresh(scene.case, scene.data).tensors()["defense.noise"]
    assert (scene.kept.tensors["defense.noise"] != start).all()


# DP-SGD -------------------------------------------------------------------------------------------

SILENT = 1e-9  # a noise multiplier


def clipped_by_hand(split: Split, records: Records, task: Task, norm: float) -> list[Tensor]:
    """The sum over records of their clipped gradients, one record at a time through the uncut network."""
    params = split.client_parameters()
    total = [torch.zeros_like(p) for p in params]
    for x, y in zip(records.x, records.y, strict=True):
        gradients = torch.autograd.grad(task.loss(split(x[None]), y[None]), params)
        size = torch.cat([g.flatten() for g in gradients]).norm()
        for t, g in zip(total, gradients, strict=True):
            t += g * min(1.0, norm / float(size))
    return total


@pytest.mark.parametrize("head", [False, True], ids=["vanilla", "u_shape"])
@pytest.mark.parametrize("norm", [0.05, 100])
def test_dp_sgd_moves_by_the_mean_of_clipped_gradients(head: bool, norm: float) -> None:
    split, records, task = network(head=head)
    defense = DPSGD(SILENT, norm)
    split = defense.shape(split)
    start = [p.detach().clone() for p in split.client_parameters()]
    wanted = clipped_by_hand(split, records, task, norm)
    steps(split, records, task, defense.begin(split, 0), batch=40, lr=0.5, optimizer="sgd")
    for p, before, total in zip(split.client_parameters(), start, wanted, strict=True):
        torch.testing.assert_close(p.detach(), before - 0.5 * total / 40, rtol=1e-3, atol=1e-5)


def test_dp_sgd_without_clipping_and_noise_is_plain_training_over_many_steps() -> None:
    ends = []
    for defense in (None, DPSGD(SILENT, 100)):
        split, records, task = network(head=True)
        live = Hooks() if defense is None else defense.begin(defense.shape(split), 0)
        steps(split, records, task, live, batch=20, epochs=4, optimizer="sgd", lr=0.1)
        ends.append(torch.cat([p.detach().flatten() for p in split.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)


def test_dp_sgds_noise_has_its_deviation_and_is_divided_by_a_full_batch() -> None:
    moves = []
    for size in (40, 24):  # 24: a second batch of 16, which moves as far as a full one
        split, records, task = network()
        defense = DPSGD(1000.0, 0.01)
        start = torch.cat([p.detach().flatten() for p in defense.shape(split).client_parameters()])
        steps(split, records, task, defense.begin(split, 0), batch=size, lr=1.0, optimizer="sgd")
        end = torch.cat([p.detach().flatten() for p in split.client_parameters()])
        moves.append(float((end - start).std()))
    assert moves[0] == pytest.approx(1000 * 0.01 / 40, rel=0.15)
    assert moves[1] == pytest.approx(sqrt(2) * 1000 * 0.01 / 24, rel=0.15)


def test_dp_sgd_behind_a_null_channel_keeps_no_activations() -> None:
    """No gradient reaches the client there; 8,000 steps of activations were 1.5 GiB."""
    split, records, task = network()
    live = NullChannel(DPSGD().begin(DPSGD().shape(split), 0), split, records.x)
    steps(split, records, task, live, batch=16)
    assert not any(getattr(module, "activations", None) for module in split.bottom.modules())


def test_dp_sgd_changes_neither_keys_nor_what_is_sent(stage: Stage) -> None:
    made = staged(stage, DPSGD(), protocol="u_shape")
    plain = staged(stage, Dropout(), protocol="u_shape")
    assert made.tensors().keys() == plain.tensors().keys()
    sent = channel.release(made, made.data.test, Stream(0))["smashed"]
    with torch.no_grad():
        assert torch.equal(sent, made.split.bottom(made.data.test.x)[0])


def test_after_training_nothing_collects_gradients_of_records() -> None:
    split, records, task = network(head=True)
    defense = DPSGD()
    steps(defense.shape(split), records, task, live := defense.begin(split, 0))
    split.zero_grad()
    for p in split.client_parameters():
        p.grad_sample = None  # type: ignore[attr-defined]
    done = exchange(split, live, task, records.x, records.y, "sum")  # a release: eval mode, gradients of the head
    finish(done, None)
    assert all(p.grad_sample is None for p in split.client_parameters())  # type: ignore[attr-defined]
    for training in (False, True):  # what an attacker has: a copy, to train or to look through
        own = copy.deepcopy(split).train(training)
        task.loss(own(records.x), records.y).backward()
        assert all(p.grad is not None and not hasattr(p, "grad_sample") for p in own.client_parameters())
        guess = torch.zeros(4, 5, requires_grad=True)
        own.requires_grad_(False).bottom(guess)[0].sum().backward()
        assert guess.grad is not None


def test_two_clients_each_collect_their_own_gradients() -> None:
    for mode in ("sequential", "parallel"):
        split, records, task = network(head=True)
        plain, defense = copy.deepcopy(split), DPSGD(SILENT, 100)
        clients = Clients(2, mode)  # type: ignore[arg-type]
        more: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "clients": clients}
        steps(defense.shape(split), records, task, defense.begin(split, 0), batch=10, **more)
        steps(plain, records, task, Hooks(), batch=10, **more)
        for a, b in zip(split.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("dataset", "protocol"), [("toy_flat", "vanilla"), ("toy_images", "u_shape")])
def test_dp_sgd_refuses_batch_norm_at_the_client(stage: Stage, dataset: str, protocol: str) -> None:
    with pytest.raises(BadInput, match=r"defense 'dp_sgd': the client's bottom .*(BatchNorm|batch)"):
        stage(dataset=dataset, protocol=protocol, defense="dp_sgd", cut=2)


def test_dp_sgd_refuses_batch_norm_without_weights_too() -> None:
    for kept in (True, False):
        norm = nn.BatchNorm1d(3, affine=False, track_running_stats=kept)
        with pytest.raises(BadInput, match="BatchNorm1d mixes records"):
            DPSGD().shape(Split(Bottom(nn.Linear(3, 3), norm), nn.Linear(3, 2)))


def test_dp_sgd_takes_group_norm_and_refuses_what_opacus_refuses() -> None:
    grouped = Split(Bottom(nn.Conv1d(1, 4, 3), nn.GroupNorm(2, 4)), nn.Linear(3, 2))
    assert DPSGD().shape(grouped) is grouped
    with pytest.raises(BadInput, match="LSTM"):
        DPSGD().shape(Split(Bottom(nn.LSTM(3, 3)), nn.Linear(3, 2)))


def test_dp_sgd_leaves_the_servers_batch_norm_alone() -> None:
    split = Split(Bottom(nn.Linear(3, 3)), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)))
    assert DPSGD().shape(split) is split


@pytest.mark.parametrize(("noise", "epochs", "batches"), [(1.0, 5, 400), (2.0, 20, 100), (0.6, 1, 30)])
def test_dp_sgds_epsilon_is_the_accountants(noise: float, epochs: int, batches: int) -> None:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    other = RdpAccountant().compose(PoissonSampledDpEvent(1 / batches, GaussianDpEvent(noise)), epochs * batches)
    mine = DPSGD(noise).privacy(epochs + 1, batches)
    assert mine.epsilon == pytest.approx(other.get_epsilon(1e-5), rel=0.03)
    assert mine.delta == 1e-5


def test_epsilon_falls_with_noise_and_sampling_and_grows_with_epochs() -> None:
    def epsilon(noise: float = 1.0, releases: int = 6, batches: int = 50) -> float:
        return DPSGD(noise).privacy(releases, batches).epsilon

    assert epsilon(releases=1) == 0  # nothing was trained
    assert epsilon(noise=0.7) > epsilon() > epsilon(noise=2.0) > 0
    assert epsilon(batches=1) > epsilon(batches=10) > epsilon()
    assert epsilon(releases=2) < epsilon(releases=6) < epsilon(releases=21)
    assert DPSGD().privacy(6, 50).epsilon_one == epsilon(releases=2)


def test_without_sampling_epsilon_bounds_the_exact_composition() -> None:
    from dp_accounting import get_epsilon_gaussian

    for epochs in (1, 4, 20):
        exact = get_epsilon_gaussian(1 / sqrt(epochs), 1e-5)
        assert exact <= DPSGD().privacy(epochs + 1).epsilon < 1.3 * exact


def test_a_record_of_the_client_that_is_worst_off_is_what_is_accounted_for(stage: Stage) -> None:
    for n, batches in ((1, {5}), (5, {1, 2})):  # 36 records of twelve patients, in batches of 8
        made = staged(stage, DPSGD(), dataset="toy_images", train={"batch_size": 8}, clients={"n": n})
        parts = divide(made.data.private, made.recipe.clients, made.data.task, made.recipe.seeds.order)
        assert {ceil(len(part) / 8) for part in parts} == batches
        assert privacy(made).epsilon == max(DPSGD().privacy(3, b).epsilon for b in batches)


def test_an_uncut_network_is_trained_without_a_defence_and_none_is_claimed(stage: Stage) -> None:
    made = staged(stage, Gaussian(), protocol="central", attack="blind")
    assert privacy(made) is None
