"""Hold a port, and train a victim's top with the clients that connect to it."""

from __future__ import annotations

from pathlib import Path

from splitleak.contract.errors import BadInput, Diverged
from splitleak.plan.case import Case
from splitleak.wire.agreement import Hello, objection
from splitleak.wire.end import EndSettings
from splitleak.wire.grpc_streams import listen
from splitleak.wire.memory import Memory
from splitleak.wire.network_memory import objection_to_size
from splitleak.wire.registry import STREAMS, ClientRegistry
from splitleak.wire.server import Server

SPARE = 8  # threads for peers that are refused at once


def serve(case: Case, address: str, settings: EndSettings, *, leave_lost: bool, memory: int) -> Path:
    """Train a victim's top with the clients that connect to `address`; returns the record's path.

    leave_lost: continue without a lost client instead of waiting for it. memory: bytes for what clients send and need.
    BadInput: the port is in use, a client does
    not connect in time, a message is invalid, or no client is left. Diverged: a loss or a weight is no finite number.
    """
    server = Server(case, settings, leave_lost=leave_lost)
    if server.is_finished():
        return server.store.record_path
    clients = case.cell.clients.n

    def why_not(hello: Hello) -> str | None:
        return objection(hello, case, server.progress.left_behind) or objection_to_size(case, hello.form, memory)

    registry = ClientRegistry(clients, why_not, settings, Memory(memory))
    grpc_server, bound = listen(address, settings.certificates, registry.handle, STREAMS * clients + SPARE)
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
