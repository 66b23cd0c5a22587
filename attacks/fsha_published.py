"""Feature-space hijacking of images as it was published: strided pilot, residual critic, Wasserstein's distance.

All learn at every step: pilot and inverse to code auxiliary records; a critic of six residual blocks to put a
distance between the pilot's code and the client's activations, with a penalty on its slope's distance from 1; and the
client is sent the gradient of looking like the pilot. z (N, *cut) -> guess (N, *in).

Pasquini, Ateniese, Bernaschi, "Unleashing the Tiger: Inference Attacks on Split Learning", ACM CCS 2021, section 3 and
the appendix's networks, scaled to the cut. By its multiply-adds the critic takes seconds an iteration on one core (not
timed). The client's own rate is 1e-5 in the paper, which is `[train]`'s to set. For other records, and on two cores,
take `fsha`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Attack, BadInput, Goal, Grant, View
from splitleak.pieces import decode, slope_between


@dataclass(frozen=True)
class FSHAPublished(Attack):
    """The hijack: it ends training after `iterations` steps; the guess is of the client at that moment."""

    goal = Goal.INPUTS
    needs = Grant.STEPS | Grant.TAMPER | Grant.AUX | Grant.SMASHED

    iterations: int = 10000
    width: int = 64  # channels of the pilot's first level; the critic has four times as many
    penalty: float = 500.0
    lr: float = 1e-5  # Adam's, of pilot and inverse; the critic's is ten times that
    curve: int = 500  # steps between two points of the curve in the record

    def run(self, view: View) -> Tensor:
        if len(view.in_shape) != 3 or len(view.cut_shape) != 3:
            raise BadInput(f"attack 'fsha_published': it is for images and cuts (channels, height, width), "
                           f"not {view.in_shape} and {view.cut_shape}: take 'fsha'")  # fmt: skip
        aux = view.aux
        pilot, inverse = nets.strided_pilot(view.in_shape, view.cut_shape, view.in_range, self.width)
        critic = nets.residual_critic(view.cut_shape, 4 * self.width).to(aux.device)
        coding = torch.optim.Adam(nn.ModuleList([pilot, inverse]).to(aux.device).parameters(), self.lr)
        judging = torch.optim.Adam(critic.parameters(), 10 * self.lr)
        for i, step in enumerate(view.steps):
            if i % self.curve == 0:
                view.log(i, lambda z: decode(inverse, z))
            if i == self.iterations:
                break
            z = step.smashed  # (B, *cut)
            x = aux[torch.randint(len(aux), (len(z),), device=z.device)]  # (B, *in)
            code = pilot(x)
            descend(coding, F.mse_loss(inverse(code), x))
            theirs = z.clone().requires_grad_()
            (g,) = torch.autograd.grad(-critic(theirs).mean(), theirs)
            ours = code.detach()
            excess = slope_between(critic, ours, z).norm(dim=1) - 1
            descend(judging, critic(z).mean() - critic(ours).mean() + self.penalty * excess.square().mean())
            step.reply(g)
        return decode(inverse, view.smashed)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
