"""Rounds under SecAgg+: the masks of the clients cancel, and the server learns only the mean.

Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS
2020, as Flower implements it. Its workflow uses the older interface, and so do the messages here. Its masks are drawn
from 32 bits of the agreed keys: enough to measure what a mean tells, not to keep a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid
from torch import Tensor

Weights = dict[str, Tensor]
Turn = Callable[[int, Weights], tuple[Weights, int]]  # (client, weights) -> (its weights, its records)


def app_of(turn: Turn, names: list[str]) -> ClientApp:
    """The app of a client. It masks the weights that `turn` returns."""
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        received = parameters_to_ndarrays(compat.recorddict_to_fitins(message.content, keep_input=True).parameters)
        before = {name: torch.from_numpy(a.copy()).float() for name, a in zip(names, received, strict=True)}
        after, records = turn(int(context.node_config["partition-id"]), before)
        sent = ndarrays_to_parameters([after[name].numpy() for name in names])
        answer = FitRes(Status(Code.OK, ""), sent, records, {})
        return Message(compat.fitres_to_recorddict(answer, keep_input=False), reply_to=message)

    return app


def rounds(grid: Grid, first: Weights, number: int, fraction: float, in_a_round: int, most: int) -> Iterator[Weights]:
    """The mean after each round; `most` is the largest number of records of one client."""
    manager = SimpleClientManager()
    for node in grid.get_node_ids():
        manager.register(GridClientProxy(node, grid, 1))
    strategy = FedAvg(
        fraction_fit=fraction, fraction_evaluate=0.0, min_fit_clients=in_a_round, min_available_clients=in_a_round
    )
    context = LegacyContext(Context(1, 1, {}, RecordDict(), {}), strategy=strategy, client_manager=manager)
    arrays = ndarrays_to_parameters([t.numpy() for t in first.values()])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(arrays, keep_input=True)
    secure = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=0.5, max_weight=float(most))
    for k in range(1, number + 1):
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: k, Key.START_TIME: 0.0})
        before = context.state.array_records[MAIN_PARAMS_RECORD]
        secure(grid, context)
        if context.state.array_records[MAIN_PARAMS_RECORD] is before:  # it logs why, and goes on as if nothing were
            raise RuntimeError(f"secure aggregation was given up in round {k}")
        made = context.state.array_records[MAIN_PARAMS_RECORD].to_numpy_ndarrays()
        yield {name: torch.from_numpy(a).float() for name, a in zip(first, made, strict=True)}
