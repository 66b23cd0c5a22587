"""What several attacks are made of: query batches, decoders and their training, distances and penalties."""

from __future__ import annotations

from splitleak.pieces.decoding import decode, invert_surrogate, query_batches
from splitleak.pieces.distances import gradient_between, squared_mmd, squared_variation
from splitleak.pieces.learner import DecoderLearner

__all__ = [
    "DecoderLearner", "decode", "gradient_between", "invert_surrogate", "query_batches", "squared_mmd",
    "squared_variation",
]  # fmt: skip
