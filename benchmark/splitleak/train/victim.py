"""A victim: a split trained under a defence, and the channel through which the world sees it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from splitleak.contract import Data, Dataset, Defense, Grant, Hooks, Model, Protocol
from splitleak.contract.errors import BadInput, Diverged
from splitleak.contract.nouns import WHOLE, Form, Objective
from splitleak.contract.split import Split
from splitleak.datasets.reading.validation import validate_records
from splitleak.plan import plugins
from splitleak.plan.cell import Cell
from splitleak.plan.seeds import Stream, axis_seed, order_seed
from splitleak.plan.settings import Federated, Train
from splitleak.score import utility
from splitleak.store import fingerprint
from splitleak.train import collapse
from splitleak.train.checkpoint import Halfway
from splitleak.train.loop import Party, Training, train_whole

if TYPE_CHECKING:
    from splitleak.train.federation import Federation

CORE = (
    "train/augment",
    "train/loop",
    "train/ends",
    "train/division",
    "score/channel",
    "train/victim",
    "contract/nouns",
    "contract/split",
    "plan/seeds",
    "models/_resnet",
)  # files that decide what is learned
LEARNED = ("steps", "seconds_train", "detected_at", "loss_curve", "loss_constant", "collapsed_at", "utility_curve")


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

    @property
    def whole(self) -> bool:
        """Never cut: nothing crosses for a single record."""
        return self.cell.protocol in WHOLE

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
    split, live, defense = networks(cell, data.form, base, data.private.x.device)
    if wrap is not None:
        live = wrap(live, split)
    return Victim(cell, data, split, live, defense)


def networks(cell: Cell, form: Form, base: Path, device: torch.device) -> tuple[Split, Hooks, Defense]:
    """A victim's networks, for records of this form: a server elsewhere builds the same and has no record."""
    model = cast(Model, plugins.make("model", cell.model, base))
    defense = cast(Defense, plugins.make("defense", cell.defense, base))
    cut = model.cuts("u_shape" if model.u_shaped else "vanilla")[0] if cell.cut is None else cell.cut  # of WHOLE: any
    with Stream(axis_seed("init", cell)):
        split = model.split(form.in_shape, form.task, cut, cell.protocol)
        split = defense.shape(split).to(device).measure(form.in_shape, form.in_range)
        live = defense.begin(split, axis_seed("defense", cell))
    _check_batches(cell, split)
    if isinstance(live, nn.Module):
        live.to(device)
    return split, live, defense


def _check_batches(cell: Cell, split: Split) -> None:
    """No norm over a batch can be taken of a single record: told before anything is trained."""
    alone = cell.federated is not None and cell.federated.batch_size == 1
    if alone and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in split.modules()):
        told = "batches of one record, and its batch norms need two"
        raise BadInput(f"model '{cell.model['name']}' under protocol '{cell.federated}': {told}")


def training(victim: Victim) -> Training:
    cell = victim.cell
    return Training(
        victim.split, victim.data.private, victim.data.task, victim.live, cell.train, cell.clients,
        order_seed(cell),
    )  # fmt: skip


def federation(victim: Victim) -> Federation:
    from splitleak.train.federation import Federation  # takes Flower, an extra

    cell, data = victim.cell, victim.data
    asked = cast(Federated, cell.federated)
    return Federation(
        victim.split, data.private, data.task, victim.live, victim.defense, cell.train, asked, cell.clients,
        order_seed(cell),
    )  # fmt: skip


def train(victim: Victim, halfway: Halfway | None = None) -> dict[str, Any]:
    """Train to the end with nobody looking; returns what the record needs: steps, seconds, detection.

    With `halfway` it goes on from where a killed one stood, if nothing but the network has a state.
    """
    start, detected = time.perf_counter(), -1
    told: dict[str, Any] = {}
    curve: list[float] = []
    parties: list[Party] = []
    note = partial(_note_utility, victim, curve) if victim.cell.train.curve else None
    rounds = federation(victim) if victim.protocol == "fedavg" else None  # the first time it imports what draws numbers
    with Stream(axis_seed("training", victim.cell)):
        if rounds is not None:
            rounds.run(partial(_note_utility, victim, curve))
            steps, parties = rounds.steps_done, [*rounds.parties]
            told = {"sent": rounds.sent}
        elif victim.protocol == "central":
            steps = train_whole(
                victim.split, victim.data.private, victim.data.task, victim.cell.train,
                order_seed(victim.cell), note,
            )  # fmt: skip
        else:
            running = training(victim)
            parties = running.parties
            if halfway and victim.live is victim.defense:
                halfway.resume(running, curve)
                start -= halfway.spent
                note = partial(_after_epoch, note, halfway, running, curve)
            for _ in running.steps(Grant(0), set(), after_epoch=note):
                pass
            steps, detected = running.steps_done, running.detected_at
            told = _learning(victim, running.losses)
    if not all(bool(t.isfinite().all()) for t in victim.tensors().values()):
        raise Diverged(f"the weights are no numbers any more after the last step ({steps})")
    facts: dict[str, Any] = {"steps": steps, "seconds_train": time.perf_counter() - start, "detected_at": detected}
    facts |= told | ({"utility_curve": curve} if curve else {})
    return facts | ({"utility_clients": utility.by_client(victim, parties)} if len(parties) > 1 else {})


@torch.no_grad()
def copy_weights(to: Split, source: Split) -> None:
    """All that a trained network learned, cut elsewhere: the parts differ, their order does not."""
    for mine, theirs in zip(to.state_dict().values(), source.state_dict().values(), strict=True):
        mine.copy_(theirs)
    to.eval()


def _after_epoch(note: Callable[[], None] | None, halfway: Halfway, running: Training, curve: list[float]) -> None:
    if note:
        note()
    halfway.keep(running, curve)


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
    curve.append(utility.on_test(victim)[1])
    for network, mode in modes.items():
        network.train(mode)


def made_by(cell: Cell, data: Data, base: Path) -> dict[str, str]:
    """What a victim's weights came from beside its cell: source files, records, torch. Other ones: train again."""
    own = {"dataset": plugins.file_hash(plugins.find("dataset", cell.dataset["name"], base))}
    return own | sources(cell, base) | {"data": data_digest(data), "device": data.private.x.device.type}


def sources(cell: Cell, base: Path) -> dict[str, str]:
    """The part of it that has nothing to do with records."""
    kinds: tuple[tuple[plugins.Kind, str], ...] = (("model", cell.model["name"]), ("defense", cell.defense["name"]))
    own = {kind: plugins.file_hash(plugins.find(kind, name, base)) for kind, name in kinds}
    core = {name: plugins.hash_of(Path(__file__).parents[1] / f"{name}.py") for name in CORE}
    weights = cell.model.get("weights")  # a file that the network starts from; where it is missing, `networks` says so
    if weights and Path(weights).is_file():
        core["weights"] = plugins.hash_of(Path(weights))
    if cell.protocol == "fedavg":
        core["federation"] = plugins.hash_of(Path(__file__).with_name("federation.py"))
    return own | core | {"torch": torch.__version__}


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
            validate_records(getattr(data, name), data.task, f"{who}: {name} part")
        check_variation(cell.train, data, who)
        return with_loss(data, cell.train.loss, who).to(device)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{who} cannot be loaded: {type(error).__name__}: {error}") from error


def check_variation(train: Train, data: Data, who: str) -> None:
    """Refuse to mirror what is no image, and to relight what is not in [0, 1]."""
    if (train.flip != "none" or train.augment) and len(data.in_shape) != 3:
        name = "augment" if train.augment else "flip"
        raise BadInput(f"[train] {name} is for images, and the records of {who} have shape {data.in_shape}")
    if train.augment and tuple(data.in_range) != (0, 1):
        raise BadInput(f"[train] augment is for images in [0, 1], and those of {who} are in {data.in_range}")


def with_loss(data: Data, loss: Objective, who: str) -> Data:
    """The same data, its task with the loss of `[train]`: from here on there is one task, and one loss in it."""
    kind = data.task.kind
    if loss != "own" and kind != "mask":
        raise BadInput(f"[train] loss '{loss}' is one for masks, but the task of {who} is '{kind}' (legal: own)")
    return replace(data, task=replace(data.task, objective=loss))
