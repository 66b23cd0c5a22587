"""Messages without the few fixed tensors that a defence may add: these are found in the messages alone.

If the algorithm of the defence, with tensors that the attacker draws himself, makes K different messages of one output,
then the victim adds one of K tensors of its own, which the attacker does not know. The released messages then lie in K
heaps of the same form. k-means finds the heaps (Lloyd 1982, from the starts of Arthur and Vassilvitskii 2007), and each
message is moved by the difference of its heap's mean from the mean of all heaps. What is left is the client's output
plus the mean of the K tensors, which is the same for all messages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitleak.contract import Defense, Shape, Split, View
from splitleak.contract.split import Bottom
from splitleak.pieces.learned_channel import FEW, few_different, nearest

STARTS, ROUNDS = 8, 50  # of k-means
COPIES = 4 * FEW  # of one output, to see how many messages the algorithm makes of it


def without_shifts(view: View) -> Tensor:
    """(N, *cut): the released messages; as they are where the defence adds nothing, or one of very many tensors."""
    z = view.smashed
    count = shifts_of(view.defense, view.in_shape, view.cut_shape, view.in_range)
    if count == 1 or len(z) < 2 * count:
        return z
    means = heaps(z.flatten(1).double().cpu(), count).view(count, *z.shape[1:]).to(z)
    return z - nearest(means, z) + means.mean(0)


def shifts_of(defense: Defense, in_shape: Shape, cut_shape: Shape, in_range: tuple[float, float]) -> int:
    """How many different messages the algorithm makes of one output; 1 also if there are more than `FEW`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = Split(Bottom(Silent(cut_shape)), nn.Flatten()).measure(in_shape, in_range)
        live = defense.begin(network, 0)
        if isinstance(live, nn.Module):
            live.eval()
        found = few_different(live.smash(torch.randn(1, *cut_shape).expand(COPIES, *cut_shape)), 1e-12)
    return 1 if found is None else len(found)


def heaps(z: Tensor, count: int) -> Tensor:
    """(N, D) -> (count, D): the means of the best of several runs of k-means."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = [_settled(z, _spread(z, count)) for _ in range(STARTS)]
    return min(found, key=lambda means: float(torch.cdist(z, means).amin(1).square().sum()))


def _spread(z: Tensor, count: int) -> Tensor:
    """(count, D): messages, each drawn with the square of its distance from those before (k-means++)."""
    means = z[torch.randint(len(z), (1,))]
    for _ in range(count - 1):
        far = torch.cdist(z, means).amin(1).square() + 1e-12
        means = torch.cat([means, z[torch.multinomial(far, 1)]])
    return means


def _settled(z: Tensor, means: Tensor) -> Tensor:
    """The means (K, D), each moved to the middle of the messages (N, D) that are nearest to it, again and again."""
    for _ in range(ROUNDS):
        heap = torch.cdist(z, means).argmin(1)
        own = [z[heap == k] for k in range(len(means))]
        means = torch.stack([part.mean(0) if len(part) else means[k] for k, part in enumerate(own)])
    return means


class Silent(nn.Module):
    """A client that sends zeros (B, *cut)."""

    def __init__(self, cut_shape: Shape) -> None:
        super().__init__()
        self.cut_shape = cut_shape

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), *self.cut_shape)
