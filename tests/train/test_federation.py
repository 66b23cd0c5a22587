"""Federated averaging by Flower, against the same written out plainly; who sees what of it, and what hides it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import splitleak
from splitleak.contract import BadInput, Goal, Records, Task, Update, View
from splitleak.contract.threats import THREATS
from splitleak.plan import matrix, plugins, points
from splitleak.score.floor import floor_of
from splitleak.score.question import Question
from splitleak.train import victim
from splitleak.train.division import divide
from splitleak.train.federated import taking_part, weights
from splitleak.train.federation import NOTED
from splitleak.train.loopback import LoopbackGrid
from splitleak.train.party import Party
from splitleak.train.whole import WholeTraining

from ..conftest import TOYS, toy_matrix

pytest.importorskip("flwr")
Toy = Callable[..., Any]
Stage = Callable[..., Any]
Attempt = Callable[..., Any]
SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "batch_size": 8}


def fed(**asked: Any) -> dict[str, Any]:
    return {"name": "fedavg", "rounds": 2, "local_epochs": 1} | asked


def learned(scene: Any) -> dict[str, Tensor]:
    return {name.removeprefix("split."): t for name, t in scene.kept.tensors.items()}


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two networks."""
    return max(float((t.double() - other[name].double()).abs().max()) for name, t in one.items())


# What is learned ----------------------------------------------------------------------------------


def test_one_client_and_one_round_is_training_without_a_federation(stage: Stage) -> None:
    scene = stage(protocol=fed(rounds=1, local_epochs=3), train=SGD, attack="blind")
    cell, data = scene.cell, scene.data
    alone = victim.fresh(scene.case, data)
    WholeTraining(alone.split, data.private, data.task, replace(cell.train, epochs=3), cell.seeds.order).run()
    assert apart(learned(scene), dict(alone.split.state_dict())) == 0


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox"])
def test_rounds_are_those_of_mcmahan_written_out_plainly(stage: Stage, strategy: str) -> None:
    mu = 0.5 if strategy == "fedprox" else 0.0
    scene = stage(protocol=fed(rounds=3, strategy=strategy, proximal_mu=0.5), clients=3, train=SGD, attack="blind")
    cell, data = scene.cell, scene.data
    whole = victim.fresh(scene.case, data).split
    parts = divide(data.private, cell.clients, data.task, cell.seeds.order)
    parties = [Party(k, whole, part, cell.train, cell.seeds.order) for k, part in enumerate(parts)]
    for _ in range(3):
        copies = []
        for party in parties:
            network = copy.deepcopy(whole).train()
            for x, y in party.batches():
                loss = F.cross_entropy(network(x), y)
                pull = sum(
                    ((p - q.detach()) ** 2).sum() for p, q in zip(network.parameters(), whole.parameters(), strict=True)
                )
                slopes = torch.autograd.grad(loss + mu / 2 * pull, list(network.parameters()))
                with torch.no_grad():
                    for p, slope in zip(network.parameters(), slopes, strict=True):
                        p -= 0.1 * slope
            copies.append(network.state_dict())
        share = torch.tensor([len(part) for part in parts]) / len(data.private)
        mean = {n: sum(w * c[n] for w, c in zip(share, copies, strict=True)) for n in weights(whole)}
        whole.load_state_dict(mean, strict=False)
    assert apart(mean, learned(scene)) < 1e-5


def test_fedadam_steps_towards_the_mean_at_the_servers_own_pace(stage: Stage) -> None:
    slow, fast = (
        stage(protocol=fed(strategy="fedadam", server_lr=lr), clients=2, train=SGD, attack="blind")
        for lr in (1e-4, 1e-2)
    )
    first = victim.fresh(slow.case, slow.data).split.state_dict()
    moved = [apart(weights_of(learned(scene)), dict(first)) for scene in (slow, fast)]
    assert 0 < moved[0] < 1e-3 < moved[1]


def test_a_tables_own_optimiser_rate_and_batch_are_those_of_the_clients(stage: Stage) -> None:
    own = {"optimizer": "sgd", "lr": 0.1, "batch_size": 8}
    settings = {"momentum": 0.0, "lr": 3e-3}
    told, asked = (
        stage(protocol=fed(**here), clients=2, train=settings | there, attack="blind")
        for here, there in ((own, {}), ({}, own))
    )
    assert apart(learned(told), learned(asked)) == 0
    assert apart(learned(told), learned(stage(protocol=fed(), clients=2, train=settings, attack="blind"))) > 0


def weights_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if t.is_floating_point() and "running" not in name}


def test_a_fraction_of_the_clients_takes_part_and_others_stay_out(stage: Stage) -> None:
    scene = stage(protocol=fed(rounds=6, fraction=0.5), clients=4, train=SGD, attack="blind")
    told: dict[int, set[int]] = {}
    for number, client, _ in scene.kept.facts.learned.sent:
        told.setdefault(number, set()).add(client)
    assert {len(clients) for clients in told.values()} == {2}
    assert len(set().union(*told.values())) > 2  # not always the same two
    assert [taking_part(f, 4) for f in (0.1, 0.5, 0.99, 1.0)] == [1, 2, 3, 4]


TWICE = """import json, sys, torch
from pathlib import Path
from splitleak.plan import matrix
from splitleak.plan.case import Case
from splitleak.train import victim
from splitleak.train.data import load_data
from splitleak.train.fit import Fit
for given in json.load(sys.stdin):
    case = Case.of(matrix.read(given, Path.cwd()).cells[0], Path.cwd())
    data = load_data(case, torch.device("cpu"))
    made = [victim.fresh(case, data) for _ in range(2)]
    sent = [Fit(one).run().sent for one in made]
    print(json.dumps([sent, [one.fingerprint() for one in made]]))"""


@pytest.mark.slow
def test_the_first_federation_of_a_process_is_like_any_other_of_it() -> None:
    """Flower's own imports draw from Python's random state: they once came between a victim's seed and its clients."""
    asked = [
        toy_matrix(protocol=fed(rounds=6, fraction=0.5), clients=6, train=SGD, defense=defense, attack="blind")
        for defense in (
            "none",
            {"name": "local_dp", "max_norm": 1e-3},
            {"name": "central_dp", "max_norm": 1e-3},
            "secagg",
        )
    ]
    told = subprocess.run(
        [sys.executable, "-P", "-c", TWICE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        cwd=TOYS,
    )
    assert told.returncode == 0, told.stderr
    for line in told.stdout.splitlines():
        (first, again), (one, other) = json.loads(line)
        assert first == again
        assert one == other
    assert len(told.stdout.splitlines()) == len(asked)


def test_utility_is_noted_after_every_round_and_for_every_client(run: Any) -> None:
    (record,) = run(protocol=fed(rounds=4), clients=3, train=SGD, attack="blind")
    assert len(record["utility_curve"]) == 4
    assert record["utility_curve"][-1] == pytest.approx(record["utility"])
    assert len(record["utility_clients"]) == 3
    (seldom,) = run(protocol=fed(rounds=4, utility_every=2), clients=3, train=SGD, attack="blind")
    assert seldom["utility_curve"] == record["utility_curve"][1::2]


def test_bytes_are_all_weights_for_each_client_and_round_shared_out(stage: Stage) -> None:
    from splitleak.score.channel import wire_bytes

    for asked, trained_on in (({"local_epochs": 2}, 2 * 68), ({"local_steps": 3, "batch_size": 4}, 3 * 3 * 4)):
        scene = stage(protocol=fed(**asked), clients=3, train=SGD, attack="blind")
        made = victim.fresh(scene.case, scene.data)
        size = sum(4 * t.numel() for t in weights(made.split).values())
        assert wire_bytes(made) == (round(3 * size / trained_on),) * 2


# What the server sees -----------------------------------------------------------------------------


def test_the_server_of_a_federation_sees_updates_and_nothing_of_a_single_record() -> None:
    seen = {name: threat.on("fedavg") for name, threat in THREATS.items()}
    assert {g.name for g in seen.pop("fed_server")} == {"UPDATES", "ARCHITECTURE", "DEFENSE"}
    assert {g.name for g in seen.pop("oracle")} == {"UPDATES", "ARCHITECTURE", "DEFENSE"}
    assert all(not grants for grants in seen.values())
    assert all(not THREATS["fed_server"].on(protocol) for protocol in ("central", "vanilla", "u_shape"))


def test_updates_are_the_slope_of_the_very_records_that_are_asked_for(attempt: Attempt) -> None:
    """One step of plain SGD: before - after is lr times the mean slope of the batch, and the batch is the group."""

    def look(view: View) -> None:
        model, seen = view.fresh_model(), view.updates
        assert [u.n for u in seen] == [4] * len(seen)
        assert torch.cat([u.targets for u in seen]).sort().values.equal(torch.arange(view.targets))
        found.extend((model, u) for u in seen)

    found: list[tuple[nn.Module, Update]] = []
    asked = fed(rounds=2, local_steps=1, batch_size=4)
    tried = attempt(
        look, "UPDATES|ARCHITECTURE", protocol=asked, clients=2, train=SGD, model={"name": "toy_chain", "norm": False}
    )
    targets = tried.scene.targets
    assert [(u.round, u.client) for _, u in found] == tried.scene.senders
    for model, update in found:
        model.train().load_state_dict(update.before, strict=False)
        loss = F.cross_entropy(model(targets.x[update.targets]), targets.y[update.targets])
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        for (name, _), slope in zip(model.named_parameters(), slopes, strict=True):
            assert torch.allclose(update.before[name] - update.after[name], 0.1 * slope, atol=1e-6)


def test_a_null_twins_updates_have_the_size_of_the_true_ones_and_nothing_else(attempt: Attempt) -> None:
    def look(view: View) -> None:
        seen.append(torch.cat([(u.after[n] - u.before[n]).flatten() for u in view.updates for n in u.before]))

    seen: list[Tensor] = []
    plain = {"model": {"name": "toy_chain", "norm": False}, "protocol": fed(), "clients": 2, "train": SGD}
    for null in (False, True):
        attempt(look, "UPDATES", null=null, **plain)
    assert float(seen[1].std() / seen[0].std()) == pytest.approx(1, abs=0.3)
    assert abs(float(torch.corrcoef(torch.stack(seen))[0, 1])) < 0.5


def test_attacks_on_a_cut_are_skipped_and_say_why(run: Any) -> None:
    (record,) = [r for r in run(protocol=fed(), train=SGD, attack="toy_read_off") if r["status"] == "skipped"]
    assert "under protocol 'fedavg' with this aux does not grant SMASHED" in record["why"]


def test_a_defence_that_does_nothing_here_is_no_row(run: Any) -> None:
    for protocol, defense in ((fed(), "dropout"), ("vanilla", "secagg")):
        (record,) = run(protocol=protocol, defense=defense, train=SGD, attack="blind", out=defense)
        assert record["status"] == "skipped"
        assert record["why"].startswith(f"defense '{defense}")
        assert "does nothing under protocol" in record["why"]


# A guess is a set ---------------------------------------------------------------------------------


def question(n: int, groups: Tensor | None, goal: Goal = Goal.INPUTS) -> Question:
    torch.manual_seed(1)
    x, y = torch.rand(n, 5), torch.arange(n) % 3
    records, aux = Records(x, y, torch.arange(n)), Records(torch.rand(200, 5), torch.arange(200) % 3, torch.arange(200))
    task = Task("classes", 3)
    floor = floor_of(aux, records, task, knows_labels=False)
    truth = x.double() if goal is Goal.INPUTS else y
    return Question(goal, task, (0.0, 1.0), records, truth, floor, torch.arange(n), groups)


def test_a_guess_is_matched_within_its_update_and_not_beyond() -> None:
    asked = question(8, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    within, beyond = torch.tensor([2, 3, 0, 1, 7, 6, 5, 4]), torch.tensor([4, 1, 2, 3, 0, 5, 6, 7])
    perfect = asked.score(asked.check(asked.truth[within], "a"))
    assert perfect["advantage"] == pytest.approx(1)
    assert asked.score(asked.check(asked.truth[beyond], "a"))["advantage"] < 0.9
    assert asked.score(replace(asked, group=None).check(asked.truth[within], "a"))["advantage"] < 0.5


def test_labels_are_matched_within_their_update_too() -> None:
    asked = question(6, torch.tensor([0, 0, 0, 1, 1, 1]), Goal.LABELS)
    said = F.one_hot(torch.tensor([2, 0, 1, 1, 2, 0]), 3).double()
    assert asked.score(asked.check(said, "a"))["label_accuracy"] == 1


def test_where_many_are_sent_together_others_records_are_the_better_blind_guess() -> None:
    for n, kind in ((2, "mean record"), (150, "auxiliary records")):
        asked = question(n, torch.zeros(n, dtype=torch.long))
        aux = Records(torch.rand(200, 5), torch.zeros(200, dtype=torch.long), torch.arange(200))
        floor = asked.with_drawn_floor(aux, 0).floor
        assert floor.kind == kind
        blind = replace(asked, floor=floor)
        assert blind.score(blind.check(floor.inputs, "blind"))["advantage"] == pytest.approx(0, abs=1e-9)


def test_targets_are_the_first_updates_records_each_once(stage: Stage) -> None:
    scene = stage(
        protocol=fed(rounds=9, local_steps=1, batch_size=4),
        clients=2,
        train=SGD,
        attack="blind",
        evaluate={"targets": 18},
    )
    assert len(scene.targets) == 18 == len(scene.targets.id.unique())
    assert max(scene.group.bincount().tolist()) == 4
    assert scene.group.bincount()[:2].tolist() == [4, 4]
    private = scene.data.private
    for k, (number, client) in enumerate(scene.senders):
        rows = next(rows for r, c, rows in scene.kept.facts.learned.sent if (r, c) == (number, client))
        assert set(scene.targets.id[scene.group == k].tolist()) <= set(private.id[rows].tolist())
    assert sum(len(rows) for _, _, rows in scene.kept.facts.learned.sent) < NOTED + 1000


# Attack and defences ------------------------------------------------------------------------------


def attacked(run: Any, defense: Any = "none", out: str = "out") -> dict[str, Any]:
    """Batches of a single record, three of them."""
    (record,) = run(
        protocol=fed(local_steps=1, batch_size=1), clients=2, train=SGD, defense=defense, out=out,
        dataset={"name": "toy_flat", "width": 24}, model={"name": "mlp", "hidden": [[32]]}, evaluate={"targets": 3},
        attack={"name": "gradient_inversion", "tv": 0.0, "iterations": 200},
    )  # fmt: skip
    assert record["status"] == "done", record
    return dict(record)


@pytest.mark.slow
def test_gradient_inversion_finds_a_record_that_was_sent_alone_and_nothing_in_noise(run: Any) -> None:
    record = attacked(run)
    assert record["metrics"]["advantage"] > 0.9
    assert record["null"]["metrics"]["advantage"] < 0.02
    assert record["cell"]["threat"] == "fed_server"


@pytest.mark.slow
def test_central_noise_hides_nothing_from_the_server_and_local_noise_does(run: Any) -> None:
    """The server adds that noise itself, after it has seen the clipped update: its direction is all that is needed."""
    none = attacked(run)["metrics"]["advantage"]
    central = attacked(run, {"name": "central_dp", "max_norm": 0.01}, "central")
    local = attacked(run, {"name": "local_dp", "max_norm": 0.01}, "local")
    assert central["metrics"]["advantage"] > none - 0.1
    assert local["metrics"]["advantage"] < 0.2
    assert central["epsilon"] > central["epsilon_one"] > 0
    assert local["epsilon"] > local["epsilon_one"] > 0


def seen_under(attempt: Attempt, defense: Any, **more: Any) -> list[Update]:
    def look(view: View) -> None:
        seen.extend(view.updates)

    seen: list[Update] = []
    asked = {"protocol": fed(local_steps=1, batch_size=4), "clients": 3, "train": SGD} | more
    attempt(look, "UPDATES", defense=defense, model={"name": "toy_chain", "norm": False}, **asked)
    return seen


def change(update: Update) -> Tensor:
    return torch.cat([(update.after[n] - update.before[n]).flatten() for n in update.before])


def test_a_clipped_update_has_the_norm_that_was_allowed(attempt: Attempt) -> None:
    plain = seen_under(attempt, "none")
    clipped = seen_under(attempt, {"name": "central_dp", "max_norm": 1e-3})
    assert all(float(change(u).norm()) > 2e-3 for u in plain)
    assert all(float(change(u).norm()) == pytest.approx(1e-3, rel=1e-2) for u in clipped)
    assert float(torch.cosine_similarity(change(plain[0]), change(clipped[0]), dim=0)) > 0.999


@pytest.mark.parametrize("name", ["central_dp", "local_dp"])
def test_a_client_that_learned_nothing_is_clipped_like_any_other(stage: Stage, name: str) -> None:
    asked = {"name": name, "max_norm": 1e-6}
    scene = stage(
        model={"name": "toy_chain", "norm": False},
        protocol=fed(),
        clients=2,
        train=SGD | {"lr": 1e-30},
        defense=asked,
        attack="blind",
    )
    assert all(t.isfinite().all() for t in learned(scene).values())


def test_the_noise_of_central_dp_is_in_the_average(stage: Stage) -> None:
    asked = {"protocol": fed(rounds=1), "clients": 2, "train": SGD, "attack": "blind"}
    quiet, loud = (
        learned(stage(defense={"name": "central_dp", "max_norm": 1e-6, "noise_multiplier": z}, **asked))
        for z in (1e-3, 1e5)
    )
    apart_by = torch.cat([(loud[n] - quiet[n]).flatten() for n in weights_of(loud)])
    assert float(apart_by.std()) == pytest.approx(1e5 * 1e-6 / 2, rel=0.1)  # noise * norm / clients


def test_under_secagg_the_server_sees_the_mean_of_all_and_no_client(attempt: Attempt) -> None:
    plain, summed = seen_under(attempt, "none"), seen_under(attempt, "secagg")
    assert {u.client for u in summed} == {-1}
    assert [u.n for u in summed] == [12, 12]
    first = torch.stack([change(u) for u in plain if u.round == 1])
    share = torch.tensor([len(p) for p in parts_of(attempt)], dtype=torch.float)
    mean = (first * (share / share.sum())[:, None]).sum(0)
    assert torch.allclose(change(summed[0]), mean, atol=5e-5)
    assert sorted(len(u.targets) for u in summed) == [12, 12]


def parts_of(attempt: Attempt) -> list[Records]:
    tried = attempt(lambda view: None, "", protocol=fed(), clients=3, train=SGD)
    cell, data = tried.scene.cell, tried.scene.data
    return divide(data.private, cell.clients, data.task, cell.seeds.order)


def test_secagg_alone_is_refused_by_name(run: Any) -> None:
    with pytest.raises(
        BadInput, match="defense 'secagg': strategy fedavg and 1 clients in a round; it takes fedavg and"
    ):
        run(protocol=fed(), clients=1, defense="secagg", train=SGD, attack="blind")


# The grid, the matrix -----------------------------------------------------------------------------


def test_a_client_that_takes_its_message_apart_harms_nobody_else() -> None:
    from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message: Message, context: Any) -> Message:
        message.content["config"].pop("once")
        return Message(message.content, reply_to=message)

    grid = LoopbackGrid(app, 2, lambda message, reply: None)
    shared = RecordDict({"arrays": ArrayRecord(), "config": ConfigRecord({"once": 1})})
    replies = grid.send_and_receive([Message(shared, node, "train") for node in grid.get_node_ids()])
    assert [list(r.content["config"]) for r in replies] == [[], []]
    assert list(shared["config"]) == ["once"]


def cells(**sections: Any) -> list[Any]:
    axes = {"dataset": ["ecg_synthetic"], "model": ["ecg_cnn"], "attack": ["blind"]} | sections.pop("matrix", {})
    return matrix.read({"matrix": axes, **sections}).cells


def test_a_table_on_the_protocol_axis_unfolds_and_wins_over_train() -> None:
    asked = {"name": "fedavg", "local_steps": [1, 4], "strategy": ["fedavg", "fedprox"]}
    found = cells(matrix={"protocol": ["vanilla", asked]}, train={"rounds": 7, "epochs": 3})
    assert [str(c.federated) for c in found] == [
        "None",
        "fedavg(rounds=7, local_steps=1)",
        "fedavg(rounds=7, local_steps=1, strategy=fedprox, proximal_mu=0.1)",
        "fedavg(rounds=7, local_steps=4)",
        "fedavg(rounds=7, local_steps=4, strategy=fedprox, proximal_mu=0.1)",
    ]
    assert "federated" not in found[0].resolved()  # other protocols' keys are what they were


def test_the_leaderboard_names_the_federation(run: Any) -> None:
    records = run(protocol=["central", fed(rounds=1), fed(rounds=2)], train=SGD, attack="blind")
    table = splitleak.leaderboard(records)
    assert list(table["protocol"]) == [
        "central",
        "fedavg(rounds=1, local_epochs=1)",
        "fedavg(rounds=2, local_epochs=1)",
    ]


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (
            {"matrix": {"protocol": [{"name": "fedavg", "round": 3}]}},
            "protocol 'fedavg': no parameter 'round'; did you mean 'rounds'?",
        ),
        ({"matrix": {"protocol": [{"name": "vanilla", "rounds": 3}]}}, "axis 'protocol': 'vanilla' takes no rounds"),
        ({"matrix": {"protocol": ["fedavgg"]}}, "no protocol 'fedavgg'; did you mean 'fedavg'?"),
        (
            {"matrix": {"protocol": ["fedavg"], "cut": [9]}, "train": {"rounds": 0}},
            "[train]: rounds: must be greater than",
        ),
        ({"matrix": {"protocol": ["fedavg"]}, "train": {"strategy": "fedavgm"}}, "[train]: strategy: must be 'fedavg'"),
    ],
)
def test_a_mistake_is_told_in_one_line(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as error:
        cells(**sections)
    assert told in str(error.value)


def test_without_flower_the_matrix_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"run by Flower, which is not installed: pip install 'splitleak\[fed\]'"):
        cells(matrix={"protocol": ["fedavg"]})
    assert cells(matrix={"protocol": ["vanilla"]})


def test_a_federation_that_diverges_is_recorded_as_such(run: Any) -> None:
    (record,) = run(
        protocol=fed(), train=SGD | {"lr": 1e30}, attack="blind", dataset={"name": "toy_flat", "task": "value"}
    )
    assert record["status"] == "diverged"
    assert "of client 0" in record["why"] or "no numbers any more" in record["why"]


def test_batches_of_one_record_under_a_batch_norm_are_told_before_anything_is_trained(run: Any) -> None:
    with pytest.raises(
        BadInput, match=r"model '\./toy_chain\.py' under protocol .*: batches of one record, and its batch"
    ):
        run(protocol=fed(local_steps=1, batch_size=1), train=SGD, attack="blind")


def test_no_federated_defence_imports_flower_when_it_is_named() -> None:
    """Their files are read wherever defences are listed, with Flower installed or not."""
    for name in ("secagg", "central_dp", "local_dp"):
        text = Path(
            plugins.find("defense", name, Path.cwd()).__module__.replace("splitleak.", "").replace(".", "/") + ".py"
        )
        source = (Path(__file__).parents[2] / text).read_text()
        assert not [line for line in source.splitlines() if line.startswith(("import flwr", "from flwr"))]
