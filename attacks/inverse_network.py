"""Who may query the client learns its inverse: send own records through, train a decoder from reply to record.

Every batch is asked anew, so under a random defence the decoder learns from fresh noise the mean of what z leaves
open (an adaptive attack; expectation over transformation); an image's answers serve a few times, since asking costs
more there than learning (`pieces.lessons`). z (N, *cut) -> guess (N, *in).

With goal = "labels" the same decoder goes from the reply to a mask (N, 1, H, W), to the scores of classes (N, K) or to
values (N, D): against a client that keeps its labels, by one who has labelled records of its own. A server reads its
own part's features beside z: they are what the labels were learned from.

He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 5 (black-box). New
here: the schedule, the choice of a moment on held-out auxiliary records, and, where z and records are small, a dense
decoder averaged with the convolutional one: it gathers what noise has spread over far positions. Sizes: S is near the
paper's, transposed convolutions alone; L and XL have 4 and 8 residual blocks with batch norm and all channels on every
level, XL being like res_normN8C64 of Li et al., "ResSFL", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import inf, prod
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, BadInput, Goal, Grant, Shape, View, later
from splitleak.pieces import decode, lessons

LARGE = 4096  # values of a record, an image of 64x64: its steps are dear, and a dense decoder learns it by heart
BLOCKS = {"M": 2, "L": 4, "XL": 8}  # residual blocks at the cut


@dataclass(frozen=True)
class InverseNetwork(Attack):
    steps: int = 2600  # a quarter of them for large records; paper: 50 epochs
    batch: int = 32  # paper: 32
    lr: float = 3e-3  # the peak of one cycle; paper: 1e-3, halved every 10 epochs
    width: int = 64  # channels of the decoders
    dense: int = 16384  # largest z, in elements, for which small records have a dense decoder too; paper: none
    checks: int = 20  # moments to choose from
    size: Literal["S", "M", "L", "XL"] = later("M")  # of the decoder
    goal: Goal = later(Goal.INPUTS)  # or labels

    def __post_init__(self) -> None:
        if self.goal not in (Goal.INPUTS, Goal.LABELS):
            raise BadInput(f"attack 'inverse_network': goal: must be 'inputs' or 'labels', not '{self.goal.value}'")

    @property
    def needs(self) -> Grant:  # type: ignore[override]
        asking = Grant.QUERY | Grant.AUX | Grant.SMASHED
        return asking | Grant.AUX_LABELS if self.goal is Goal.LABELS else asking

    def run(self, view: View) -> Tensor:
        aux, n = view.aux, max(len(view.aux) // 10, 1)
        truth = view.aux_labels if self.goal is Goal.LABELS else aux
        decoder = self.learn(view, aux[n:], aux[:n], truth[n:], truth[:n])
        guess = decode(decoder, view.smashed)
        return guess.sigmoid() if self.goal is Goal.LABELS and view.task.kind == "mask" else guess

    def learn(
        self, view: View, own: Tensor, held: Tensor, truth: Tensor | None = None, judge: Tensor | None = None
    ) -> nn.Module:
        """(B, *cut) -> (B, *in) or labels, trained on `own` records; `held` ones choose the moment: (n, *in) each.

        `truth` and `judge` are what is to be found of them, if not the records themselves.
        """
        truth, judge = own if truth is None else truth, held if judge is None else judge
        decoder = self.decoder(view, tuple(truth.shape[1:])).to(own.device)
        best, chosen = inf, deepcopy(decoder)
        steps = self.steps if prod(view.in_shape) < LARGE else max(self.steps // 4, 1)
        for step in self.fit(decoder, view, own, truth, steps):
            if (step + 1) % max(steps // self.checks, 1) == 0:
                error = self.loss(decode(decoder, view.query(held)), judge, view).item()
                if error < best:
                    best, chosen = error, deepcopy(decoder)
        return chosen

    def loss(self, guess: Tensor, truth: Tensor, view: View) -> Tensor:
        """Squared error of records, the task's own loss of labels: ()."""
        return view.task.loss(guess, truth) if self.goal is Goal.LABELS else F.mse_loss(guess, truth)

    def decoder(self, view: View, truth: Shape) -> nn.Module:
        """(B, *cut) -> (B, *truth): convolutional, and where both are small the mean of it and a dense one."""
        if self.goal is Goal.INPUTS:
            return self.pair(view.cut_shape, view.in_shape, view.in_range)
        wanted = (view.classes,) if view.task.kind == "classes" else truth
        plain = self.pair(view.cut_shape, wanted, None)
        if view.out_shape is None or Grant.TOP not in view.grants:
            return plain
        return _Both(plain, self.pair(view.out_shape, wanted, None), view.top)

    def pair(self, cut_shape: Shape, wanted: Shape, span: tuple[float, float] | None) -> nn.Module:
        if self.size == "S":
            return nets.light_decoder(cut_shape, wanted, span, self.width)
        cut, flat, inner = prod(cut_shape), prod(wanted), None if len(wanted) == 3 else span
        parts = [nets.decoder(cut_shape, wanted, inner, self.width, BLOCKS[self.size], full=self.size != "M")]
        if max(cut, flat) <= self.dense and flat < LARGE:
            dense = nets.decoder((cut,), (flat,), inner, self.width)
            parts.append(nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, wanted)))
        return _Mean(parts) if span is None or span is inner else nn.Sequential(_Mean(parts), nets.Clamped(*span))

    def fit(self, decoder: nn.Module, view: View, own: Tensor, truth: Tensor, steps: int) -> Iterator[int]:
        """Regress the truth about records on what the client makes of them."""
        optimizer = torch.optim.Adam(decoder.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        asked = lessons(view, own, self.batch)
        for step in range(steps):
            z, i = next(asked)
            loss = self.loss(decoder.train()(z), truth[i], view)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield step


class _Mean(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor) -> Tensor:
        return torch.stack([part(z) for part in self.parts]).mean(0)


class _Both(nn.Module):
    """What z says and what the server's features of it say; the server's part is no part of what learns."""

    def __init__(self, of_z: nn.Module, of_features: nn.Module, top: nn.Module) -> None:
        super().__init__()
        self.of_z, self.of_features, self.top = of_z, of_features, (top,)

    def forward(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.top[0](z.clone())  # (B, *out); a clone: its first layer may work in place
        return self.of_z(z) + self.of_features(features)  # type: ignore[no-any-return]
