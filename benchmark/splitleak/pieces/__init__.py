"""What several attacks are made of: queries, decoders and their training, hijacks, steps, distances and penalties."""

from __future__ import annotations

from splitleak.pieces.decoding import decode, invert_surrogate, query_batches
from splitleak.pieces.descent import update
from splitleak.pieces.directions import leading, lines, only_lines, unit
from splitleak.pieces.distances import gradient_between, most_plausible, squared_mmd, squared_variation
from splitleak.pieces.effort import affordable
from splitleak.pieces.hijack import Pilot, mixed
from splitleak.pieces.learner import DecoderLearner

__all__ = [
    "DecoderLearner", "Pilot", "affordable", "decode", "gradient_between", "invert_surrogate", "leading", "lines",
    "mixed", "most_plausible", "only_lines", "query_batches", "squared_mmd", "squared_variation", "unit", "update",
]  # fmt: skip
