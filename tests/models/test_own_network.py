"""Model `own_network`: parts that are trained already are attacked as they are, and nobody is given their weights."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import splitleak
from splitleak.contract import BadInput, Task
from splitleak.models.own_network import OwnNetwork
from splitleak.plan import plugins
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene

OWN = """
    import torch
    from torch import nn
    def client():
        return nn.Sequential(nn.Conv1d(1, 4, 5), nn.ReLU(inplace=True), nn.Dropout(0.5))
    def server():
        return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(1, 16))
        def forward(self, x):
            return x * self.scale
    def whole():
        return Whole()
    def twice():
        layer = nn.Linear(16, 16)
        return nn.Sequential(layer, layer)
    def number():
        return 3
    def pair():
        class Pair(nn.Module):
            def forward(self, x):
                return x, x
        return Pair()
"""
SHAPE, CLASSES = (1, 16), Task("classes", 3)


def own(folder: Path, **given: Any) -> OwnNetwork:
    (folder / "net.py").write_text(textwrap.dedent(OWN))
    made = plugins.make("model", {"name": "own_network", "client": "net.py:client"} | given, folder)
    assert isinstance(made, OwnNetwork)
    return made


def trained(folder: Path) -> nn.Sequential:
    """A client whose weights lie in a file of the folder."""
    torch.manual_seed(5)
    client = nn.Sequential(nn.Conv1d(1, 4, 5), nn.ReLU(), nn.Dropout(0.5)).eval()
    save_file(client.state_dict(), folder / "client.safetensors")
    return client


def test_it_sends_what_the_client_sends_and_can_be_cut_after_each_of_its_children(tmp_path: Path) -> None:
    client, x = trained(tmp_path), torch.rand(7, *SHAPE)
    model = own(tmp_path, weights="client.safetensors", server="net.py:server")
    assert (model.cuts("vanilla"), model.cuts("u_shape")) == ([3, 1, 2], [])
    for cut in (1, 2, 3):
        split = model.split(SHAPE, CLASSES, cut, "vanilla").eval()
        assert torch.equal(split.bottom(x)[0], client[:cut](x))
        assert split(x).shape == (7, 3)


def test_without_a_servers_part_no_message_changes_the_answer(tmp_path: Path) -> None:
    split = own(tmp_path).split(SHAPE, CLASSES, 3, "vanilla")
    assert torch.equal(split(torch.rand(7, *SHAPE)), torch.zeros(7, 3))


@pytest.mark.parametrize("client", ["net.py:client", "net.py:whole"])
def test_who_knows_the_architecture_does_not_get_the_weights(tmp_path: Path, client: str) -> None:
    model = own(tmp_path, client=client)
    torch.manual_seed(0)
    first = model.split(SHAPE, CLASSES, 1, "vanilla").state_dict()
    torch.manual_seed(0)  # the function gives the same weights again, as one that loads them would
    again = model.untrained(SHAPE, CLASSES, 1, "vanilla").state_dict()
    assert first.keys() == again.keys()
    assert not any(torch.equal(t, again[name]) for name, t in first.items())


def test_a_model_that_gives_its_learned_weights_to_attackers_is_refused(
    stage: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained(tmp_path)
    model = own(tmp_path, weights="client.safetensors").spec("own_network")
    monkeypatch.chdir(tmp_path)
    model |= {name: str(tmp_path / model[name]) for name in ("client", "weights")}
    given: dict[str, Any] = {
        "dataset": {"name": "toy_signals"}, "model": model, "cut": 1, "attack": "unsplit", "train": {"epochs": 0}
    }  # fmt: skip
    view = Attempt(stage(**given)).view
    fresh = view.fresh_bottom().state_dict()
    assert not any(torch.equal(t, found) for t in fresh.values() for found in trained(tmp_path).state_dict().values())
    monkeypatch.setattr(OwnNetwork, "untrained", OwnNetwork.split)
    with pytest.raises(BadInput, match="`untrained` returns them"):
        Attempt(stage(**given)).view.fresh_bottom()


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no function": ({"client": "net.py"}, "client 'net.py': it must be FILE.py:FUNCTION, as in 'net.py:client'"),
    "a function that is not there": ({"client": "net.py:clinet"}, "the file has no function 'clinet'"),
    "no network": ({"client": "net.py:number"}, "returns int; it must return an nn.Module"),
    "shared weights": ({"client": "net.py:twice"}, "two children share weights"),
    "two answers": ({"client": "net.py:pair"}, "returns tuple; it must be a tensor of floats"),
    "other records": ({"client": "net.py:server"}, r"client 'net.py:server' does not take records of shape \(1, 16\)"),
    "another server": ({"server": "net.py:client"}, "server 'net.py:client' does not take what the client sends"),
    "another task": ({"server": "net.py:whole", "client": "net.py:whole"}, "needs \\(3,\\)"),
    "pickled weights": ({"weights": "client.pt"}, "'client.pt' may hold pickled code, which is never read; convert it"),
    "no weights": ({"weights": "nowhere.safetensors"}, "'nowhere.safetensors': no such file"),
    "no safetensors": ({"weights": "net.py"}, "'net.py' is no safetensors file"),
    "weights of another network": (
        {"weights": "other.safetensors"}, r"another network: '0.weight' is \(4, 1, 3\) there and \(4, 1, 5\) in the"
    ),
    "weights that are missing": ({"weights": "few.safetensors"}, r"'0.bias' is nothing there and \(4,\) in the"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, mistake: str) -> None:
    given, message = MISTAKES[mistake]
    save_file(nn.Sequential(nn.Conv1d(1, 4, 3)).state_dict(), tmp_path / "other.safetensors")
    save_file({"0.weight": torch.zeros(4, 1, 5)}, tmp_path / "few.safetensors")
    with pytest.raises(BadInput, match=message) as caught:
        own(tmp_path, **given).split(SHAPE, CLASSES, 1, "vanilla")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_matrix_attacks_weights_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own records and an own client from files: what is attacked is this client, and nothing is trained."""
    client = trained(tmp_path)
    own(tmp_path)
    draw = np.random.default_rng(0)
    for name, n in (("members", 60), ("strangers", 200)):
        np.savez(tmp_path / f"{name}.npz", x=draw.random((n, *SHAPE), dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    matrix = {
        "matrix": {
            "dataset": [{"name": "own_records", "members": "members.npz", "strangers": "strangers.npz"}],
            "model": [{"name": "own_network", "client": "net.py:client", "weights": "client.safetensors"}],
            "cut": [1],
            "attack": ["blind", {"name": "inverse_network", "steps": 200}, "fsha", {"name": "lira", "shadows": 4}],
        },
        "train": {"epochs": 0},
    }
    records = {
        r["labels"]["attack"].partition("(")[0]: r for r in splitleak.run(matrix, "out") if not r["cell"]["tampers"]
    }
    found = records["inverse_network"]
    assert (found["status"], found["metrics"]["advantage"] > 0.3) == ("done", True)
    assert records["lira"]["why"] == "[train] epochs = 0: nothing is trained, and SHADOWS needs a training"
    kept = next((tmp_path / "out" / "victims").glob("*.safetensors"))
    assert client[0].weight.detach().numpy().tobytes() in kept.read_bytes()
