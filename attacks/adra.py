"""ADRA (split-learning study, 2023): train a transposed-convolution decoder on queried pairs.

The client is frozen. A decoder learns, by absolute error, to undo what the client sends for auxiliary records; each
query passes through the client and its defence. The decoder is a 1x1 convolution to 32 channels, then one transposed
convolution of stride 2 for each doubling of the size, scaled to the cut (published: 512 channels at a 32nd of the
size, four transposed convolutions and a last one). Between shapes of different rank a dense layer comes first; flat
records have dense layers alone. z (N, *cut) -> guess (N, *in), clamped to in_range.
"Adversarial" in the paper means that the decoder is the adversary; there is no critic.

Source: after the split-learning study on retinal photographs and chest X-rays (2023; ResNet-34, U-Net).

Differs from the paper:
- Its code trained the decoder on private images and showed it on the same images. Here it learns from auxiliary images
  and is shown on targets that it never saw.
- Its client was in train mode, so that batch statistics leaked between images. Here the client is in eval mode and
  does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Attack, Goal, Grant, Shape, View
from splitleak.pieces import decode, query_batches


@dataclass(frozen=True)
class ADRA(Attack):
    goal = Goal.INPUTS
    needs = Grant.QUERY | Grant.AUX | Grant.SMASHED

    epochs: int = 20  # paper: 20
    batch: int = 8
    lr: float = 0.01  # paper: 0.01
    momentum: float = 0.9  # paper: 0.9
    width: int = 32  # channels of the decoder; paper: 32

    def run(self, view: View) -> Tensor:
        aux, (low, high) = view.aux, view.in_range
        decoder = network(view.cut_shape, view.in_shape, self.width).to(aux.device)
        optimizer = torch.optim.SGD(decoder.parameters(), self.lr, self.momentum)
        batches = query_batches(view, aux, self.batch)
        for _ in range(self.epochs * ceil(len(aux) / self.batch)):
            z, rows = next(batches)
            loss = F.l1_loss(decoder(z), aux[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return decode(decoder, view.smashed).clamp(low, high)


def network(cut: Shape, record: Shape, width: int) -> nn.Module:
    """(B, *cut) -> (B, *record), not limited to a range, as published: so no gradient vanishes."""
    if len(record) == 1:
        hidden = [nn.Linear(prod(cut), 4 * width), nn.BatchNorm1d(4 * width), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(4 * width, record[0]))
    reshape: list[nn.Module] = []
    if len(cut) != len(record):
        dense, cut = prod(cut), (width, *(max(side // 8, 1) for side in record[1:]))
        reshape = [nn.Flatten(), nn.Linear(dense, prod(cut)), nn.Unflatten(1, cut)]
    image = len(record) == 3
    conv, transposed = (nn.Conv2d, nn.ConvTranspose2d) if image else (nn.Conv1d, nn.ConvTranspose1d)
    norm = nn.BatchNorm2d if image else nn.BatchNorm1d
    scale = max(whole / part for part, whole in zip(cut[1:], record[1:], strict=True))
    doublings = max(ceil(log2(scale)), 0)
    layers: list[nn.Module] = [conv(cut[0], width, 1), norm(width), nn.ReLU()]
    for _ in range(doublings - 1):
        layers += [transposed(width, width, 4, 2, 1), norm(width), nn.ReLU()]
    last = transposed(width, record[0], 4, 2, 1) if doublings else transposed(width, record[0], 3, 1, 1)
    return nn.Sequential(*reshape, *layers, last, Resize(record[1:]))


class Resize(nn.Module):
    """To the size of the record, where it is not a power of two times the size at the cut."""

    def __init__(self, size: Shape) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) == self.size:
            return x
        return F.interpolate(x, self.size, mode="bilinear" if x.dim() == 4 else "linear")
