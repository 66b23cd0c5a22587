"""How many records each batch of an epoch has, computed without any memory for the records."""

from __future__ import annotations


class BatchSizes:
    """The lengths of `batched(order of n records, size)`: a last single record joins the batch before."""

    def __init__(self, n: int, size: int) -> None:
        joined = n % size == 1 and n > size
        self.n, self.size, self.count = n, size, n // size if joined else -(-n // size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.count:
            raise IndexError(place)
        return self.size if place < self.count - 1 else self.n - self.size * (self.count - 1)
