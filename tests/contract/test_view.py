"""A view holds what was granted and nothing else, and whatever is read is a copy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.contract import BadInput, Goal, Grant, NotGranted, Step, View, threats
from splitleak.contract.gate import Gate, Granted
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

Try = Callable[..., Attempt]
VIEW = {
    "smashed": "SMASHED", "gradient": "GRADIENT", "features": "SMASHED", "gradient_features": "GRADIENT",
    "labels": "LABELS", "inputs": "INPUTS", "hints": "HINTS", "aux": "AUX", "aux_labels": "AUX_LABELS",
    "aux_property": "AUX_LABELS", "aux_persons": "AUX_LABELS", "pairs": "PAIRS", "top": "TOP", "bottom": "BOTTOM",
    "fresh_bottom": "ARCHITECTURE", "query": "QUERY", "defense": "DEFENSE", "steps": "STEPS", "log": "SMASHED",
    "updates": "UPDATES", "fresh_model": "ARCHITECTURE", "shadows": "SHADOWS",
}  # fmt: skip
STEP = {
    "smashed": "SMASHED", "gradient": "GRADIENT", "features": "SMASHED", "gradient_features": "GRADIENT",
    "labels": "LABELS", "top": "TOP", "reply": "TAMPER",
}  # fmt: skip
MODELS = {"vanilla": ("toy_flat", "toy_chain"), "u_shape": ("toy_images", "toy_skips")}


def offered(cls: type[Gate]) -> set[str]:
    """What a view or a step offers by a grant: its properties and methods, found by themselves."""
    found = {
        name for name, value in vars(cls).items() if inspect.isfunction(value) or isinstance(value, property | Granted)
    }
    return {name for name in found if not name.startswith("_")} - {"has_read", "close", "answer"}


def call(gate: View | Step, name: str) -> object:
    """Read an attribute, or call it with what it wants."""
    found = getattr(gate, name)
    if name == "query":
        return found(torch.zeros(2, *gate.in_shape))
    if name == "log":
        return found(0, lambda z: torch.zeros(len(z)))
    if name == "reply":
        return found(torch.zeros(16, *gate._sources["smashed"]().shape[1:]))
    return found() if callable(found) and name.startswith("fresh_") else found


def refusal(gate: View | Step, name: str) -> str:
    try:
        call(gate, name)
    except NotGranted as error:
        return str(error)
    return ""


def test_the_lists_above_name_all_that_views_and_steps_offer() -> None:
    assert offered(View) == set(VIEW)
    assert offered(Step) == set(STEP)


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
@pytest.mark.parametrize("threat", threats.THREATS)
def test_every_attribute_is_there_exactly_where_its_threat_grants_it(attempt: Try, threat: str, protocol: str) -> None:
    grants = threats.granted(threat, protocol, Goal.PROPERTY, threats.DATA)
    wants = "|".join(g.name for g in (Grant.STEPS, Grant.TAMPER) if g in grants)
    only = {"vanilla": {"features", "gradient_features"}, "u_shape": {"labels"}}[protocol]  # of the other protocol
    seen: dict[str, str] = {}

    def look(view: View) -> None:
        assert view.grants == grants
        if Grant.STEPS in grants:
            step = next(view.steps)
            seen.update({f"step.{name}": refusal(step, name) for name in STEP})
        seen.update({name: refusal(view, name) for name in VIEW})

    dataset, model = MODELS[protocol]
    attempt(look, wants, "property", dataset=dataset, model=model, protocol=protocol, threat=threat,
            clients=1, train={"epochs": 1})  # fmt: skip
    here = {f"step.{name}": g for name, g in STEP.items()} if Grant.STEPS in grants else {}
    for name, grant in (VIEW | here).items():
        if Grant[grant] not in grants:
            assert seen[name] == f"'{name}' was not granted; declare Grant.{grant} in `needs`"
        elif name.removeprefix("step.") in only:
            assert seen[name] == f"there is no '{name}' under this protocol or task"
        else:
            assert seen[name] == "", name


def test_steps_are_told_to_be_declared_by_an_attack_that_did_not(attempt: Try) -> None:
    seen: list[str] = []
    attempt(lambda view: seen.append(refusal(view, "steps")), "TOP", threat="honest_server")
    assert seen == ["'steps' was not granted; declare Grant.STEPS in `needs`"]


def test_a_passive_attack_under_a_tampering_threat_cannot_reply(attempt: Try) -> None:
    seen: list[str] = []
    look = lambda view: seen.extend(refusal(step, "reply") for step in view.steps)  # noqa: E731
    attempt(look, "STEPS", threat="malicious_server")
    assert set(seen) == {"'step.reply' was not granted; declare Grant.TAMPER in `needs`"}


def test_the_view_tells_what_was_read_and_only_that(attempt: Try) -> None:
    def look(view: View) -> None:
        for step in view.steps:
            assert refusal(step, "top") == refusal(step, "smashed") == ""
        assert refusal(view, "aux") == ""
        assert "was not granted" in refusal(view, "pairs")

    tried = attempt(look, "SMASHED|STEPS|TOP")
    assert tried.view.has_read == ["aux", "step.smashed", "step.top", "steps"]


def spoil(found: Any) -> None:
    """Overwrite in place whatever was handed out."""
    if isinstance(found, Tensor):
        found.zero_() if found.dtype != torch.bool else found.logical_not_()
    elif isinstance(found, tuple):
        for one in found:
            spoil(one)
    elif isinstance(found, torch.nn.Module):
        with torch.no_grad():
            for t in found.state_dict().values():
                t.zero_()


def flat(found: Any) -> list[Tensor]:
    if isinstance(found, Tensor):
        return [found.clone()]
    found = found.state_dict().values() if isinstance(found, torch.nn.Module) else found
    return [t.clone() for t in found]


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape"])
def test_whatever_is_read_is_a_copy(attempt: Try, protocol: str) -> None:
    dataset, model = MODELS[protocol]
    names = set(VIEW) - {"query", "defense", "steps", "log", "fresh_bottom", "fresh_model", "updates", "shadows"}
    tensors = names - ({"features", "gradient_features"} if protocol == "vanilla" else {"labels"})
    read: list[str] = []

    def look(view: View) -> None:
        for step in view.steps:
            for name in set(STEP) - {"reply"}:
                if not refusal(step, name):
                    before = flat(getattr(step, name))
                    spoil(getattr(step, name))
                    assert all(map(torch.equal, before, flat(getattr(step, name)))), name
        for name in sorted(tensors):
            before = flat(getattr(view, name))
            spoil(getattr(view, name))
            assert all(map(torch.equal, before, flat(getattr(view, name)))), name
            assert any(t.double().abs().sum() > 0 for t in before), name  # something to spoil
            read.append(name)

    tried = attempt(look, "STEPS", "property", dataset=dataset, model=model, protocol=protocol, threat="oracle",
                    evaluate={"targets": 20})  # fmt: skip
    assert set(read) == tensors
    assert tried.victim.fingerprint() == tried.scene.kept.facts.fingerprint


def test_what_a_copy_of_a_network_carries_is_weights_and_no_gradient(attempt: Try) -> None:
    def look(view: View) -> None:
        for step in view.steps:
            assert all(p.grad is None and not p.requires_grad for p in step.top.parameters())
        for part in (view.bottom, view.top):
            assert not part.training
            assert all(p.grad is None and not p.requires_grad for p in part.parameters())

    attempt(look, "STEPS", "property", threat="oracle")


def test_the_top_of_a_step_is_the_one_before_its_update_and_gone_with_the_next(attempt: Try) -> None:
    def look(view: View) -> None:
        steps, tops, last = view.steps, [], None
        for step in steps:
            if last is not None:
                with pytest.raises(NotGranted, match=r"'step.top' is gone: read it before pulling the next step"):
                    call(last, "top")
            tops.append(torch.cat([p.flatten() for p in step.top.parameters()]))
            last = step
        tops.append(torch.cat([p.flatten() for p in view.top.parameters()]))
        assert all(not torch.equal(a, b) for a, b in pairwise(tops))

    attempt(look, "STEPS|TOP", train={"optimizer": "sgd", "momentum": 0.0})


def test_the_top_before_the_update_explains_the_gradient(attempt: Try) -> None:
    def look(view: View) -> None:
        for step in view.steps:
            z, top = step.smashed.requires_grad_(), step.top
            (g,) = torch.autograd.grad(view.task.loss(top(z), step.labels), z)
            torch.testing.assert_close(g, step.gradient, rtol=1e-5, atol=1e-7)

    attempt(look, "STEPS|TOP|LABELS", model={"name": "toy_chain", "norm": False})


def test_a_query_of_another_shape_is_told_what_records_look_like(attempt: Try) -> None:
    def look(view: View) -> None:
        with pytest.raises(BadInput, match=r"query of shape \(4, 5\): records are \(B, 6\)"):
            view.query(torch.zeros(4, 5))

    attempt(look, "QUERY")


def test_reading_what_comes_after_training_finishes_it_honestly(attempt: Try) -> None:
    released: list[Tensor] = []

    def early(view: View) -> None:
        next(view.steps)
        released.append(view.smashed)
        assert list(view.steps) == []  # they are over

    late = attempt(lambda view: released.append(view.smashed), "SMASHED")
    tried = attempt(early, "STEPS|SMASHED")
    assert torch.equal(*released)
    assert tried.training.steps_done == 2 * 5  # 68 records in batches of 16, two epochs
    assert tried.victim.fingerprint() == late.victim.fingerprint()


@pytest.mark.parametrize("goal", ["inputs", "membership"])
def test_auxiliary_records_hold_no_target(stage: Callable[..., Scene], goal: str) -> None:
    attack = {"name": "toy_read_off", "goal": goal}
    scene = stage(aux="./toy_twin.py", attack=attack, evaluate={"targets": 40})
    rows, targets = ({row.tobytes() for row in x.numpy()} for x in (scene.aux.x, scene.targets.x))
    assert rows & {row.tobytes() for row in scene.data.private.x.numpy()}  # there was something to leave out
    assert not rows & targets
    assert len(scene.targets.id.unique()) == len(scene.targets)  # nor is a copy of one a target of its own


@pytest.mark.parametrize("shared", [False, True])
def test_the_dataset_of_the_victim_as_auxiliary_one_holds_patients_of_targets_only_where_all_parts_do(
    stage: Callable[..., Scene], shared: bool
) -> None:
    scene = stage(dataset={"name": "toy_flat", "shared": shared}, aux="./toy_flat.py", evaluate={"targets": 5})
    assert set(scene.aux.id.tolist()) & set(scene.data.private.id.tolist())
    assert scene.aux.group is not None
    assert scene.targets.group is not None
    assert bool(set(scene.aux.group.tolist()) & set(scene.targets.group.tolist())) is shared


@pytest.mark.parametrize("protocol", ["vanilla", "u_shape", "fedavg"])
@pytest.mark.parametrize("threat", threats.THREATS)
def test_no_attack_is_granted_the_truth_of_its_goal(threat: str, protocol: str) -> None:
    for goal, truth in ((Goal.INPUTS, Grant.INPUTS), (Goal.LABELS, Grant.LABELS)):
        grants = threats.granted(threat, protocol, goal, threats.DATA)
        assert truth not in grants
        assert threats.DATA in grants  # the truth is all that is taken away
        assert threats.objection(threat, protocol, goal, truth, threats.DATA) is not None


@pytest.mark.parametrize(("goal", "name"), [("inputs", "inputs"), ("labels", "labels")])
def test_an_oracle_that_reaches_for_the_truth_of_its_goal_is_refused(attempt: Try, goal: str, name: str) -> None:
    said: list[str] = []
    attempt(lambda view: said.append(refusal(view, name)), "SMASHED", goal, threat="oracle")
    assert f"'{name}' was not granted" in said[0]
