"""Find the server and train one client's bottom and head with it, in as many attempts as it takes."""

from __future__ import annotations

import time
from pathlib import Path

from splitleak.contract.errors import BadInput, Diverged
from splitleak.wire.client import Client
from splitleak.wire.connection import ConnectionLost, PeerError
from splitleak.wire.grpc_streams import connect
from splitleak.wire.handshake import NoServer, check_handshake

PAUSE = 0.2  # seconds between two attempts to connect


def join(client: Client, host: str, port: int) -> Path:
    """Train to the end with the server at this address; returns the record's path.

    BadInput: no server answers in time, it refuses this client, or it sends an invalid message. Diverged: a loss or a
    weight is no finite number.
    """
    if client.is_finished():
        return client.store.record_path
    try:
        _until_done(client, host, port)
    except (BadInput, Diverged) as error:
        client.write_failure(error)
        raise
    return client.store.record_path


def _until_done(client: Client, host: str, port: int) -> None:
    """Connect, and connect again whenever the server is lost."""
    certificates, wait = client.settings.certificates, client.settings.wait
    until = time.monotonic() + wait
    while not client.done:
        try:
            check_handshake(host, port, certificates)
            with connect(host, port, certificates, wait) as connection:
                client.attempt(connection)
        except (NoServer, ConnectionLost) as error:
            if client.started and not client.done:
                client.note_loss(error)
                until = time.monotonic() + wait
            elif time.monotonic() > until:
                raise BadInput(f"no server at {host}:{port} within {wait:g} s ({error})") from None
        except PeerError as error:  # the server may not have noticed yet that it lost this client's last connection
            if not (error.retry and client.progress.faults) or time.monotonic() > until:
                raise
        time.sleep(0 if client.done else PAUSE)
