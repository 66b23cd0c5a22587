"""Inverse network (He et al. 2019): train a decoder on pairs obtained by querying the client.

The attacker sends auxiliary records through the client and its defence, and trains a decoder from the replies back to
the records. Each batch is a new query, so under a random defence the decoder learns the mean record that fits z, over
fresh noise (an adaptive attack; expectation over transformation). Replies for images are used a few times, because a
query costs more there than a training step (`pieces.query_batches`). z (N, *cut) -> guess (N, *in).
Sizes of the decoder: P is the paper's, transposed convolutions that end exactly at the record's size. S has a step for
each factor of four, and where the factors do not fit it interpolates and is a single linear layer: too weak for digits
behind a LeNet. M has 2 residual blocks at the cut; L and XL
have 4 and 8 with batch norm, and all channels at every resolution. XL is like res_normN8C64 of Li et al.,
"ResSFL", CVPR 2022.

Source: He, Zhang, Lee, "Model Inversion Attacks Against Collaborative Inference", ACSAC 2019, section 5 (black-box).

Differs from the paper:
- The learning rate follows one cycle.
- Auxiliary records that are held out choose the checkpoint.
- Where z and records are small, the guess is the mean of a convolutional and a dense decoder. The dense one gathers
  what noise has spread over distant positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from splitleak.contract import Attack, Goal, Grant, View, later
from splitleak.pieces import DecoderLearner, decode


@dataclass(frozen=True)
class InverseNetwork(Attack):
    goal = Goal.INPUTS
    needs = Grant.QUERY | Grant.AUX | Grant.SMASHED

    steps: int = 2600  # a quarter of them for records of 4096 values and more; paper: 50 epochs
    batch: int = 32  # paper: 32
    lr: float = 3e-3  # the peak of one cycle; paper: 1e-3, halved every 10 epochs
    width: int = 64  # channels of the decoders
    dense: int = 16384  # largest z, in values, for which small records have a dense decoder too; paper: none
    checks: int = 20  # checkpoints to choose from
    size: Literal["P", "S", "M", "L", "XL"] = later("M")  # of the decoder; paper: P

    def run(self, view: View) -> Tensor:
        aux, held = view.aux, max(len(view.aux) // 10, 1)
        decoder = self.learner.inverse(view, aux[held:], aux[:held])
        return decode(decoder, view.smashed)

    @property
    def learner(self) -> DecoderLearner:
        return DecoderLearner(self.steps, self.batch, self.lr, self.width, self.dense, self.checks, self.size)
