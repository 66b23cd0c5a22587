"""What hijackers of a training share: the pilot that the client is pulled towards, and the honest part of a reply."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from splitleak import nets
from splitleak.contract import Defense, Step, View


@dataclass(frozen=True)
class Pilot:
    """A stand-in for the client that the attacker chooses, trained together with its inverse on auxiliary records."""

    steps: int
    noise: float  # on the code while both learn, in standard deviations of the code
    width: int  # channels
    copy: bool  # images: a fresh copy of the client's network

    def train(self, view: View, aux: Tensor, defense: Defense) -> tuple[Tensor, nn.Module]:
        """Returns the code of the auxiliary records (M, *cut), before the defence, and the decoder.

        The decoder learns from codes that have passed the defence, with fresh randomness.
        """
        pilot = nn.Sequential(nets.encoder(view.in_shape, view.cut_shape, self.width, depth=0), nn.LeakyReLU(0.01))
        if self.copy and len(view.in_shape) == 3:
            pilot = nn.Sequential(view.fresh_bottom())
        inverse = nets.decoder(view.cut_shape, view.in_shape, view.in_range, self.width)
        both = nn.ModuleList([pilot, inverse]).to(aux.device)
        optimizer = torch.optim.Adam(both.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, self.steps)
        for _ in range(self.steps):
            x = aux[torch.randint(len(aux), (32,), device=aux.device)]  # (B, *in)
            code = pilot(x)
            noisy = code + self.noise * code.detach().std() * torch.randn_like(code)
            loss = F.mse_loss(inverse(defense.smash(noisy)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        both.eval()
        with torch.no_grad():
            return torch.cat([pilot(x) for x in aux.split(256)]), inverse


def mixed(step: Step, hijack: Tensor, task: float) -> Tensor:
    """A share `task` of the honest gradient (B, *cut), the rest the hijack's, scaled to the honest one's norm.

    A share of 0 is the hijack's gradient as it is; the honest one is not read.
    """
    if not task:
        return hijack
    honest: Tensor = step.gradient
    scale = honest.norm() / hijack.norm().clamp(min=1e-30)
    parts: Tensor = task * honest + (1 - task) * scale * hijack
    return parts
