"""ECG CNN (Abuadbba et al. 2020): 1-D convolutions at the client, linear layers at the server.

Cut k leaves the first k convolutions at the client. Only the first and the last convolution are followed by a pool; one
or two linear layers come after them.

Source: Abuadbba et al., "Can We Use Split Learning on 1D CNN Models for Privacy Preserving Training?", AsiaCCS 2020,
section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Task
from splitleak.models._pool import MaxOfPairs


@dataclass(frozen=True)
class ECGCNN(Model):
    """Records (1, L), L a multiple of 4, to K logits; at the last cut z is (16, L / 4)."""

    layers: Annotated[int, Field(ge=2, le=8)] = 2
    top_layers: Literal[1, 2] = 2
    softmax_head: bool = False  # True: as published, softmax before a cross-entropy that expects logits

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        if len(in_shape) != 2 or in_shape[1] % 4:
            raise BadInput(f"model 'ecg_cnn': records of shape {in_shape}; it takes signals (channels, 4 n)")
        channels, length = in_shape
        first = nn.Sequential(nn.Conv1d(channels, 16, 7, padding=3), nn.LeakyReLU(), MaxOfPairs())
        middle = [nn.Sequential(nn.Conv1d(16, 16, 5, padding=2), nn.LeakyReLU()) for _ in range(self.layers - 1)]
        middle[-1].append(MaxOfPairs())
        wide = 16 * length // 4
        linear: list[nn.Module] = [nn.Flatten()]
        if self.top_layers == 2:
            linear = [nn.Flatten(), nn.Linear(wide, 128), nn.LeakyReLU()]
            wide = 128
        last: nn.Module = nn.Linear(wide, task.size)
        if self.softmax_head:
            last = nn.Sequential(last, nn.Softmax(dim=1))
        return [first, *middle, *linear, last]

    def cuts(self, protocol: Protocol) -> list[int]:
        default = self.layers
        if protocol == "u_shape" and self.top_layers == 1:  # otherwise the server would have no weights to train
            default -= 1
        return sorted(range(1, default + 1), key=lambda cut: cut != default)
