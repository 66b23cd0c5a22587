"""The identity of a record where its file names none: a hash that only exact copies share."""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor


def record_hashes(x: Tensor) -> Tensor:
    """(n, ...) -> (n,) int64, not negative: equal exactly where the values are, -0 and 0 alike."""
    some = ((part + 0).numpy() for part in x.detach().cpu().split(64))  # the sum turns -0 into 0
    digests = (blake2b(row.tobytes(), digest_size=8).digest() for rows in some for row in rows)
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests], dtype=torch.int64)
