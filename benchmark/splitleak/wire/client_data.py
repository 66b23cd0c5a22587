"""The records that one client holds."""

from __future__ import annotations

from dataclasses import replace

import torch

from splitleak.contract import Data
from splitleak.contract.errors import BadInput
from splitleak.plan.case import Case
from splitleak.score import utility
from splitleak.train.data import load_data
from splitleak.train.division import divide


def client_data(case: Case, number: int, own_records: bool) -> Data:
    """This client's part of the private records and its share of the test part, which may be empty, as in `run`.

    own_records: all records of the dataset on this machine are this client's.
    """
    cell = case.cell
    if number >= cell.clients.n:
        raise BadInput(f"--client {number}: there are {cell.clients.n} clients, numbered 0 to {cell.clients.n - 1}")
    data = load_data(case, torch.device("cpu"))
    if own_records or cell.clients.n == 1:
        return data
    private = divide(data.private, cell.clients, data.task, cell.seeds.order)[number]
    share = utility.shares_of_test(data.test, cell.clients, data.task, cell.seeds.order)[number]
    return replace(data, private=private, test=data.test.take(torch.arange(0)) if share is None else share)
