"""What an attack receives: an attribute exists only if its threat model grants it, and everything is a copy.

The gate stops mistakes, not malice: Python lets a determined author walk frames. The record says what was read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from splitleak.contract.errors import BadInput, NotGranted
from splitleak.contract.nouns import Grant, Shape, Task

if TYPE_CHECKING:
    from splitleak.contract.defense import Defense

Guesser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Facts:
    """What anybody may know of a cell."""

    in_shape: Shape
    in_range: tuple[float, float]
    cut_shape: Shape
    out_shape: Shape | None
    task: Task
    batch_size: int
    targets: int


@dataclass(frozen=True)
class Update:
    """What the server of a federation got from one client in one round, defence applied, and what it had asked for.

    before, after: weights by name. client is -1 where the clients' own updates stay hidden and these are their mean's.
    n: records in it, `local_steps` batches of `batch_size`. targets: where in the guess those of them go that are asked
    for, in an order that tells nothing: a guess is matched with them afterwards.
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
    targets: Tensor  # (n of them,) positions


class Gate:
    """Hands out copies of what was granted and remembers what was read."""

    place = ""  # what stands before a name in the list of things read

    def __init__(self, grants: Grant, sources: Mapping[str, Callable[[], Any]], read: set[str]) -> None:
        self._grants, self._sources, self._been_read = grants, sources, read

    def _read(self, name: str, grant: Grant) -> Any:
        if grant not in self._grants:
            raise NotGranted(f"'{self.place}{name}' was not granted; declare Grant.{grant.name} in `needs`")
        if name not in self._sources:
            raise NotGranted(f"there is no '{self.place}{name}' under this protocol or task")
        self._been_read.add(self.place + name)
        return self._sources[name]()

    def _copy(self, name: str, grant: Grant) -> Tensor:
        found: Tensor = self._read(name, grant)
        return found.detach().clone()


class View(Gate):
    """What one attack receives. Letters: B batch, N targets, M auxiliary records, K classes."""

    def __init__(self, facts: Facts, grants: Grant, sources: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__(grants, sources, set())
        self.facts, self.grants = facts, grants
        self.in_shape, self.in_range = facts.in_shape, facts.in_range
        self.cut_shape, self.out_shape = facts.cut_shape, facts.out_shape
        self.task, self.targets, self.batch_size = facts.task, facts.targets, facts.batch_size
        self.classes = facts.task.size

    @property
    def has_read(self) -> list[str]:
        """The granted attributes that the attack has read so far."""
        return sorted(self._been_read)

    @property
    def smashed(self) -> Tensor:
        """(N, *cut): what the client sent for the targets after training, defence applied."""
        return self._copy("smashed", Grant.SMASHED)

    @property
    def gradient(self) -> Tensor:
        """(N, *cut): what came back for them, each record's own gradient, not averaged."""
        return self._copy("gradient", Grant.GRADIENT)

    @property
    def features(self) -> Tensor:
        """(N, *out): u-shape only, what the server sent down."""
        return self._copy("features", Grant.SMASHED)

    @property
    def gradient_features(self) -> Tensor:
        """(N, *out): u-shape only, what the client sent up for the features."""
        return self._copy("gradient_features", Grant.GRADIENT)

    @property
    def labels(self) -> Tensor:
        """(N, ...): the targets' labels, where they cross the wire."""
        return self._copy("labels", Grant.LABELS)

    @property
    def inputs(self) -> Tensor:
        """(N, *in): the targets, for a client that wants the server's labels."""
        return self._copy("inputs", Grant.INPUTS)

    @property
    def hints(self) -> tuple[Tensor, Tensor]:
        """(indices, labels) of a few targets whose labels are known; they are left out of the score."""
        index, labels = self._read("hints", Grant.HINTS)
        return index.clone(), labels.clone()

    @property
    def aux(self) -> Tensor:
        """(M, *in): auxiliary records, none shared with the targets."""
        return self._copy("aux", Grant.AUX)

    @property
    def aux_labels(self) -> Tensor:
        """(M, ...): their labels."""
        return self._copy("aux_labels", Grant.AUX_LABELS)

    @property
    def aux_property(self) -> Tensor:
        """(M,) 0/1: the property that the dataset names, of the auxiliary records."""
        return self._copy("aux_property", Grant.AUX_LABELS)

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """(records, smashed): private records with what was sent for them; no target is among them."""
        x, z = self._read("pairs", Grant.PAIRS)
        return x.clone(), z.clone()

    @property
    def top(self) -> nn.Module:
        """The server's trained part: eval mode, frozen, a copy."""
        return frozen(self._read("top", Grant.TOP))

    @property
    def bottom(self) -> nn.Module:
        """The client's trained part, x (B, *in) -> z (B, *cut) before the defence: eval mode, frozen, a copy."""
        return frozen(self._read("bottom", Grant.BOTTOM))

    def fresh_bottom(self) -> nn.Module:
        """An untrained client part of the same architecture."""
        made: nn.Module = self._read("fresh_bottom", Grant.ARCHITECTURE)
        return made

    def query(self, x: Tensor) -> Tensor:
        """(B, *in) -> (B, *cut): what the client would send for these records, with fresh noise."""
        if tuple(x.shape[1:]) != self.in_shape:
            raise BadInput(f"query of shape {tuple(x.shape)}: records are (B, {', '.join(map(str, self.in_shape))})")
        answer: Tensor = self._read("query", Grant.QUERY)(x.detach())
        return answer

    @property
    def defense(self) -> Defense:
        """The defence's algorithm and parameters, fresh: nothing learned, no random state."""
        found: Defense = self._read("defense", Grant.DEFENSE)
        return found

    @property
    def updates(self) -> list[Update]:
        """Under `fedavg`: what the clients sent, a round after another, as far as targets are in it."""
        found: list[Update] = self._read("updates", Grant.UPDATES)
        return found

    def fresh_model(self) -> nn.Module:
        """Under `fedavg`: an untrained copy of the network that everybody trains; weights named as in updates."""
        made: nn.Module = self._read("fresh_model", Grant.ARCHITECTURE)
        return made

    @property
    def steps(self) -> Iterator[Step]:
        """Iterating it trains the victim, one batch a step."""
        running: Iterator[Step] = self._read("steps", Grant.STEPS)
        return running

    def log(self, step: int, guesser: Guesser) -> None:
        """Have the harness note how well `guesser` (z -> guess) does at this moment; the attack learns nothing."""
        self._read("log", Grant.SMASHED)(step, guesser)


class Step(Gate):
    """One batch at the cut, before anybody's weights move. Everything read is a clone."""

    place = "step."

    def __init__(
        self,
        when: tuple[int, int, int],
        tensors: Mapping[str, Tensor],
        top: nn.Module,
        grants: Grant,
        read: set[str],
    ) -> None:
        self.epoch, self.index, self.client = when
        self.answer: Tensor | None = None
        self._top: list[nn.Module | None] = [top]
        now, sent = self._top, tensors["smashed"]  # no source may hold the step itself: a circle is freed late
        sources: dict[str, Callable[[], Any]] = {name: t.clone for name, t in tensors.items()}
        sources |= {"top": lambda: now[0], "reply": lambda: sent.shape}
        super().__init__(grants, sources, read)

    @property
    def smashed(self) -> Tensor:
        """(B, *cut): what the client sent."""
        return self._copy("smashed", Grant.SMASHED)

    @property
    def gradient(self) -> Tensor:
        """(B, *cut): the honest gradient of the batch's mean loss, sent back for it."""
        return self._copy("gradient", Grant.GRADIENT)

    @property
    def features(self) -> Tensor:
        """(B, *out): u-shape only, what the server sent down."""
        return self._copy("features", Grant.SMASHED)

    @property
    def gradient_features(self) -> Tensor:
        """(B, *out): u-shape only, what the client sent up for the features."""
        return self._copy("gradient_features", Grant.GRADIENT)

    @property
    def labels(self) -> Tensor:
        """(B, ...): the batch's labels, where they cross the wire."""
        return self._copy("labels", Grant.LABELS)

    @property
    def top(self) -> nn.Module:
        """The server's part before its update: eval mode, frozen, a copy made when this is read."""
        top = self._read("top", Grant.TOP)
        if top is None:
            raise NotGranted("'step.top' is gone: read it before pulling the next step")
        return frozen(copy.deepcopy(top))

    def reply(self, g: Tensor) -> None:
        """Send the client this gradient (B, *cut) in place of the honest one."""
        wanted = self._read("reply", Grant.TAMPER)
        if g.shape != wanted:
            raise BadInput(f"step.reply: gradient of shape {tuple(g.shape)}, the client sent {tuple(wanted)}")
        self.answer = g.detach().clone()

    def close(self) -> None:
        """The moment is over: the server's part moves on."""
        self._top[0] = None


def frozen(module: nn.Module) -> nn.Module:
    """Eval mode, no gradient to its weights; gradients still pass through to its input."""
    return module.eval().requires_grad_(False)
