"""Which records must stay in one part: those linked by an equal person, identity or value."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from splitleak.datasets.reading.array_files import Array


def linked_records(keys: list[Array]) -> Array:
    """(n,) numbers from 0, from keys (n,) each: the same for two records that are equal in any key.

    The link may go through other records: A and B have one person, B and C are copies, so all three have one number.
    """
    n, columns, nodes = len(keys[0]), [], len(keys[0])
    for key in keys:
        values, place = np.unique(key, return_inverse=True)
        columns.append(nodes + place)
        nodes += len(values)
    rows = np.tile(np.arange(n), len(keys))
    graph = coo_matrix((np.ones(len(rows), bool), (rows, np.concatenate(columns))), shape=(nodes, nodes))
    return np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]
