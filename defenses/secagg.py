"""The server learns what the clients' updates come to together, and no client's own: SecAgg+.

Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS
2020; Flower's.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitleak.contract import Defense


@dataclass(frozen=True)
class SecAgg(Defense):
    """Needs two clients or more in a round, and strategy fedavg. It hides who, not what: the mean is as it was.

    Weights are rounded to 4e-6 times the number of clients, and kept within -8 and 8.
    """

    protocols = ("fedavg",)
    sums = True
