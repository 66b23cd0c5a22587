"""ECG PVC net: one convolution with a pool, then two linear layers, for federated beats.

Conv1d(1, 16, 5), ReLU, MaxPool1d(2), Linear(16 * 90, 128), ReLU, Linear(128, 2) for the 185 samples of `ecg_pvc`. Cut 1
leaves the convolution at the client, cut 2 also the hidden layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Task

KERNEL, CHANNELS, HIDDEN = 5, 16, 128
LEAST = KERNEL + 1  # samples: after the unpadded convolution two are left, after the pool one


@dataclass(frozen=True)
class ECGPVCNet(Model):
    """Signals (channels, L) from L = 6 to K logits or values; of 185 z is (16, 90) at cut 1, (128,) at cut 2."""

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        if len(in_shape) != 2 or in_shape[1] < LEAST or task.kind == "mask":
            raise BadInput(f"model 'ecg_pvc_net': records of shape {in_shape} for a {task.kind} task; it takes signals "
                           f"(channels, {LEAST} samples or more) for classes or values")  # fmt: skip
        channels, length = in_shape
        wide = CHANNELS * ((length - KERNEL + 1) // 2)
        return [
            nn.Sequential(nn.Conv1d(channels, CHANNELS, KERNEL), nn.ReLU(), nn.MaxPool1d(2)),
            nn.Sequential(nn.Flatten(), nn.Linear(wide, HIDDEN), nn.ReLU()),
            nn.Linear(HIDDEN, task.size),
        ]

    def cuts(self, protocol: Protocol) -> list[int]:
        return [1] if protocol == "u_shape" else [1, 2]  # in a u-shape the server needs a layer to train
