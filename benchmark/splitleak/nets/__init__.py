"""Networks that an attacker builds from shapes alone: the shape at the cut and the shape of a record.

A shape is (C, L) for signals, (C, H, W) for images, (D,) for flat vectors. Most layers work at the resolution of the
cut, where they cost little. Dense layers connect shapes of different rank.
"""

from __future__ import annotations

from splitleak.nets.layers import Clamped
from splitleak.nets.networks import critic, decoder, encoder, exact_decoder, light_decoder

__all__ = ["Clamped", "critic", "decoder", "encoder", "exact_decoder", "light_decoder"]
