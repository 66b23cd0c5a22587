"""A victim: a split trained under a defence, and the channel through which the world sees it."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from splitleak import collapse, metrics, plugins
from splitleak.cell import Cell
from splitleak.contract import Data, Dataset, Defense, Grant, Hooks, Model, Parameters, Protocol, Records
from splitleak.datasets.check import sound
from splitleak.division import divide
from splitleak.errors import BadInput, Diverged
from splitleak.nouns import Objective
from splitleak.seeds import Stream, seed_for
from splitleak.split import Split
from splitleak.store import fingerprint
from splitleak.training import Party, Training, exchange, train_whole

CORE = ("training", "division", "victim", "nouns", "split", "seeds", "resnet")  # files that decide what is learned


@dataclass
class Victim:
    """A network, the live defence around it, and who holds which records."""

    cell: Cell
    data: Data
    split: Split
    live: Hooks
    defense: Defense

    @property
    def protocol(self) -> Protocol:
        return self.cell.protocol

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned: the split's and, if it has any, the live defence's."""
        parts = self.networks().items()
        return {f"{part}.{name}": t for part, module in parts for name, t in module.state_dict().items()}

    def networks(self) -> dict[str, nn.Module]:
        """The split and, if it learns, the live defence."""
        parts: dict[str, Any] = {"split": self.split, "defense": self.live}
        return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        mine = self.tensors()
        if mine.keys() != tensors.keys():
            raise ValueError("the kept victim has other tensors than this network")
        with torch.no_grad():
            for name, t in mine.items():
                t.copy_(tensors[name])
        for network in self.networks().values():
            network.eval()

    def fingerprint(self) -> str:
        """A hash of all weights: two victims with the same one are bit-identical."""
        return fingerprint(self.tensors())


def fresh(cell: Cell, data: Data, base: Path, wrap: Callable[[Hooks, Split], Hooks] | None = None) -> Victim:
    """An untrained victim: its weights depend on dataset, model and seed, never on the defence or the cut."""
    model = cast(Model, plugins.make("model", cell.model, base))
    defense = cast(Defense, plugins.make("defense", cell.defense, base))
    cut = model.cuts("u_shape" if model.u_shaped else "vanilla")[0] if cell.cut is None else cell.cut
    with Stream(axis_seed("init", cell)):
        split = model.split(data.in_shape, data.task, cut, cell.protocol)
        split = defense.shape(split).to(data.private.x.device).measure(data.in_shape, data.in_range)
        live = defense.begin(split, axis_seed("defense", cell))
    if isinstance(live, nn.Module):
        live.to(data.private.x.device)
    if wrap is not None:
        live = wrap(live, split)
    return Victim(cell, data, split, live, defense)


def axis_seed(role: str, cell: Cell) -> int:
    """Seeds name dataset, model and seed: rows that differ only in the defence share order, targets and weights."""
    return seed_for(role, cell.dataset, cell.model, cell.seed)


def order_seed(cell: Cell) -> int:
    """Of the order of records, and of their division among clients."""
    return axis_seed("order", cell) % 2**62


def training(victim: Victim) -> Training:
    cell = victim.cell
    return Training(
        victim.split, victim.data.private, victim.data.task, victim.live, cell.train, cell.clients,
        order_seed(cell),
    )  # fmt: skip


def train(victim: Victim) -> dict[str, Any]:
    """Train to the end with nobody looking; returns what the record needs: steps, seconds, detection."""
    start, detected = time.perf_counter(), -1
    told: dict[str, Any] = {}
    curve: list[float] = []
    parties: list[Party] = []
    note = partial(_note_utility, victim, curve) if victim.cell.train.curve else None
    with Stream(axis_seed("training", victim.cell)):
        if victim.protocol == "central":
            steps = train_whole(
                victim.split, victim.data.private, victim.data.task, victim.cell.train,
                order_seed(victim.cell), note,
            )  # fmt: skip
        else:
            running = training(victim)
            parties = running.parties
            for _ in running.steps(Grant(0), set(), after_epoch=note):
                pass
            steps, detected = running.steps_done, running.detected_at
            told = _learning(victim, running.losses)
    if not all(bool(t.isfinite().all()) for t in victim.tensors().values()):
        raise Diverged(f"the weights are no numbers any more after the last step ({steps})")
    facts: dict[str, Any] = {"steps": steps, "seconds_train": time.perf_counter() - start, "detected_at": detected}
    facts |= told | ({"utility_curve": curve} if curve else {})
    return facts | ({"utility_clients": utility_clients(victim, parties)} if len(parties) > 1 else {})


def _learning(victim: Victim, losses: list[float]) -> dict[str, Any]:
    """The task's loss by epoch, a constant answer's on the labels that were sent, and when they became alike."""
    private = victim.data.private
    constant = collapse.constant_loss(victim.live.batch(private.x, private.y)[1], victim.data.task)
    return {
        "loss_curve": losses,
        "loss_constant": constant,
        "collapsed_at": collapse.collapsed_at(losses, constant),
    }


def _note_utility(victim: Victim, curve: list[float]) -> None:
    """The utility of this moment; everything goes on as if nobody had looked."""
    modes = {network: network.training for network in victim.networks().values()}
    for network in modes:
        network.eval()
    curve.append(utility(victim)[1])
    for network, mode in modes.items():
        network.train(mode)


def predict(victim: Victim, split: Split, x: Tensor) -> Tensor:
    """The prediction for x (n, *in) with the defence active, in batches of the training's size."""
    parts = []
    with Stream(axis_seed("utility", victim.cell)), torch.no_grad():
        for index, n in filled(len(x), victim.cell.train.batch_size):
            z, kept = split.bottom(x[index])
            out = split.top(z if victim.protocol == "central" else victim.live.smash(z))
            parts.append((out if split.head is None else split.head(out, kept))[:n])
    return torch.cat(parts)


def utility(victim: Victim) -> tuple[str, float]:
    """Accuracy, or what the task has, on the test part."""
    test = victim.data.test
    return metrics.utility(predict(victim, victim.split, test.x), test.y, victim.data.task)


def utility_facts(victim: Victim) -> dict[str, Any]:
    """The same as the record has it, with the task's other measures, all of one prediction."""
    test, task = victim.data.test, victim.data.task
    prediction = predict(victim, victim.split, test.x)
    name, value = metrics.utility(prediction, test.y, task)
    also = metrics.utility_also(prediction, test.y, task)
    return {"utility_metric": name, "utility": value, "utility_also": also}


def utility_clients(victim: Victim, parties: list[Party]) -> list[dict[str, Any]]:
    """Each client's own parts, as they are at the end, with the one top, on its share of the test part.

    The share is dealt by the rule of the private part; with fewer test patients than clients, record by record.
    records: what it trained on; n: what it is judged on. utility is None where a share has none: an r2 of one record.
    """
    shares = _test_shares(victim)
    found = []
    for party, share in zip(parties, shares, strict=True):
        value = None
        if share is not None:
            prediction = predict(victim, party.split, share.x)
            try:
                value = metrics.utility(prediction, share.y, victim.data.task)[1]
            except BadInput:  # all its values are alike
                value = None
        found.append({"utility": value, "n": 0 if share is None else len(share), "records": len(party.records)})
    return found


def _test_shares(victim: Victim) -> list[Records] | list[None]:
    test, clients, seed = victim.data.test, victim.cell.clients, order_seed(victim.cell)
    for records in (test, replace(test, group=None)):
        try:
            return divide(records, clients, victim.data.task, seed, least=1)
        except BadInput:  # too few patients, then too few records
            continue
    return [None] * clients.n


def utility_floor(victim: Victim) -> float:
    """The utility of a constant answer: the majority class, the mask that fits most, the mean value."""
    private, test, task = victim.data.private, victim.data.test, victim.data.task
    if task.kind == "classes":
        constant = torch.nn.functional.one_hot(private.y.bincount(minlength=task.size).argmax(), task.size).float()
    elif task.kind == "mask":
        constant = metrics.constant_mask(private.y).to(private.y.device) - 0.5  # as a logit: above 0 is in
    else:
        constant = private.y.float().mean(0)
    return metrics.utility(constant.expand(len(test), *constant.shape), test.y, task)[1]


def release(victim: Victim, records: Records, stream: Stream, live: Hooks | None = None) -> dict[str, Tensor]:
    """What crosses once more for these records after training: eval mode, no update, each record's own gradient.

    Batches are always full (the last one is filled up from the start): a noise scale read from a batch of one is zero.
    """
    live = live or victim.live
    parts: dict[str, list[Tensor]] = {}
    with stream:
        for index, n in filled(len(records), victim.cell.train.batch_size):
            done = exchange(victim.split, live, victim.data.task, records.x[index], records.y[index], "sum")
            for name, t in done.wire.items():
                parts.setdefault(name, []).append(t[:n])
    victim.split.zero_grad()
    return {name: torch.cat(ts) for name, ts in parts.items()}


@torch.no_grad()
def send(victim: Victim, x: Tensor, filler: Tensor, live: Hooks | None = None) -> Tensor:
    """x (B, *in) -> (B, *cut) as the client would send it; a small batch is filled up with other records."""
    live, size = live or victim.live, victim.cell.train.batch_size
    whole = torch.cat([x, filler[: (-len(x)) % size]])
    missing = (-len(whole)) % size
    if missing:  # fewer fillers than needed: repeat the batch itself
        whole = torch.cat([whole, whole[torch.arange(missing, device=x.device) % len(whole)]])
    return torch.cat([live.smash(victim.split.bottom(part)[0]) for part in whole.split(size)])[: len(x)]


def filled(n: int, size: int) -> Iterator[tuple[Tensor, int]]:
    """Batches of exactly `size` indices that cover 0..n-1, with how many of each count."""
    for start in range(0, n, size):
        index = torch.arange(start, start + size) % n
        yield index, min(size, n - start)


def made_by(cell: Cell, data: Data, base: Path) -> dict[str, str]:
    """What a victim's weights came from beside its cell: source files, records, torch. Other ones: train again."""
    here = Path(__file__).parent
    kinds: tuple[plugins.Kind, ...] = ("dataset", "model", "defense")
    specs = (cell.dataset, cell.model, cell.defense)
    own = {kind: plugins.file_hash(plugins.find(kind, s["name"], base)) for kind, s in zip(kinds, specs, strict=True)}
    core = {name: plugins.hash_of(here / f"{name}.py") for name in CORE}
    weights = cell.model.get("weights")  # a file that the network starts from; where it is missing, `fresh` says so
    if weights and Path(weights).is_file():
        core["weights"] = plugins.hash_of(Path(weights))
    return own | core | {"data": data_digest(data), "torch": torch.__version__, "device": data.private.x.device.type}


def data_digest(data: Data) -> str:
    """A hash of all records: other files under the same name make another victim."""
    whole = hashlib.sha256()
    for part in (data.private, data.aux, data.test):
        for t in (part.x, part.y, part.id, part.group):
            whole.update(b"" if t is None else t.cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def load_data(cell: Cell, base: Path, device: torch.device) -> Data:
    """Load, and check what training takes for granted: a dataset from outside the tree may not have done so."""
    dataset, who = cast(Dataset, plugins.make("dataset", cell.dataset, base)), f"dataset '{cell.dataset['name']}'"
    try:
        data = dataset.load()
        for name in ("private", "aux", "test"):
            sound(getattr(data, name), data.task, f"{who}: {name} part")
        return with_loss(data, cell.train.loss, who).to(device)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{who} cannot be loaded: {type(error).__name__}: {error}") from error


def with_loss(data: Data, loss: Objective, who: str) -> Data:
    """The same data, its task with the loss of `[train]`: from here on there is one task, and one loss in it."""
    kind = data.task.kind
    if loss != "own" and kind != "mask":
        raise BadInput(f"[train] loss '{loss}' is one for masks, but the task of {who} is '{kind}' (legal: own)")
    return replace(data, task=replace(data.task, objective=loss))


def wire_bytes(victim: Victim) -> tuple[int, int]:
    """Bytes up and down for one record in training, from the shapes of what crosses."""
    if victim.protocol == "central":
        return 0, 0
    batch = victim.data.private.take(torch.arange(2))
    with Stream(0):
        wire = exchange(copy.deepcopy(victim.split), victim.live, victim.data.task, batch.x, batch.y).wire
    size = {name: t[0].numel() * t.element_size() for name, t in wire.items()}
    up = sum(size.get(name, 0) for name in ("smashed", "labels", "gradient_features"))
    return up, sum(size.get(name, 0) for name in ("gradient", "features"))


class NullChannel(Hooks):
    """The same channel without information: noise of the right shape and scale for every message about a record."""

    def __init__(self, live: Hooks, split: Split, reference: Tensor) -> None:
        self.live = live
        with torch.no_grad():
            z = live.smash(split.bottom(reference)[0])
        self.mean, self.std = z.mean(0), z.std(0)

    def smash(self, z: Tensor) -> Tensor:
        return self.mean + self.std * torch.randn_like(z)

    def gradient(self, g: Tensor, y: Tensor) -> Tensor:
        return g.std() * torch.randn_like(g)

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        return self.live.optimizer(client, make)

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.live.batch(x, y)

    def penalty(self, x: Tensor, z: Tensor, sent: Tensor, y: Tensor) -> Tensor | None:
        return self.live.penalty(x, z, sent, y)

    def observe(self, x: Tensor, sent: Tensor) -> None:
        self.live.observe(x, sent)

    def inspect(self, g: Tensor, y: Tensor) -> None:
        self.live.inspect(g, y)
