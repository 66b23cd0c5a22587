"""Inverse network for labels (after He et al. 2019): decode labels from replies to queries.

The decoder of `inverse_network`, with the same parameters, goes from z (N, *cut) to the scores of classes (N, K), to a
mask (N, 1, H, W) or to values (N, D). It attacks a client that keeps its labels; the attacker has labelled auxiliary
records. A server also reads the features (N, *out) that its own part computes from z, because the labels were learned
from them: a second decoder goes from features to labels, and the two outputs are added.

Source: He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 5 (black-box).

Differs from the paper:
- The decoder outputs labels; the paper reconstructs records.
- The differences that `inverse_network` lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from splitleak.attacks.inverse_network import InverseNetwork
from splitleak.contract import Goal, Grant, Shape, View
from splitleak.pieces import decode


@dataclass(frozen=True)
class InverseLabels(InverseNetwork):
    goal = Goal.LABELS
    needs = Grant.QUERY | Grant.AUX | Grant.AUX_LABELS | Grant.SMASHED
    formerly: ClassVar[dict[str, Any]] = {"name": "inverse_network", "goal": "labels"}

    def run(self, view: View) -> Tensor:
        x, y, held = view.aux, view.aux_labels, max(len(view.aux) // 10, 1)
        pairs, held_pairs = (x[held:], y[held:]), (x[:held], y[:held])
        decoder = self._decoder(view, tuple(y.shape[1:]))
        guess = decode(self.learner.train(decoder, view, pairs, held_pairs, view.task.loss), view.smashed)
        return guess.sigmoid() if view.task.kind == "mask" else guess

    def _decoder(self, view: View, label_shape: Shape) -> nn.Module:
        """(B, *cut) -> (B, K) or (B, *label): from z alone, or from z and the server's features of it."""
        out_shape = (view.classes,) if view.task.kind == "classes" else label_shape
        from_smashed = self.learner.decoder(view.cut_shape, out_shape, None)
        if view.out_shape is None or Grant.TOP not in view.grants:
            return from_smashed
        from_features = self.learner.decoder(view.out_shape, out_shape, None)
        return SmashedAndFeatures(from_smashed, from_features, view.top)


class SmashedAndFeatures(nn.Module):
    """The sum of a decoder of z and a decoder of the server's features of z. The server's part is not trained."""

    def __init__(self, from_smashed: nn.Module, from_features: nn.Module, top: nn.Module) -> None:
        super().__init__()
        self.from_smashed, self.from_features = from_smashed, from_features
        self.top = (top,)  # in a tuple, so that it is no submodule: neither trained nor set to train mode

    def forward(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.top[0](z.clone())  # (B, *out); a clone: its first layer may work in place
        return self.from_smashed(z) + self.from_features(features)  # type: ignore[no-any-return]
