"""What an attack receives. An attribute exists only if the threat model grants it, and everything read is a copy.

The view stops mistakes, not malice: Python lets a determined author walk frames. The record lists what was read.
docs/concepts.md says what the view guarantees and what it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from splitleak.contract.defense import Defense
from splitleak.contract.errors import BadInput
from splitleak.contract.gate import Gate, Granted, bare, frozen
from splitleak.contract.nouns import Grant, Shape
from splitleak.contract.shadow import Shadow
from splitleak.contract.step import Step
from splitleak.contract.task import Task

Guesser = Callable[[Tensor], Tensor]  # z (B, *cut) -> guess


@dataclass(frozen=True)
class Facts:
    """What every attacker knows about the victim."""

    in_shape: Shape
    in_range: tuple[float, float]
    cut_shape: Shape
    out_shape: Shape | None
    task: Task
    batch_size: int
    targets: int
    sets: Tensor | None = None  # (N,) under fedavg: the update of each target; a guess of its members is a set


@dataclass(frozen=True)
class Update:
    """What the server of a federation received from one client in one round, defence applied, and what it had sent.

    before, after: weights by name. client: its number, or -1 for the mean of all clients under secure aggregation.
    n: how many records the update was trained on, in `local_steps` batches of `batch_size`. targets: positions in the
    guess of the targets among them. Their order tells nothing; the harness matches the guesses afterwards.
    """

    round: int
    client: int
    n: int
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    lr: float
    local_steps: int
    batch_size: int
    optimizer: str
    targets: Tensor  # (number of targets in this update,)


class View(Gate):
    """Everything that one attack receives. Letters in shapes: B batch, N targets, M auxiliary records, K classes."""

    smashed = Granted(Grant.SMASHED, "(N, *cut): the smashed data of the targets after training, defence applied")
    gradient = Granted(Grant.GRADIENT, "(N, *cut): the gradient of each target's own loss, sent back; not averaged")
    features = Granted(Grant.SMASHED, "(N, *out): u-shape only, what the server sent down")
    gradient_features = Granted(Grant.GRADIENT, "(N, *out): u-shape only, what the client sent up for the features")
    labels = Granted(Grant.LABELS, "(N, ...): the labels of the targets, where they cross the wire")
    inputs = Granted(Grant.INPUTS, "(N, *in): the targets, for a client that infers the labels of the server")
    aux = Granted(Grant.AUX, "(M, *in): auxiliary records; no target is among them")
    aux_labels = Granted(Grant.AUX_LABELS, "(M, ...): the labels of the auxiliary records")
    aux_property = Granted(Grant.AUX_LABELS, "(M,) 0 or 1: the property of the auxiliary records")
    aux_persons = Granted(Grant.AUX_LABELS, "(M,) int64, 0 to P - 1: the person of each auxiliary record, if known")

    def __init__(self, facts: Facts, grants: Grant, sources: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(grants, sources, set())
        self.facts, self.grants = facts, grants
        self.in_shape, self.in_range = facts.in_shape, facts.in_range
        self.cut_shape, self.out_shape = facts.cut_shape, facts.out_shape
        self.task, self.targets, self.batch_size = facts.task, facts.targets, facts.batch_size
        self.classes = facts.task.size
        self.sets = None if facts.sets is None else facts.sets.clone()

    @property
    def has_read(self) -> list[str]:
        """The granted attributes that the attack has read so far."""
        return sorted(self._been_read)

    @property
    def hints(self) -> tuple[Tensor, Tensor]:
        """(positions, labels) of a few targets with known labels; the score leaves them out."""
        index, labels = self._read("hints", Grant.HINTS)
        return index.clone(), labels.clone()

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """(records, smashed): private records with their smashed data; no target is among them."""
        x, z = self._read("pairs", Grant.PAIRS)
        return x.clone(), z.clone()

    @property
    def top(self) -> nn.Module:
        """A copy of the server's trained part: eval mode, frozen."""
        return frozen(self._read("top", Grant.TOP))

    @property
    def bottom(self) -> nn.Module:
        """A copy of the client's trained part, x (B, *in) -> z (B, *cut) before the defence: eval mode, frozen."""
        return frozen(self._read("bottom", Grant.BOTTOM))

    def fresh_bottom(self) -> nn.Module:
        """A client part of the same architecture with fresh weights."""
        made: nn.Module = self._read("fresh_bottom", Grant.ARCHITECTURE)
        return made

    def query(self, x: Tensor) -> Tensor:
        """(B, *in) -> (B, *cut): what the client would send for these records, with fresh randomness."""
        send = self._read("query", Grant.QUERY)
        x = bare(x)
        if tuple(x.shape[1:]) != self.in_shape:
            raise BadInput(f"query of shape {tuple(x.shape)}: records are (B, {', '.join(map(str, self.in_shape))})")
        answer: Tensor = send(x)
        return answer

    @property
    def defense(self) -> Defense:
        """The algorithm of the defence with its parameters: nothing learned, no random state."""
        found: Defense = self._read("defense", Grant.DEFENSE)
        return found

    @property
    def updates(self) -> list[Update]:
        """Under `fedavg`: the updates of the clients that targets are in, round after round."""
        found: list[Update] = self._read("updates", Grant.UPDATES)
        return found

    def fresh_model(self) -> nn.Module:
        """Under `fedavg`: the trained network with fresh weights; names are those of the updates."""
        made: nn.Module = self._read("fresh_model", Grant.ARCHITECTURE)
        return made

    @property
    def shadows(self) -> list[Shadow]:
        """The shadow victims, as many as the attack's `shadows` says; 2j and 2j + 1 have no record in common."""
        found: list[Shadow] = self._read("shadows", Grant.SHADOWS)
        return found

    @property
    def steps(self) -> Iterator[Step]:
        """The steps of the training. Iterating trains the victim, one batch a step."""
        running: Iterator[Step] = self._read("steps", Grant.STEPS)
        return running

    def log(self, step: int, guesser: Guesser) -> None:
        """Let the harness record how good `guesser` is at this moment; the attack learns nothing from it.

        While the training goes on, the guesser runs in a process of its own, on a copy of this moment, and not before
        the attack has returned its guess. Where processes cannot be forked (GPU, macOS) it does not run. After the
        training it gets exactly `smashed`. The record keeps at most 20 points, spread over the calls.
        """
        self._read("log", Grant.SMASHED)(step, guesser)
