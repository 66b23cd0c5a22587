"""A fixed classifier, one a dataset, that tells what of a record's class is still seen in a reconstruction.

It is trained on the auxiliary records, so it has seen no target; the same for every row of a dataset.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Data, Records
from splitleak.plan.seeds import Stream, seed_for
from splitleak.plan.settings import Train
from splitleak.store import Store
from splitleak.train.loop import make_optimizer

EPOCHS = 10


def judge_of(store: Store, data: Data, dataset_key: str) -> nn.Module:
    """The dataset's judge: kept beside the victims, trained if it is not there yet."""
    key = f"judge-{dataset_key}"
    with Stream(seed_for("judge", dataset_key)):
        network = nets.encoder(data.in_shape, (data.task.size,), 32)
        kept = store.victim(key)
        if kept is not None:
            network.load_state_dict(kept[0])
        else:
            _train(network, data)
            store.write_victim(key, network.state_dict(), {"judge": dataset_key})
    return network.eval()


def _train(network: nn.Module, data: Data) -> None:
    optimizer = make_optimizer(Train())(network.parameters())
    x, y = data.aux.x.cpu(), data.aux.y.cpu()
    for _ in range(EPOCHS):
        for index in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            data.task.loss(network(x[index]), y[index]).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, guess: Tensor, targets: Records) -> float:
    """Share of the guesses (N, *in) that the judge puts into their target's class."""
    said = torch.cat([network(part.float()).argmax(1) for part in guess.split(256)])
    return float((said == targets.y.cpu()).double().mean())
