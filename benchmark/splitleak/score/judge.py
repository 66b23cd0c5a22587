"""The judge: a fixed classifier that measures how much of the class a reconstruction still shows.

There is one for each dataset. It is trained on the auxiliary records, so it has seen no target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Data, Records
from splitleak.plan.seeds import Stream, seed_for
from splitleak.plan.settings import Train
from splitleak.store import Store, fingerprint
from splitleak.train.provenance import code_hash_of
from splitleak.train.step import make_optimizer, whole_step

EPOCHS = 10


def judge_of(store: Store, data: Data, dataset_key: str) -> nn.Module:
    """The judge of the dataset, kept beside the victims; trained if it is missing, or made by other code or records."""
    key = f"judge-{dataset_key}"
    with Stream(seed_for("judge", dataset_key)):
        network = nets.encoder(data.in_shape, (data.task.size,), 32)
        made_by = {"code": code_hash_of(__file__), "torch": torch.__version__, "records": _digest(data.aux)}
        kept = store.victim(key)
        if kept is not None and kept[1].get("made_by") == made_by:
            network.load_state_dict(kept[0])
        else:
            _train(network, data)
            store.write_victim(key, network.state_dict(), {"judge": dataset_key, "made_by": made_by})
    return network.eval()


def _digest(records: Records) -> str:
    return fingerprint({"x": records.x, "y": records.y})


def _train(network: nn.Module, data: Data) -> None:
    optimizer = make_optimizer(Train())(network.parameters())
    x, y = data.aux.x.cpu(), data.aux.y.cpu()
    for epoch in range(EPOCHS):
        for index in torch.randperm(len(x)).split(64):
            whole_step(network, data.task, optimizer, (x[index], y[index]), f"of the judge (epoch {epoch})")


@torch.no_grad()
def accuracy(network: nn.Module, guess: Tensor, targets: Records) -> float:
    """The share of the guesses (N, *in) that the judge classifies as the class of their target."""
    predicted = torch.cat([network(part.float()).argmax(1) for part in guess.split(256)])
    return float((predicted == targets.y.cpu()).double().mean())
