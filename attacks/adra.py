"""Against a frozen client a decoder of transposed convolutions learns, by absolute error, to undo what is sent.

'Adversarial' as in its paper: the decoder is the adversary, there is no critic. A 1x1 convolution to 32 channels,
then one transposed convolution of stride 2 a doubling, scaled to the cut (published: 512 channels at a 32nd of the
size, four and the last). z (N, *cut) -> guess (N, *in), clamped to in_range. Between shapes of another rank a dense
layer stands in front; flat records have dense layers alone.

After the split-learning study on retinal photographs and chest X-rays (2023; ResNet-34, U-Net). Its code trained the
decoder on private images and showed it on the same ones, with the client in train mode, so that batch statistics
leaked between images. Here it is trained on auxiliary images, asked through the client and its defence, and shown on
targets that it never saw; the client is in eval mode and does not move.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, prod

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak.contract import Attack, Goal, Grant, Shape, View
from splitleak.pieces import decode, lessons


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
        asked = lessons(view, aux, self.batch)
        for _ in range(self.epochs * ceil(len(aux) / self.batch)):
            z, i = next(asked)
            loss = F.l1_loss(decoder(z), aux[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return decode(decoder, view.smashed).clamp(low, high)


def network(cut: Shape, record: Shape, width: int) -> nn.Module:
    """(B, *cut) -> (B, *record): of any number, as published, so that no slope vanishes."""
    if len(record) == 1:
        hidden = [nn.Linear(prod(cut), 4 * width), nn.BatchNorm1d(4 * width), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(4 * width, record[0]))
    seed: list[nn.Module] = []
    if len(cut) != len(record):
        dense, cut = prod(cut), (width, *(max(side // 8, 1) for side in record[1:]))
        seed = [nn.Flatten(), nn.Linear(dense, prod(cut)), nn.Unflatten(1, cut)]
    image = len(record) == 3
    conv, grow = (nn.Conv2d, nn.ConvTranspose2d) if image else (nn.Conv1d, nn.ConvTranspose1d)
    norm = nn.BatchNorm2d if image else nn.BatchNorm1d
    scale = max(there / here for here, there in zip(cut[1:], record[1:], strict=True))
    doublings = max(ceil(log2(scale)), 0)
    layers: list[nn.Module] = [conv(cut[0], width, 1), norm(width), nn.ReLU()]
    for _ in range(doublings - 1):
        layers += [grow(width, width, 4, 2, 1), norm(width), nn.ReLU()]
    last = grow(width, record[0], 4, 2, 1) if doublings else grow(width, record[0], 3, 1, 1)
    return nn.Sequential(*seed, *layers, last, _Fit(record[1:]))


class _Fit(nn.Module):
    """To the record's size, where that is no power of two times the cut's."""

    def __init__(self, positions: Shape) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) == self.positions:
            return x
        return F.interpolate(x, self.positions, mode="bilinear" if x.dim() == 4 else "linear")
