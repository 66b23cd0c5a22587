"""The client now and then sends false labels: an honest server's gradients change with them, a hijacker's do not.

Only batches of training are ever fake. The client learns nothing from one, since its activations are sent cut off
from the graph; the server's part cannot know and does learn from it, the cost that the paper accepts.

Erdogan, Kupcu, Cicek, "SplitGuard: Detecting and Mitigating Training-Hijacking Attacks in Split Learning", WPES 2022;
differences in magnitude divided by their sum as in its code (ege-erdogan/splitguard, c29acbe), without which the score
depends on the gradients' unit. There a gradient is of the client's first weights, here of the activations, the mean
over the batch. There all batches count, here the last `memory`: noise of the first steps is forgotten, a hijack that
starts late is seen. There a fake batch shifts all labels alike, here each by itself. Policy, memory and threshold were
chosen on seeds 100-104 of `ecg`: the mean of 50 scores stayed above .84 in honest training and fell below .55 under
FSHA by batch 564, which is late. Quicker policies saw FSHA by batch 120, but while the server's part has learned
little their figures also fall in honest training: the mean of 10 to .31.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import BadInput, Defense, Detected, Hooks, Split

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class SplitGuard(Defense):
    """Detected when the policy's figure, made of scores in (0, 1), falls below the threshold.

    Vanilla and classes only: in a u-shape the client's own head would learn from the fake labels. Several clients
    share one state, as if they told each other what they see.
    """

    p_fake: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of fake batches; paper: .1
    start: Annotated[int, Field(ge=0)] = 20  # batches before the first that may be fake; paper: 20
    policy: Literal["fast", "avg-10", "avg-50", "voting"] = "avg-50"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.65  # of the policy's figure
    memory: Positive = 100  # last batches that count; paper: all
    mult: Annotated[float, Field(gt=0)] = 5.0  # paper: 5
    exp: Annotated[float, Field(gt=0)] = 2.0  # paper: 2

    def begin(self, split: Split, seed: int) -> Hooks:
        if split.head is not None:
            raise BadInput("defense 'splitguard': in a u-shape the client's head would learn from fake labels")
        return Guard(self, split.out_shape, seed)


class Guard(nn.Module, Hooks):
    """The live guard: a module for its mode alone, which tells training from release, queries and tests."""

    def __init__(self, told: SplitGuard, logits: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.told, self.logits = told, logits
        self.random = torch.Generator().manual_seed(seed % 2**62)
        self.fake, self.seen = False, 0
        self.kept: deque[tuple[int, Tensor]] = deque(maxlen=told.memory)  # (0 fake, 1 or 2 a regular half; gradient)
        self.scores: list[float] = []
        self.eval()

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """In training, with probability `p_fake`: every label becomes another class, uniformly."""
        if y.dim() != 1 or y.is_floating_point():
            raise BadInput("defense 'splitguard': it needs labels of classes")
        self.fake = self.training and self.seen >= self.told.start and self._draw() < self.told.p_fake
        if not self.fake:
            return x, y
        (classes,) = self.logits
        other = torch.randint(1, classes, y.shape, generator=self.random)
        return x, (y + other.to(y.device)) % classes

    def smash(self, z: Tensor) -> Tensor:
        return z.detach() if self.fake and self.training else z

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """g (B, *cut), of a batch's mean loss."""
        self.seen += 1
        if self.seen <= self.told.start:
            return
        kind = 0 if self.fake else 1 if self._draw() < 0.5 else 2
        self.kept.append((kind, g.flatten(1).mean(0).double()))
        if not self.fake:
            return
        parts = [[v for k, v in self.kept if k == part] for part in range(3)]
        if all(parts):
            fake, one, two = (torch.stack(part) for part in parts)
            self.scores.append(score(fake, one, two, self.told.mult, self.told.exp))
            if alarm(self.scores, self.told.policy, self.told.threshold):
                raise Detected(f"splitguard: score {self.scores[-1]:.3f} after {len(self.scores)} fake batches")

    def _draw(self) -> float:
        return float(torch.rand((), generator=self.random))


def score(fake: Tensor, one: Tensor, two: Tensor, mult: float = 5.0, exp: float = 2.0) -> float:
    """Gradients (n, D) under fake labels and in two halves under true ones -> near 1 honest, about .25 hijacked."""
    means, sizes = [v.mean(0) for v in (fake, one, two)], [float(v.norm(dim=1).mean()) for v in (fake, one, two)]
    apart, noise = abs(sizes[0] - (sizes[1] + sizes[2]) / 2), abs(sizes[1] - sizes[2])
    whole = apart + noise or 1.0  # all sizes alike: nothing is told apart
    x = (angle(means[0], (means[1] + means[2]) / 2) * apart - angle(means[1], means[2]) * noise) / whole
    return float(torch.tensor(mult * x, dtype=torch.float64).sigmoid() ** exp)


def angle(a: Tensor, b: Tensor) -> float:
    """Between two vectors, in radians."""
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1).acos())


def alarm(scores: list[float], policy: str, threshold: float) -> bool:
    """`fast`: the last score is below; avg-k: the mean of the last k; voting: most groups of five (ours), by means."""
    if policy == "fast":
        return scores[-1] < threshold
    if policy == "voting":
        groups = [sum(scores[i : i + 5]) / 5 for i in range(0, len(scores) - 4, 5)]
        return sum(mean < threshold for mean in groups) > len(groups) / 2
    last = int(policy.removeprefix("avg-"))
    return len(scores) >= last and sum(scores[-last:]) / last < threshold
