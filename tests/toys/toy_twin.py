"""The records of `toy_flat` in another dataset, under other ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

from toy_flat import ToyFlat

from splitleak.contract import Data, Dataset


@dataclass(frozen=True)
class ToyTwin(Dataset):
    """Every id of `toy_flat` is there too, for another record."""

    def load(self) -> Data:
        data = ToyFlat().load()
        private, aux, test = (replace(part, id=3000 - part.id) for part in (data.private, data.aux, data.test))
        return replace(data, private=private, aux=aux, test=test)
