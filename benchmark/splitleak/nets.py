"""Networks an attacker builds from shapes alone: what crosses the cut and a record's shape, never the victim.

A shape is (C, L) for signals, (C, H, W) for images, (D,) for flat vectors. Most layers work at the cut's
positions, where they are cheap; between shapes of different rank there are dense layers.
"""

from itertools import pairwise
from math import ceil, log2, prod

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Shape = tuple[int, ...]


def encoder(in_shape: Shape, cut_shape: Shape, width: int = 64, depth: int = 1) -> nn.Module:
    """Record -> activation, of any sign and scale (the last layer is linear); depth: residual blocks at the cut."""
    if len(in_shape) != len(cut_shape) or len(in_shape) == 1:
        return nn.Sequential(_flatten(in_shape, width), _act(), _dense(4 * width, cut_shape, width))
    down, w = _path(in_shape[1:], cut_shape[1:]), _wide(width, cut_shape[1:])
    levels = _levels([in_shape[0], *(_wide(width, p) for p in down[1:])], down)
    blocks = [part for _ in range(depth) for part in (_Residual(w, down[-1]), _act())]
    return nn.Sequential(*levels, _act(), *blocks, *_level(w, cut_shape[0], *down[-1:] * 2))


def decoder(
    cut_shape: Shape,
    out_shape: Shape,
    out_range: tuple[float, float] | None = (0.0, 1.0),
    width: int = 64,
    depth: int = 2,
    full: bool = False,
) -> nn.Module:
    """Activation of any scale -> record inside out_range (None: any number).

    depth: residual blocks at the cut; full: `width` channels on every level, the blocks with batch norm.
    """
    first, last = _Standardise(cut_shape), _within(out_range, out_shape)
    if len(out_shape) == 1:
        return nn.Sequential(first, _flatten(cut_shape, width), _act(), _dense(4 * width, out_shape, width), last)
    here, there = cut_shape[1:], out_shape[1:]
    seed: list[nn.Module] = []
    if len(cut_shape) != len(out_shape):
        here = _path(there, (4,) * len(there))[-1]
        seed = [nn.Flatten(), _dense(prod(cut_shape), (_wide(width, here), *here), width), _act()]
        cut_shape = (_wide(width, here), *here)
    up = _path(here, there)
    w, *between = [width if full else _wide(width, p) for p in up[:-1]]
    body = [*_level(cut_shape[0], w, here, here), _act(), *(_Residual(w, here, full) for _ in range(depth)), _act()]
    levels = _levels([w, *between, out_shape[0]], up)
    return nn.Sequential(first, *seed, *body, *levels, last)


def light_decoder(
    cut_shape: Shape, out_shape: Shape, out_range: tuple[float, float] | None, width: int = 64
) -> nn.Module:
    """Activation -> record by transposed convolutions alone, one a factor of up to four; dense between ranks."""
    if len(cut_shape) != len(out_shape) or len(out_shape) == 1:
        return decoder(cut_shape, out_shape, out_range, width, depth=0)
    path = _path(cut_shape[1:], out_shape[1:])
    levels = _levels([cut_shape[0], *(_wide(width, p) for p in path[1:-1]), out_shape[0]], path)
    return nn.Sequential(_Standardise(cut_shape), *levels, _within(out_range, out_shape))


def critic(shape: Shape, width: int = 64) -> nn.Module:
    """Activation -> one real number (B, 1). Dense: a convolution judges positions alike, and records have places."""
    first = nn.Linear(prod(shape), 4 * width)
    return nn.Sequential(nn.Flatten(), first, _act(), nn.Linear(4 * width, 4 * width), _act(), nn.Linear(4 * width, 1))


def strided_pilot(record: Shape, cut: Shape, span: tuple[float, float], width: int) -> tuple[nn.Module, nn.Module]:
    """Convolutions of stride 2 with 64, 128, 256 channels and back with 256, 128, one a halving, and tanh."""
    scale = max(there / here for here, there in zip(cut[1:], record[1:], strict=True))
    halvings = max(round(log2(scale)), 0)
    wide = [min(width * 2**k, 4 * width) for k in range(max(halvings - 1, 0))]
    if not halvings:
        down: list[nn.Module] = [nn.Conv2d(record[0], cut[0], 3, 1, 1)]
        up: list[nn.Module] = [nn.Conv2d(cut[0], record[0], 3, 1, 1)]
    else:
        there, back = [record[0], *wide, cut[0]], [cut[0], *(4 * width // 2**k for k in range(len(wide))), record[0]]
        down, up = [], []
        for k in range(halvings):
            down += [*([nn.SiLU()] if k else []), nn.Conv2d(there[k], there[k + 1], 3, 2, 1)]
            up += [*([nn.ReLU()] if k else []), nn.ConvTranspose2d(back[k], back[k + 1], 4, 2, 1)]
    pilot = nn.Sequential(*down, nn.AdaptiveAvgPool2d(cut[1:]))  # to the cut's size, where factors are uneven
    return pilot, nn.Sequential(*up, nn.Upsample(record[1:], mode="bilinear"), nn.Tanh(), _Tanh(*span))


def residual_critic(cut: Shape, width: int) -> nn.Module:
    """A convolution, six residual blocks, a convolution of stride 2 and a dense layer: (B, *cut) -> (B, 1)."""
    half = [(side + 1) // 2 for side in cut[1:]]
    last = [nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(width * prod(half), 1)]
    return nn.Sequential(nn.Conv2d(cut[0], width, 3, 1, 1), nn.ReLU(), *(_Block(width) for _ in range(6)), *last)


def _flatten(shape: Shape, width: int) -> nn.Module:
    """Shape -> 4 width features: down to four positions an axis, then one dense layer."""
    if len(shape) == 1:
        return _dense(shape[0], (4 * width,), width)
    down = _path(shape[1:], (4,) * len(shape[1:]))
    levels = _levels([shape[0], *(_wide(width, p) for p in down[1:])], down)
    return nn.Sequential(*levels, _act(), nn.Flatten(), nn.Linear(prod(down[-1]) * _wide(width, down[-1]), 4 * width))


def _dense(features: int, shape: Shape, width: int) -> nn.Module:
    layers = [nn.Linear(features, 4 * width), _act(), nn.Linear(4 * width, prod(shape))]
    return nn.Sequential(*layers, nn.Unflatten(1, shape))


def _path(here: Shape, there: Shape) -> list[Shape]:
    """At least one step, each axis by a factor of up to four: (28, 28) -> (7, 7) -> (4, 4)."""
    path = [here]
    while path[-1] != there or path == [here]:
        pairs = zip(path[-1], there, strict=True)
        path.append(tuple(max(t, ceil(s / 4)) if s > t else min(t, 4 * s) for s, t in pairs))
    return path


def _wide(width: int, positions: Shape) -> int:
    """Channels: every level costs about the same, so fewer where there are more positions."""
    return max(width // 4, min(width, int(width * (32 / prod(positions)) ** 0.5)))


def _levels(channels: list[int], path: list[Shape]) -> list[nn.Module]:
    levels: list[nn.Module] = []
    for (i, o), (here, there) in zip(pairwise(channels), pairwise(path), strict=True):
        levels += [*([_act()] if levels else []), *_level(i, o, here, there)]
    return levels


def _level(inputs: int, outputs: int, here: Shape, there: Shape) -> list[nn.Module]:
    """A convolution from here to there: strided down, transposed up, else (uneven factors) after a resize."""
    down = tuple(ceil(s / t) for s, t in zip(here, there, strict=True))
    up = tuple(ceil(t / s) for s, t in zip(here, there, strict=True))
    if all(ceil(s / f) == t for s, f, t in zip(here, down, there, strict=True)):
        return [_conv(inputs, outputs, down)]
    if all(ceil(t / f) == s for s, f, t in zip(here, up, there, strict=True)):
        return [_conv(inputs, outputs, up, there)]
    return [_Resize(there), _conv(inputs, outputs, (1,) * len(there))]


def _conv(inputs: int, outputs: int, factor: Shape, grow_to: Shape = ()) -> nn.Module:
    """Kernels of 2 factor - 1 reach from every position to its neighbours' centres; 5 (3 in images) at factor 1."""
    kernel = tuple(2 * f - 1 if f > 1 else 7 - 2 * len(factor) for f in factor)
    pad = tuple(k // 2 for k in kernel)
    if grow_to:
        extra = tuple((t - 1) % f for t, f in zip(grow_to, factor, strict=True))
        grow = nn.ConvTranspose1d if len(factor) == 1 else nn.ConvTranspose2d
        return grow(inputs, outputs, kernel, factor, pad, extra)  # type: ignore[arg-type]
    return (nn.Conv1d if len(factor) == 1 else nn.Conv2d)(inputs, outputs, kernel, factor, pad)  # type: ignore[arg-type]


def _act() -> nn.Module:
    return nn.LeakyReLU(0.2)


class _Residual(nn.Module):
    def __init__(self, w: int, positions: Shape, norm: bool = False) -> None:
        super().__init__()
        layers = [*_level(w, w, positions, positions), _act(), *_level(w, w, positions, positions)]
        if norm:
            layers.insert(1, (nn.BatchNorm1d if len(positions) == 1 else nn.BatchNorm2d)(w))
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class _Resize(nn.Module):
    def __init__(self, positions: Shape) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.positions, mode="linear" if len(self.positions) == 1 else "bilinear")


class _Standardise(nn.Module):
    """Mean 0, variance 1 of each channel (all of a flat vector), whatever the scale of victim and defence."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(shape[0] if len(shape) > 1 else 1, affine=False)

    def forward(self, z: Tensor) -> Tensor:
        channels = z.flatten(2) if z.ndim > 2 else z[:, None]
        return self.norm(channels).view_as(z)  # type: ignore[no-any-return]


def _within(out_range: tuple[float, float] | None, shape: Shape) -> nn.Module:
    if out_range is None:
        return nn.Identity()
    return Clamped(*out_range) if len(shape) == 3 else _Range(*out_range)


class Clamped(nn.Module):
    """Centred on the range, and inside it in eval mode only: for images.

    A sigmoid that has gone to an image's black background has no slope left to come back: on MNIST an autoencoder
    stayed at 0.113, an all-black guess, for 300 steps, and has 0.013 after 250 with this.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        x = (self.low + self.high) / 2 + (self.high - self.low) * x
        return x if self.training else x.clamp(self.low, self.high)


class _Range(nn.Module):
    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * x.sigmoid()


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class _Tanh(nn.Module):
    """From tanh's range to the records'."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * (x + 1) / 2
