"""SplitGuard (Erdogan et al. 2022): send false labels at times; a hijacker ignores them.

The client sometimes sends a batch with false labels, a fake batch. An honest server's gradients change with the labels,
a hijacker's do not. Only batches of training are ever fake. The client learns nothing from a fake batch, because its
activations are sent detached from the graph. The server cannot know and does learn from it, a cost that the paper
accepts.

Source: Erdogan, Kupcu, Cicek, "SplitGuard: Detecting and Mitigating Training-Hijacking Attacks in Split Learning", WPES
2022. Differences in magnitude are divided by their sum as in its code (ege-erdogan/splitguard, c29acbe); without that
the score depends on the gradients' unit.
Differs from the paper:
- In the paper a gradient is that of the client's first weights; here that of the activations, averaged over the batch.
- In the paper all batches count; here the last `memory`, so that noise of the first steps is forgotten and a hijack
  that starts late is detected.
- In the paper a fake batch shifts all labels by the same number; here each label by its own.
- Policy, memory and threshold were chosen on seeds 100-104 of `ecg`: the mean of 50 scores stayed above .84 in honest
  training and fell below .55 under FSHA by batch 564, which is late. Quicker policies saw FSHA by batch 120, but while
  the server's part has learned little, their figures also fall in honest training: the mean of 10 to .31.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from splitleak.contract import BadInput, Defense, Detected, Hooks, Split

Positive = Annotated[int, Field(ge=1)]
FAKE, FIRST, SECOND = 0, 1, 2  # kinds of a batch: with false labels, or of one of two random halves of the others


@dataclass(frozen=True)
class SplitGuard(Defense):
    """Detected when the policy's figure, computed from scores in (0, 1), falls below the threshold.

    Vanilla and classes only: in a u-shape the client's own head would learn from the false labels. Several clients
    share one state, as if they exchanged their gradients.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    p_fake: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share of fake batches; paper: .1
    start: Annotated[int, Field(ge=0)] = 20  # batches before the first one that may be fake; paper: 20
    policy: Literal["fast", "avg-10", "avg-50", "voting"] = "avg-50"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.65  # of the policy's figure
    memory: Positive = 100  # number of last batches that count; paper: all
    mult: Annotated[float, Field(gt=0)] = 5.0  # paper: 5
    exp: Annotated[float, Field(gt=0)] = 2.0  # paper: 2

    def begin(self, split: Split, seed: int) -> Hooks:
        if split.head is not None:
            raise BadInput("defense 'splitguard': in a u-shape the client's head would learn from the false labels")
        return LiveSplitGuard(self, split.out_shape, seed)


class LiveSplitGuard(nn.Module, Hooks):
    """The live form: a module only because its mode separates training from release, queries and tests."""

    def __init__(self, defense: SplitGuard, logits: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.defense, self.logits = defense, logits
        self.random = torch.Generator().manual_seed(seed % 2**62)
        self.fake, self.batches = False, 0
        self.kept: deque[tuple[int, Tensor]] = deque(maxlen=defense.memory)  # (FAKE or a regular half, gradient (D,))
        self.scores: list[float] = []
        self.eval()

    def batch(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """In training, with probability `p_fake`: every label becomes another class, uniformly."""
        if y.dim() != 1 or y.is_floating_point():
            raise BadInput("defense 'splitguard': it needs labels of classes")
        self.fake = self.training and self.batches >= self.defense.start and self._draw() < self.defense.p_fake
        if not self.fake:
            return x, y
        (classes,) = self.logits
        other = torch.randint(1, classes, y.shape, generator=self.random)
        return x, (y + other.to(y.device)) % classes

    def smash(self, z: Tensor) -> Tensor:
        return z.detach() if self.fake and self.training else z

    def inspect(self, g: Tensor, y: Tensor) -> None:
        """g (B, *cut), of a batch's mean loss."""
        self.batches += 1
        if self.batches <= self.defense.start:
            return
        kind = FAKE if self.fake else FIRST if self._draw() < 0.5 else SECOND
        self.kept.append((kind, g.flatten(1).mean(0).double()))
        if not self.fake:
            return
        parts = [[v.to(g.device) for k, v in self.kept if k == part] for part in (FAKE, FIRST, SECOND)]
        if all(parts):
            fake, one, two = (torch.stack(part) for part in parts)
            self.scores.append(score(fake, one, two, self.defense.mult, self.defense.exp))
            if alarm(self.scores, self.defense.policy, self.defense.threshold):
                raise Detected(f"splitguard: score {self.scores[-1]:.3f} after {len(self.scores)} fake batches")

    def state(self) -> dict[str, Any]:
        """Of the kept batches: their kinds, and their gradients as (n, D)."""
        state = {
            "random": self.random.get_state(),
            "fake": self.fake,
            "batches": self.batches,
            "scores": [*self.scores],
        }
        gradients = [gradient for _, gradient in self.kept]
        kept = {"gradients": torch.stack(gradients)} if gradients else {}
        return state | kept | {"kinds": [kind for kind, _ in self.kept]}

    def load_state(self, state: dict[str, Any]) -> None:
        self.random.set_state(state["random"])
        self.fake, self.batches, self.scores = state["fake"], state["batches"], list(state["scores"])
        self.kept.clear()
        self.kept.extend(zip(state["kinds"], state.get("gradients", []), strict=True))

    def _draw(self) -> float:
        return float(torch.rand((), generator=self.random))


def score(fake: Tensor, one: Tensor, two: Tensor, mult: float = 5.0, exp: float = 2.0) -> float:
    """Gradients (n, D) under fake labels and in two halves under true ones -> near 1 honest, about .25 hijacked."""
    means, sizes = [v.mean(0) for v in (fake, one, two)], [float(v.norm(dim=1).mean()) for v in (fake, one, two)]
    apart, noise = abs(sizes[0] - (sizes[1] + sizes[2]) / 2), abs(sizes[1] - sizes[2])
    whole = apart + noise or 1.0  # all sizes equal: 0 / 1
    x = (angle(means[0], (means[1] + means[2]) / 2) * apart - angle(means[1], means[2]) * noise) / whole
    return float(torch.tensor(mult * x, dtype=torch.float64).sigmoid() ** exp)


def angle(a: Tensor, b: Tensor) -> float:
    """Between two vectors, in radians."""
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1).acos())


def alarm(scores: list[float], policy: str, threshold: float) -> bool:
    """Below: `fast`: the last score; avg-k: the mean of the last k; voting (ours): most means of five in a row."""
    if policy == "fast":
        return scores[-1] < threshold
    if policy == "voting":
        groups = [sum(scores[i : i + 5]) / 5 for i in range(0, len(scores) - 4, 5)]
        return sum(mean < threshold for mean in groups) > len(groups) / 2
    last = int(policy.removeprefix("avg-"))
    return len(scores) >= last and sum(scores[-last:]) / last < threshold
