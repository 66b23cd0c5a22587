"""The loopback grid, and the mistakes that a federated matrix may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import splitleak
from splitleak.contract import BadInput
from splitleak.plan import matrix, plugins, points
from splitleak.train.loopback import LoopbackGrid

from .federations import SGD, fed


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


@pytest.mark.slow
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
