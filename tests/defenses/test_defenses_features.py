"""What six defences of the smashed data have in common."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from splitleak.contract import Defense, Hooks
from splitleak.defenses.dp_sgd import DPSGD
from splitleak.defenses.dropout import Dropout
from splitleak.defenses.nopeek import NoPeek
from splitleak.defenses.quantize import Quantize
from splitleak.defenses.shredder import Shredder
from splitleak.defenses.top_k import TopK
from splitleak.plan.seeds import Stream
from splitleak.score import channel, utility
from splitleak.train import victim
from splitleak.train.fit import Fit

from ..conftest import PLAIN, SETTINGS, watched
from .feature_defenses import Stage, kept, network, spec, staged, steps

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


SENDS: list[Defense] = [Dropout(), TopK(0.3, 0.5), Quantize(2), Shredder(tensors=3)]  # what is sent is changed


ALL: list[Defense] = [*SENDS, NoPeek(), DPSGD()]


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


@pytest.mark.slow
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
