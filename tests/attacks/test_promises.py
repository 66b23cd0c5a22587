"""Each attack finds what is there to be found, finds nothing in noise, and knows the defence; or a reason stands here.

The folder of attacks is walked: a new attack fails until it has an entry in EVERYTHING, in NOTHING, and in AWARE or in
UNAWARE. An entry names the test that shows the fact for this attack, in this file or in another one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitleak.attacks.cosine import Cosine
from splitleak.attacks.fsha import FSHA
from splitleak.attacks.fsha_published import pilot_and_inverse
from splitleak.attacks.gradient_match import GradientMatch
from splitleak.attacks.membership import Membership
from splitleak.attacks.noisy_labels import NoisyLabels, clusters_of
from splitleak.attacks.similarity import Similarity
from splitleak.contract import Attack, Defense, Grant
from splitleak.defenses.marvell import Marvell
from splitleak.defenses.max_norm import MaxNorm
from splitleak.defenses.none import NoDefense
from splitleak.pieces import only_lines, update
from splitleak.pieces.message_bounds import mean_squared_excess, output_bounds
from splitleak.plan import plugins
from splitleak.plan.seeds import Stream
from splitleak.score import metrics
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

from ..long.mutations import PLANTED
from .test_attacks_images import IMAGES
from .test_attacks_inputs import FLAT, SIGNALS
from .test_attacks_labels import advantage as label_advantage
from .test_attacks_labels import trained_head, vanilla, view_of

Stage = Callable[..., Scene]
FOLDER = Path(__file__).parent
ATTACKS = [name for name in plugins.names("attack") if name != "blind"]  # `blind` is the control: it reads no message

HERE, INPUTS, LABELS = "test_promises.py::test_", "test_attacks_inputs.py::test_", "test_attacks_labels.py::test_"
HIJACK, PICTURES = "test_attacks_hijack.py::test_", "test_attacks_images.py::test_"
SHIFTS = "test_shifts.py::test_"
MAP, FEDERATED = "test_map_search.py::test_", "../train/test_federation_defenses.py::test_"
SDAR, URVFL, FORA = "test_attacks_sdar.py::test_", "test_attacks_urvfl.py::test_", "test_attacks_fora.py::test_"
HEADS, NOISY = f"{LABELS}the_gradients_of_a_head_give_its_labels_away", "test_attacks_noisy_labels.py::test_"
COMPLETION, EXPLOIT = "test_attacks_completion.py::test_", "test_attacks_exploit.py::test_"
INVERSE_LABELS = "test_attacks_inverse_labels.py::test_"
LINEAR = "test_attacks_least_squares.py::test_"
PEOPLE, SHADOWS = "test_attacks_people.py::test_", "test_attacks_shadows.py::test_"

EVERYTHING = {  # a client that changes nothing, or gradients of a known head, leak all that the attack can find
    "adra": f"{PICTURES}a_client_that_changes_nothing_leaks_every_image",
    "channel": f"{HERE}a_client_that_changes_nothing_leaks",
    "completion": f"{COMPLETION}messages_that_tell_the_classes_apart_give_all_labels_and_the_null_finds_nothing",
    "cosine": HEADS,
    "exploit": f"{EXPLOIT}the_labels_of_a_rare_class_are_found_without_hints",
    "fora": f"{FORA}messages_alone_tell_what_was_sent_and_empty_ones_nothing",
    "fsha": f"{HIJACK}a_hijacked_client_leaks_what_noise_does_not",
    "fsha_published": f"{HERE}the_published_hijack_decodes_its_own_code",
    "gradient_inversion": f"{FEDERATED}gradient_inversion_finds_a_record_that_was_sent_alone_and_nothing_in_noise",
    "gradient_match": HEADS,
    "inverse_labels": f"{INVERSE_LABELS}a_client_that_changes_nothing_leaks_the_masks",
    "inverse_network": f"{PICTURES}a_client_that_changes_nothing_leaks_every_image",
    "least_squares": f"{LINEAR}a_linear_client_leaks_everything",
    "linkage": f"{PEOPLE}a_client_that_sends_the_records_gives_its_people_away",
    "lira": f"{SHADOWS}what_was_learned_by_heart_is_told_from_strangers",
    "map_search": f"{MAP}a_client_that_changes_nothing_leaks_everything",
    "membership": f"{LABELS}a_member_has_a_smaller_loss_a_shorter_gradient_and_a_more_confident_output",
    "noisy_labels": f"{NOISY}gradients_that_show_the_labels_give_all_of_them",
    "norm": f"{LABELS}a_rare_class_is_told_by_the_length_and_by_the_direction_of_its_gradients",
    "oracle": f"{MAP}a_client_that_changes_nothing_leaks_everything",
    "oracle_decoder": f"{INPUTS}a_client_that_changes_nothing_leaks_everything",
    "pcat": f"{HERE}a_client_that_changes_nothing_leaks",
    "prior_search": f"{MAP}a_client_that_changes_nothing_leaks_everything",
    "property_probe": f"{PEOPLE}a_client_that_sends_the_records_gives_its_people_away",
    "query_free": f"{INPUTS}a_shadow_that_can_only_be_the_client_is_inverted",
    "rmia": f"{SHADOWS}what_was_learned_by_heart_is_told_from_strangers",
    "rmle": f"{INPUTS}a_client_that_changes_nothing_leaks_everything",
    "sdar": f"{SDAR}a_client_that_changes_nothing_leaks",
    "similarity": HEADS,
    "splitspy": f"{HIJACK}splitspy_is_fsha_but_for_the_batches_that_it_spares",
    "unsplit": f"{INPUTS}a_search_with_the_identity_for_a_clone_is_a_search_for_the_record",
    "urvfl": f"{URVFL}a_hijacked_client_leaks_what_noise_does_not",
}
NOTHING = {  # in messages of noise it finds nothing: an advantage of at most .02
    "adra": f"{PICTURES}noise_tells_nothing_of_an_image",
    "channel": f"{HERE}noise_tells_nothing",
    "completion": f"{COMPLETION}messages_of_noise_give_nothing_away",
    "cosine": f"{LABELS}gradients_of_noise_give_nothing_away",
    "exploit": f"{EXPLOIT}noise_gives_nothing_away",
    "fora": f"{FORA}messages_alone_tell_what_was_sent_and_empty_ones_nothing",
    "fsha": f"{HIJACK}a_hijack_of_a_client_of_noise_leaks_nothing",
    "fsha_published": f"{HERE}noise_tells_nothing",
    "gradient_inversion": f"{FEDERATED}gradient_inversion_finds_a_record_that_was_sent_alone_and_nothing_in_noise",
    "gradient_match": f"{LABELS}gradients_of_noise_give_nothing_away",
    "inverse_labels": f"{INVERSE_LABELS}noise_leaks_no_mask",
    "inverse_network": f"{PICTURES}noise_tells_nothing_of_an_image",
    "least_squares": f"{LINEAR}noise_tells_nothing",
    "linkage": f"{PEOPLE}a_channel_of_noise_gives_nothing_away",
    "lira": f"{SHADOWS}fits_that_do_not_depend_on_membership_give_nothing",
    "map_search": f"{MAP}noise_tells_nothing",
    "membership": f"{HERE}losses_and_gradients_of_noise_tell_no_member",
    "noisy_labels": f"{NOISY}noise_gives_nothing_away",
    "norm": f"{LABELS}gradients_of_noise_give_nothing_away",
    "oracle": f"{MAP}noise_tells_nothing",
    "oracle_decoder": f"{INPUTS}noise_tells_nothing",
    "pcat": f"{HERE}noise_tells_nothing",
    "prior_search": f"{MAP}noise_tells_nothing",
    "property_probe": f"{PEOPLE}a_channel_of_noise_gives_nothing_away",
    "query_free": f"{INPUTS}noise_tells_nothing",
    "rmia": f"{SHADOWS}fits_that_do_not_depend_on_membership_give_nothing",
    "rmle": f"{PICTURES}noise_tells_nothing_of_an_image",
    "sdar": f"{SDAR}the_discriminators_fix_what_the_task_leaves_open_and_empty_messages_tell_nothing",
    "similarity": f"{LABELS}gradients_of_noise_give_nothing_away",
    "splitspy": f"{HIJACK}a_hijack_of_a_client_of_noise_leaks_nothing",
    "unsplit": f"{INPUTS}noise_tells_nothing",
    "urvfl": f"{URVFL}a_hijack_of_a_client_of_noise_leaks_nothing",
}
OF_RECORDS, OF_LABELS = f"{HERE}who_knows_the_defence_finds_more", f"{HERE}who_knows_the_defence_names_more_labels"
CODES = f"{HERE}the_critic_sees_codes_through_the_defence"
AWARE = {  # a test that fails where the attack does not know the defence; a planted mistake shows that it does fail
    "adra": f"{OF_RECORDS}[adra]",
    "channel": f"{SHIFTS}the_channel_of_who_knows_the_defence_shows_the_record",
    "cosine": f"{OF_LABELS}[cosine]",
    "fora": f"{FORA}the_substitute_sends_through_the_defence",
    "fsha": f"{CODES}[fsha]",
    "gradient_match": f"{OF_LABELS}[gradient_match]",
    "inverse_labels": f"{OF_RECORDS}[inverse_labels]",
    "inverse_network": f"{OF_RECORDS}[inverse_network]",
    "least_squares": f"{OF_RECORDS}[least_squares]",
    "linkage": f"{SHIFTS}linkage_of_who_knows_the_defence_is_as_if_there_were_none",
    "lira": f"{SHADOWS}the_shadows_have_the_defence_of_the_victim",
    "map_search": f"{MAP}missing_elements_are_not_elements_of_value_0",
    "noisy_labels": f"{NOISY}a_class_whose_majority_is_sent_as_another_is_found_by_who_knows_the_defence",
    "oracle": f"{OF_RECORDS}[oracle]",
    "oracle_decoder": f"{OF_RECORDS}[oracle_decoder]",
    "pcat": f"{OF_RECORDS}[pcat]",
    "prior_search": f"{MAP}missing_elements_are_not_elements_of_value_0",
    "property_probe": f"{PEOPLE}the_probe_learns_through_the_defence_which_values_can_be_relied_on",
    "query_free": f"{OF_RECORDS}[query_free]",
    "rmia": f"{SHADOWS}the_shadows_have_the_defence_of_the_victim",
    "rmle": f"{OF_RECORDS}[rmle]",
    "sdar": f"{SDAR}the_simulator_sends_through_the_defence",
    "similarity": f"{OF_LABELS}[similarity]",
    "splitspy": f"{CODES}[splitspy]",
    "unsplit": f"{OF_RECORDS}[unsplit]",
    "urvfl": f"{URVFL}the_discriminator_sees_codes_through_the_defence",
}
UNAWARE = {  # why knowing the defence would not help, or who uses the knowledge in its place
    "completion": "it reads messages of its own client part; past the defence, by that part, its null were not empty",
    "exploit": "without hints only the sizes of the groups name them, and label_dp keeps the order of the sizes; two "
    "classes differ by the sign that max_norm hides, and where there are more, lines named fewer labels",
    "fsha_published": "it is as published; `fsha` knows the defence",
    "gradient_inversion": "it compares directions, which clipping leaves alone, and a sum arrives as an update of all",
    "membership": "one threshold for all scores, which no noise reorders in expectation; a flipped label is trained on",
    "norm": "it ranks lengths, and the length is all that max_norm draws anew",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_its_promises_or_says_why_not(name: str) -> None:
    assert (name in AWARE) is not (name in UNAWARE), "one of the two"
    for shown in [EVERYTHING[name], NOTHING[name], *([AWARE[name]] if name in AWARE else [])]:
        file, _, test = shown.partition("::")
        text = (FOLDER / file).resolve().read_text()
        assert f"def {test.partition('[')[0]}(" in text, shown
        assert re.search(rf"\b({name}|{plugins.find('attack', name, FOLDER).__name__})\b", text), f"{name} in {file}"


def test_no_promise_is_of_an_attack_that_is_gone() -> None:
    assert EVERYTHING.keys() | NOTHING.keys() | AWARE.keys() | UNAWARE.keys() == set(ATTACKS)


@pytest.mark.parametrize("name", AWARE)
def test_each_awareness_has_a_planted_mistake_that_takes_it_away(name: str) -> None:
    file, _, test = AWARE[name].partition("::")
    assert any(f"attacks/{file}::{test}" in mistake.tests.split() for mistake in PLANTED)


@pytest.mark.parametrize("name", ATTACKS)
def test_who_knows_the_defence_asks_for_its_algorithm_or_for_what_passes_through_it(name: str) -> None:
    attack = plugins.make("attack", {"name": name}, FOLDER)
    assert isinstance(attack, Attack)
    assert bool(attack.needs & (Grant.DEFENSE | Grant.QUERY | Grant.SHADOWS)) is (name in AWARE)


# Everything and nothing ---------------------------------------------------------------------------

SHORT_PCAT = {"name": "pcat", "align": 10.0, "warmup": 0, "tail": 100, "invert": 150, "width": 16}


def found(scene: Scene, null: bool = False, aware: bool = True) -> float:
    """The advantage; an attacker who is not aware takes the defence for none, and its queries meet none."""
    attempt = Attempt(scene, null)
    attempt.own = Stream(0)
    if not aware:
        sources = attempt.view._sources
        bottom = sources["bottom"]()
        sources["defense"], sources["query"] = NoDefense, lambda: lambda x: bottom(x).detach()
    return float(scene.question.score(attempt.run()[0])["advantage"])


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "least"), [({"name": "channel"}, 0.95), (SHORT_PCAT, 0.5)], ids=["channel", "pcat"])
def test_a_client_that_changes_nothing_leaks(stage: Stage, attack: dict[str, Any], least: float) -> None:
    """`pcat` has an encoder of its own, which learns to send what this client sends."""
    assert found(stage(**IMAGES, attack=attack, evaluate={"targets": 50})) > least


PUBLISHED = {"name": "fsha_published", "iterations": 3, "width": 4, "critic": 8, "curve": 2}


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "toy_static"])
@pytest.mark.parametrize("attack", [{"name": "channel"}, SHORT_PCAT, PUBLISHED], ids=lambda attack: attack["name"])
def test_noise_tells_nothing(stage: Stage, attack: dict[str, Any], defense: str) -> None:
    scene = stage(**IMAGES, attack=attack, defense=defense, evaluate={"targets": 50})
    assert found(scene, null=defense == "none") <= 0.02


def test_the_published_hijack_decodes_its_own_code() -> None:
    """The code is what a client sends that was pulled all the way: to pull one, `fsha_published` takes hours."""
    x = torch.rand(64, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    pilot, inverse = pilot_and_inverse((1, 8, 8), (4, 4, 4), (0.0, 1.0), 16)
    optimizer = torch.optim.Adam([*pilot.parameters(), *inverse.parameters()], 3e-3)
    for _ in range(300):
        update(optimizer, (inverse(pilot(x)) - x).square().mean())
    assert (inverse(pilot(x)) - x).square().mean() < 0.2 * x.var()


def test_losses_and_gradients_of_noise_tell_no_member() -> None:
    n = 20000  # of 500 scores two in three have an area more than .02 from one half
    y, member = torch.randint(0, 3, (n,)), torch.arange(n) % 2
    for source in ("loss", "gradient", "activation"):
        view = vanilla(torch.nn.Identity(), torch.randn(n, 3), y, torch.randn(n, 3))
        scores = Membership(source=source).run(view)  # type: ignore[arg-type]
        assert abs(metrics.scores(scores, member.double())["advantage"]) <= 0.02


# Awareness ----------------------------------------------------------------------------------------

LEFT_OUT, NOISE = {"name": "dropout", "rate": 0.6}, {"name": "laplace_range", "epsilon": 5.0}
KNOWN: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], float]] = {  # victim, parameters, defence, gain
    "adra": (FLAT, {"epochs": 30}, LEFT_OUT, 0.4),
    "inverse_labels": (FLAT | {"protocol": "u_shape"}, {"steps": 300, "width": 8}, LEFT_OUT, 0.05),
    "inverse_network": (FLAT, {"steps": 200, "width": 8}, LEFT_OUT, 0.3),
    "least_squares": (FLAT, {}, LEFT_OUT, 0.3),
    "oracle": (FLAT, {"learn": 60, "steps": 100, "width": 8}, LEFT_OUT, 1.8),
    "oracle_decoder": (FLAT, {"steps": 200, "width": 8}, LEFT_OUT, 1.0),
    "pcat": (SIGNALS, SHORT_PCAT | {"tail": 300, "invert": 300}, NOISE, 0.1),
    "query_free": (FLAT, {"shadow": 10, "tv": 0.0, "start": "mean"}, LEFT_OUT, 1.0),
    "rmle": (FLAT, {}, LEFT_OUT, 0.2),
    "unsplit": (FLAT, {"tv": 0.0, "start": "mean"}, LEFT_OUT, 1.0),
}
SLOW = ("inverse_labels", "inverse_network", "oracle", "oracle_decoder", "pcat")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in KNOWN])
def test_who_knows_the_defence_finds_more(stage: Stage, name: str) -> None:
    victim, parameters, defense, gain = KNOWN[name]
    scene = stage(**victim, attack={"name": name} | parameters, defense=defense, evaluate={"targets": 100})
    assert found(scene) > found(scene, aware=False) + gain


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsha", "urvfl"])
def test_a_hijack_knows_what_noise_does_to_the_code(stage: Stage, name: str) -> None:
    attack = {"name": name, "width": 16, "curve": 1000, "iterations": 800, "pilot": 400}
    scene = stage(**SIGNALS, attack=attack, defense=NOISE, evaluate={"targets": 100})
    assert found(scene) > 0.5
    assert found(scene, aware=False) < 0


@pytest.mark.parametrize("name", ["fsha", "splitspy"])
def test_the_critic_sees_codes_through_the_defence(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    passed: list[Tensor] = []
    seen: list[Tensor] = []
    learn = FSHA._train_critic
    monkeypatch.setattr(NoDefense, "smash", lambda defense, z: (passed.append(z + 1), passed[-1])[1])
    monkeypatch.setattr(FSHA, "_train_critic", lambda own, *given: (seen.append(given[2]), learn(own, *given))[1])
    quick = {"name": name, "iterations": 3, "pilot": 20, "width": 16, "curve": 1000}
    found(stage(**FLAT, attack=quick, evaluate={"targets": 20}))
    assert len(seen) == 3
    assert all(any(code is one for one in passed) for code in seen)
    assert len(passed) > 20  # the pilot's inverse learned from codes that had passed too


NAMING: dict[str, Attack] = {
    "cosine": Cosine(), "gradient_match": GradientMatch(steps=100), "similarity": Similarity()
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMING)
def test_who_knows_the_defence_names_more_labels(name: str) -> None:
    """max_norm reverses gradients of four classes at random, so that their directions cluster no longer; lines do."""
    aware, unaware = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        y, f, g = trained_head(4, [0.4, 0.3, 0.2, 0.1])
        sent = torch.cat([MaxNorm().gradient(a, b) for a, b in zip(g.split(32), y.split(32), strict=True)])
        for defense, scores in ((MaxNorm(), aware), (NoDefense(), unaware)):
            guess = NAMING[name].run(view_of(y, 4, defense=defense, features=f, gradient_features=sent))
            scores.append(label_advantage(guess, y))
    assert sum(aware) / 3 > sum(unaware) / 3 + 0.3


@pytest.mark.parametrize(
    ("defense", "classes", "reverses"),
    [(MaxNorm(), 4, True), (MaxNorm(), 2, False), (Marvell(), 4, False), (NoDefense(), 4, False)], ids=str
)  # fmt: skip
def test_reversed_gradients_are_known_from_the_algorithm(defense: Defense, classes: int, reverses: bool) -> None:
    y, f = torch.arange(8) % classes, torch.randn(8, 3)
    assert only_lines(view_of(y, classes, defense=defense, features=f, gradient_features=f)) is reverses


@pytest.mark.parametrize("name", ["none", "nopeek", "dropout", "top_k", "laplace_range", "quantize", "toy_static"])
def test_a_message_bounds_the_output_as_the_defence_leaves_it(name: str, toy: Callable[..., Any]) -> None:
    defense = toy("defense", name) if name.startswith("toy") else plugins.make("defense", {"name": name}, FOLDER)
    output = torch.randn(600, 4, 8)
    y = defense.smash(output)  # type: ignore[attr-defined]
    low, high = output_bounds(defense, y)  # type: ignore[arg-type]
    if name in ("dropout", "top_k"):
        assert bool(((low - 1e-3 <= output) & (output <= high + 1e-3)).all())
        assert torch.equal(low.isinf(), y == 0) is (name == "dropout")
    elif name == "toy_static":
        assert bool((low.isinf() & high.isinf()).all())  # it says nothing, and no guess is wrong
        assert float(mean_squared_excess(output, (low, high))) == 0
    else:
        assert torch.equal(low, y)
        assert torch.equal(high, y)
        error = float(torch.nn.functional.mse_loss(output, y))
        assert float(mean_squared_excess(output, (low, high))) == pytest.approx(error)


def test_noisy_labels_clusters_lines_too() -> None:
    """Rows that are reversed at random have the clusters of those that are not."""
    y = torch.arange(300) % 3
    g = torch.eye(3, 8)[y] + 0.05 * torch.randn(300, 8)
    g = g * (2 * torch.randint(0, 2, (300, 1)) - 1)
    groups = clusters_of(g, 3, True)
    assert all(len(groups[y == k].unique()) == 1 for k in range(3))
    assert NoisyLabels().needs & Grant.DEFENSE
