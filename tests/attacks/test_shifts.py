"""The few tensors that a defence adds are found in the messages, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.attacks.linkage import Linkage
from splitleak.contract import Defense, Grant, Task, View
from splitleak.contract.view import Facts
from splitleak.defenses.none import NoDefense
from splitleak.defenses.shredder import Shredder
from splitleak.pieces.pairs import linkage_auc
from splitleak.pieces.shifts import shifts_of, without_shifts
from splitleak.plan import plugins
from splitleak.score.scene import Scene

from .test_attacks_images import IMAGES
from .test_attacks_people import WIDTH, records
from .test_promises import found

CUT = (3, 4)
DEFENSES = plugins.names("defense")


def view_of(z: Tensor, defense: Defense) -> View:
    """Of an eavesdropper who sees these messages."""
    sources: dict[str, Callable[[], Any]] = {"smashed": lambda: z, "defense": lambda: defense}
    facts = Facts((12,), (-9, 9), tuple(z.shape[1:]), None, Task("classes", 2), 32, len(z))
    return View(facts, Grant.SMASHED | Grant.DEFENSE, sources)


def shifted(count: int, size: float) -> tuple[Tensor, Tensor]:
    """Outputs of two classes (400, *cut), and the same with one of `count` tensors added to each."""
    generator = torch.Generator().manual_seed(0)
    apart = torch.randn(2, *CUT, generator=generator)[torch.arange(400) % 2]
    outputs = apart + 0.5 * torch.randn(400, *CUT, generator=generator)
    which = torch.randint(count, (400,), generator=generator)
    return outputs, outputs + size * torch.randn(count, *CUT, generator=generator)[which]


def defense_of(name: str) -> Defense:
    made = plugins.make("defense", {"name": name}, Path(__file__).parent)
    assert isinstance(made, Defense)
    return made


@pytest.mark.parametrize("name", DEFENSES)
def test_only_shredder_adds_one_of_a_few_tensors(name: str) -> None:
    defense = defense_of(name)
    assert shifts_of(defense, (12,), CUT, (-9, 9)) == (defense.tensors if isinstance(defense, Shredder) else 1)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_what_is_left_is_the_output_and_one_tensor_for_all(count: int) -> None:
    """The heaps' means are those of 400 / count messages, so that an error of this order stays."""
    outputs, z = shifted(count, 6.0)
    left = without_shifts(view_of(z, Shredder(tensors=count))) - outputs
    assert left.var(0).mean() < 2 * count / 400 * outputs.var(0).mean()
    assert (z - outputs).var(0).mean() > 10 * outputs.var(0).mean()


def test_messages_of_other_defences_stay_as_they_are_and_no_random_number_is_drawn() -> None:
    z, before = shifted(5, 6.0)[1], torch.random.get_rng_state()
    for name in DEFENSES:
        left = without_shifts(view_of(z, defense_of(name)))
        assert torch.equal(left, z) is not (name == "shredder"), name
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fewer_messages_than_could_show_heaps_stay_as_they_are() -> None:
    z = shifted(5, 6.0)[1][:9]
    assert torch.equal(without_shifts(view_of(z, Shredder(tensors=5))), z)


def test_the_channel_of_who_knows_the_defence_shows_the_record(stage: Callable[..., Scene]) -> None:
    """The client sends the record itself, and the shifts are three times as large."""
    loud = {"name": "shredder", "strength": 0.0, "scale": 1.0}
    scene = stage(**IMAGES, attack="channel", defense=loud, evaluate={"targets": 100})
    assert found(scene) > 0.9
    assert found(scene, aware=False) < 0.5


def test_linkage_of_who_knows_the_defence_is_as_if_there_were_none() -> None:
    x, person, _ = records(0)
    generator = torch.Generator().manual_seed(0)
    bank = 20 * torch.randn(8, WIDTH, generator=generator)
    sent = x + bank[torch.randint(8, (len(x),), generator=generator)]
    plain, aware, unaware = (
        linkage_auc(Linkage().run(view_of(z, defense)), person)
        for z, defense in ((x, NoDefense()), (sent, Shredder()), (sent, NoDefense()))
    )
    assert aware > plain - 0.03
    assert unaware < plain - 0.1
