"""SecAgg+ (Bell et al. 2020): the server learns the mean of the updates, no client's own.

Source: Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS 2020; the code is Flower's.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract import Defense


@dataclass(frozen=True)
class SecAgg(Defense):
    """Needs two clients or more in a round, and strategy fedavg.

    It hides which client sent which update; the mean is unchanged.
    Weights are rounded to 4e-6 times the number of clients, and kept within -8 and 8.
    """

    protocols = ("fedavg",)
    sums = True
