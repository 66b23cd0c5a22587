"""The curve of an attack that logs: how good its guesser was, at most MOST times, spread evenly over its calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from splitleak import apart
from splitleak.contract import BadGuess
from splitleak.contract.errors import Raised
from splitleak.postponed import Postponed
from splitleak.records import CurvePoint

MOST = 20  # each point that waits for the end of the attack holds a process


@dataclass
class Curve:
    """Points in the order of their calls. When there are too many, every other one goes, and every other call."""

    who: str
    spacing: int = 1
    calls: int = 0
    kept: list[tuple[int, Postponed | CurvePoint]] = field(default_factory=list)  # with the number of the call

    def offer(self, make: Callable[[], Postponed | CurvePoint]) -> None:
        """Keep the point that `make` returns, if this call is one of those that count; otherwise do not make it."""
        number, self.calls = self.calls, self.calls + 1
        if number % self.spacing:
            return
        self.kept.append((number, make()))
        if len(self.kept) > MOST:
            self.spacing *= 2
            _drop(point for number, point in self.kept if number % self.spacing)
            self.kept = [(number, point) for number, point in self.kept if number % self.spacing == 0]

    def points(self) -> list[CurvePoint]:
        """All points; those that waited are made now. BadGuess if a guesser fails."""
        return [self._answer(point) if isinstance(point, Postponed) else point for _, point in self.kept]

    def close(self) -> None:
        """End what still waits."""
        _drop(point for _, point in self.kept)

    def _answer(self, point: Postponed) -> CurvePoint:
        try:
            found: Any = point.answer()
        except (apart.Died, Raised) as error:
            raise BadGuess(f"{self.who}: {error}") from error
        made: CurvePoint = found
        return made


def _drop(points: Any) -> None:
    for point in points:
        if isinstance(point, Postponed):
            point.drop()
