"""The networks: encoder, decoder, light decoder and critic for any shapes."""

from __future__ import annotations

from math import prod

from torch import nn

from splitleak.contract import Shape
from splitleak.nets.layers import (
    Residual,
    Standardise,
    bounded,
    channels_at,
    convolution,
    convolutions,
    leaky_relu,
    resolutions,
)


def encoder(in_shape: Shape, cut_shape: Shape, width: int = 64, depth: int = 1) -> nn.Module:
    """Record (B, *in) -> activation (B, *cut). The last layer is linear, so the output has any sign and scale.

    depth: residual blocks at the cut's resolution.
    """
    if len(in_shape) != len(cut_shape) or len(in_shape) == 1:
        return nn.Sequential(_features(in_shape, width), leaky_relu(), _dense(4 * width, cut_shape, width))
    down, w = resolutions(in_shape[1:], cut_shape[1:]), channels_at(cut_shape[1:], width)
    levels = convolutions([in_shape[0], *(channels_at(size, width) for size in down[1:])], down)
    blocks = [part for _ in range(depth) for part in (Residual(w, down[-1]), leaky_relu())]
    return nn.Sequential(*levels, leaky_relu(), *blocks, *convolution(w, cut_shape[0], down[-1], down[-1]))


def decoder(
    cut_shape: Shape,
    out_shape: Shape,
    out_range: tuple[float, float] | None = (0.0, 1.0),
    width: int = 64,
    depth: int = 2,
    full: bool = False,
) -> nn.Module:
    """Activation (B, *cut) of any scale -> record (B, *out) inside out_range; None: any number.

    depth: residual blocks at the cut's resolution. full: `width` channels at every resolution, and batch norm in the
    residual blocks.
    """
    first, last = Standardise(cut_shape), bounded(out_range, out_shape)
    if len(out_shape) == 1:
        return nn.Sequential(
            first, _features(cut_shape, width), leaky_relu(), _dense(4 * width, out_shape, width), last
        )
    reshape, cut_shape = _same_rank(cut_shape, out_shape, width)
    size = cut_shape[1:]
    up = resolutions(size, out_shape[1:])
    w, *between = [width if full else channels_at(p, width) for p in up[:-1]]
    blocks = [*convolution(cut_shape[0], w, size, size), leaky_relu()]
    blocks += [*(Residual(w, size, full) for _ in range(depth)), leaky_relu()]
    levels = convolutions([w, *between, out_shape[0]], up)
    return nn.Sequential(first, *reshape, *blocks, *levels, last)


def _same_rank(cut_shape: Shape, out_shape: Shape, width: int) -> tuple[list[nn.Module], Shape]:
    """Dense layers to about four positions along each axis, if the ranks differ; and the shape that then results."""
    if len(cut_shape) == len(out_shape):
        return [], cut_shape
    size = resolutions(out_shape[1:], (4,) * len(out_shape[1:]))[-1]
    start = (channels_at(size, width), *size)
    return [nn.Flatten(), _dense(prod(cut_shape), start, width), leaky_relu()], start


def light_decoder(
    cut_shape: Shape, out_shape: Shape, out_range: tuple[float, float] | None, width: int = 64
) -> nn.Module:
    """Activation -> record by transposed convolutions alone, each by a factor of at most four.

    Between shapes of different rank, and for flat records, it is the dense `decoder`.
    """
    if len(cut_shape) != len(out_shape) or len(out_shape) == 1:
        return decoder(cut_shape, out_shape, out_range, width, depth=0)
    up = resolutions(cut_shape[1:], out_shape[1:])
    levels = convolutions([cut_shape[0], *(channels_at(size, width) for size in up[1:-1]), out_shape[0]], up)
    return nn.Sequential(Standardise(cut_shape), *levels, bounded(out_range, out_shape))


def exact_decoder(
    cut_shape: Shape, out_shape: Shape, out_range: tuple[float, float] | None, width: int = 64
) -> nn.Module:
    """Activation -> record by a transposed convolution for each doubling, and one that grows to the exact size.

    Nothing is interpolated. Where an axis shrinks, between shapes of different rank, and for flat records, it is the
    `light_decoder`.
    """
    channels, size, wanted = cut_shape[0], cut_shape[1:], out_shape[1:]
    if len(cut_shape) != len(out_shape) or not size or any(s > w for s, w in zip(size, wanted, strict=True)):
        return light_decoder(cut_shape, out_shape, out_range, width)
    grows = nn.ConvTranspose1d if len(size) == 1 else nn.ConvTranspose2d
    layers: list[nn.Module] = [Standardise(cut_shape)]
    while all(2 * s <= w for s, w in zip(size, wanted, strict=True)):
        layers += [grows(channels, width, 4, 2, 1), nn.ReLU()]
        channels, size = width, tuple(2 * s for s in size)
    kernel = tuple(w - s + 1 if w > s else 3 for s, w in zip(size, wanted, strict=True))
    padding = tuple(0 if w > s else 1 for s, w in zip(size, wanted, strict=True))
    last = grows(channels, out_shape[0], kernel, 1, padding)  # type: ignore[arg-type]
    return nn.Sequential(*layers, last, bounded(out_range, out_shape))


def critic(shape: Shape, width: int = 64, outputs: int = 1) -> nn.Module:
    """Activation -> real numbers (B, outputs).

    It is dense: a convolution treats all positions alike, but what a record holds depends on the position.
    """
    first, second = nn.Linear(prod(shape), 4 * width), nn.Linear(4 * width, 4 * width)
    return nn.Sequential(nn.Flatten(), first, leaky_relu(), second, leaky_relu(), nn.Linear(4 * width, outputs))


def _features(shape: Shape, width: int) -> nn.Module:
    """(B, *shape) -> (B, 4 width): convolutions down to four positions along each axis, then one dense layer."""
    if len(shape) == 1:
        return _dense(shape[0], (4 * width,), width)
    down = resolutions(shape[1:], (4,) * len(shape[1:]))
    levels = convolutions([shape[0], *(channels_at(size, width) for size in down[1:])], down)
    inputs = prod(down[-1]) * channels_at(down[-1], width)
    return nn.Sequential(*levels, leaky_relu(), nn.Flatten(), nn.Linear(inputs, 4 * width))


def _dense(features: int, shape: Shape, width: int) -> nn.Module:
    """(B, features) -> (B, *shape): two dense layers."""
    layers = [nn.Linear(features, 4 * width), leaky_relu(), nn.Linear(4 * width, prod(shape))]
    return nn.Sequential(*layers, nn.Unflatten(1, shape))
