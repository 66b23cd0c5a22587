"""Attacks on what messages tell about people, where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.attacks.linkage import Linkage
from splitleak.attacks.property_probe import PropertyProbe
from splitleak.contract import BadInput, Grant, Task, View
from splitleak.contract.view import Facts
from splitleak.defenses.none import NoDefense
from splitleak.pieces.components import best_map, deviations, folds_of, leading
from splitleak.pieces.pairs import linkage_auc
from splitleak.pieces.probe import Examples, best_rule, ridges
from splitleak.score.per_target import auc

WIDTH, PEOPLE, EACH = 12, 40, 8
Send = Callable[[Tensor], Tensor]


def records(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Records x (n, WIDTH) of people (n,): values 0 to 5 are the person's, the rest vary; the answer is value 0 > 0."""
    generator = torch.Generator().manual_seed(seed)
    person = torch.arange(PEOPLE).repeat_interleave(EACH)
    own = torch.randn(PEOPLE, WIDTH, generator=generator)
    own[:, 0] += own[:, 0].sign()  # nobody is between the two answers
    x = own[person] + 0.3 * torch.randn(len(person), WIDTH, generator=generator)
    x[:, 6:] = 3 * torch.randn(len(person), WIDTH - 6, generator=generator)
    return x, person, (own[person, 0] > 0).long()


def view_of(send: Send, query: Send | None = None, **more: Any) -> View:
    """A client whose messages are send(x), for targets of other people than the auxiliary ones."""
    x, person, yes = records(1)
    z = send(records(0)[0])
    tensors = {"smashed": z, "aux": x, "aux_property": yes, "aux_persons": person} | more
    sources: dict[str, Callable[[], Any]] = {
        name: lambda t=t: t  # type: ignore[misc]
        for name, t in tensors.items()
        if t is not None
    }
    sources |= {"query": lambda: query or send, "defense": NoDefense}
    grants = Grant.SMASHED | Grant.AUX | Grant.AUX_LABELS | Grant.QUERY | Grant.DEFENSE
    return View(Facts((WIDTH,), (-9, 9), tuple(z.shape[1:]), None, Task("classes", 2), 32, len(z)), grants, sources)


def plain(x: Tensor) -> Tensor:
    return x


def nothing(x: Tensor) -> Tensor:
    return torch.randn(len(x), WIDTH)


def noisy(x: Tensor) -> Tensor:
    """Noise drowns values 0 to 2, of which the answer is the first; value 3 still tells it where it repeats it."""
    return x + torch.cat([8 * torch.randn(len(x), 3), torch.zeros(len(x), WIDTH - 3)], 1)


def linked(attack: Linkage, view: View) -> float:
    return linkage_auc(attack.run(view), records(0)[1])


def told(view: View) -> float:
    return auc(PropertyProbe().run(view), records(0)[2])


@pytest.mark.slow
def test_a_client_that_sends_the_records_gives_its_people_away() -> None:
    assert linked(Linkage(learned=True), view_of(plain)) > 0.95
    assert told(view_of(plain)) > 0.95


def test_without_training_data_whitening_links_more_than_the_messages_as_they_are() -> None:
    z = records(0)[0]
    assert linked(Linkage(), view_of(plain)) > linkage_auc(z - z.mean(0), records(0)[1]) + 0.05


@pytest.mark.slow
def test_a_channel_of_noise_gives_nothing_away() -> None:
    for learned in (False, True):
        assert linked(Linkage(learned=learned), view_of(nothing)) == pytest.approx(0.5, abs=0.02)
    assert told(view_of(nothing)) == pytest.approx(0.5, abs=0.1)  # the AUC of 40 people


def test_linkage_learns_the_noise_of_the_defence_from_what_is_sent_and_not_from_the_client_alone() -> None:
    adaptive, not_adaptive = (linked(Linkage(learned=True), view_of(noisy, query)) for query in (noisy, plain))
    assert adaptive > 0.85
    assert not_adaptive < adaptive - 0.1


def repeated(x: Tensor) -> Tensor:
    """Value 3 is a weak copy of value 0."""
    x = x.clone()
    x[:, 3] = 0.5 * x[:, 0]
    return x


@pytest.mark.slow
def test_the_probe_learns_through_the_defence_which_values_can_be_relied_on() -> None:
    adaptive, not_adaptive = (
        told(view_of(lambda x: noisy(repeated(x)), lambda x, last=last: last(repeated(x)))) for last in (noisy, plain)
    )
    assert adaptive > 0.9
    assert not_adaptive < adaptive - 0.1


def test_a_rule_that_knows_the_people_is_not_chosen() -> None:
    """One rule recalls each record's person and is perfect on who was seen; the other is worse there, and holds."""
    x, person, yes = records(2)
    answer = 2.0 * yes.double() - 1
    f = torch.cat([x.double(), person[:, None].double()], 1)

    def recalling(examples: Examples) -> list[Callable[[Tensor], Tensor]]:
        memory = dict(zip(examples.person.tolist(), examples.answer.tolist(), strict=True))
        return [lambda new: torch.tensor([memory.get(int(p), 0.0) for p in new[:, -1].tolist()]).double()]

    def holding(examples: Examples) -> list[Callable[[Tensor], Tensor]]:
        return [lambda new: new[:, 0].sign() * 0.8]

    rule = best_rule(Examples(f, answer, person), [recalling, holding])
    assert rule(f)[0].abs() == pytest.approx(0.8)


def test_people_count_the_same_however_many_records_they_have() -> None:
    f = torch.tensor([[1.0]] * 98 + [[2.0], [3.0]]).double()
    examples = Examples(f, torch.ones(100).double(), torch.tensor([0] * 98 + [1, 2]))
    assert examples.weight.sum() == pytest.approx(1)
    torch.testing.assert_close(examples.weight[[0, 98, 99]].tolist(), [1 / (3 * 98), 1 / 3, 1 / 3])


def test_no_person_is_in_two_folds() -> None:
    person = torch.tensor([7, 7, 3, 3, 3, 9, 1, 1])
    fold = folds_of(person, 4)
    assert len(fold.unique()) == 2
    for p in person.unique():
        assert len(fold[person == p].unique()) == 1


@pytest.mark.slow
def test_without_known_people_the_probe_runs_and_linkage_says_what_it_needs() -> None:
    assert told(view_of(plain, aux_persons=None)) > 0.9
    with pytest.raises(BadInput, match="attack 'linkage': to learn it needs auxiliary records of two known people"):
        Linkage(learned=True).run(view_of(plain, aux_persons=None))


def test_components_hold_what_varies_and_work_for_more_values_than_records() -> None:
    x = torch.randn(300, 4) @ torch.randn(4, 900)
    f = leading(x)(x)
    assert f.shape == (300, 256)
    torch.testing.assert_close(f.square().sum(1).float(), (x - x.mean(0)).square().sum(1), rtol=1e-3, atol=1e-2)
    assert ridges(Examples(f, torch.randn(300).double(), torch.arange(300)))[0](f).shape == (300,)


def test_deviations_are_from_the_own_person() -> None:
    x, person, _ = records(3)
    left = deviations(x.double(), person)
    for p in (0, 39):
        torch.testing.assert_close(left[person == p].mean(0), torch.zeros(WIDTH).double())
    assert best_map(x.double(), person).shape == (WIDTH, WIDTH)
