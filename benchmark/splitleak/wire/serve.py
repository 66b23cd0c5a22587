"""Hold a port, and train a victim's top with the clients that connect to it."""

from __future__ import annotations

from pathlib import Path

from splitleak.contract.errors import BadInput, Diverged
from splitleak.plan.case import Case
from splitleak.wire.agreement import objection
from splitleak.wire.end import EndSettings
from splitleak.wire.grpc_streams import listen
from splitleak.wire.registry import ClientRegistry
from splitleak.wire.server import Server


def serve(case: Case, address: str, settings: EndSettings, *, leave_lost: bool) -> Path:
    """Train a victim's top with the clients that connect to `address`; returns the record's path.

    leave_lost: continue without a lost client instead of waiting for it. BadInput: the port is in use, a client does
    not connect in time, a message is invalid, or no client is left. Diverged: a loss or a weight is no finite number.
    """
    server = Server(case, settings, leave_lost=leave_lost)
    if server.is_finished():
        return server.store.record_path
    clients = case.cell.clients.n
    registry = ClientRegistry(lambda hello: objection(hello, case, server.progress.left_behind), settings)
    grpc_server, bound = listen(address, settings.certificates, registry.handle, clients + 4)
    settings.say(f"listening on {bound} for {clients} client{'s' * (clients > 1)}")
    try:
        server.run(registry)
    except (BadInput, Diverged) as error:
        registry.dismiss("error", why=str(error))
        server.write_failure(error)
        raise
    finally:
        grpc_server.stop(grace=1).wait()
    return server.store.record_path
