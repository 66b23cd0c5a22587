"""gRPC streams under mutual TLS: the server's port and the client's connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from splitleak.contract.errors import BadInput, Diverged
from splitleak.wire.address import format_address, parse_address
from splitleak.wire.certificates import Certificates
from splitleak.wire.connection import Connection
from splitleak.wire.message import PIECE

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # splitleak reports what goes wrong in one line of its own
import grpc

SERVICE, METHOD = "splitleak.Wire", "talk"
LAST_MESSAGE = 2  # seconds to send a last message
OPTIONS = [
    ("grpc.max_send_message_length", PIECE),
    ("grpc.max_receive_message_length", 2 * PIECE),  # up to this, the error names the size and the limit
    ("grpc.http2.max_frame_size", 2**20),  # a smashed batch in one frame saves a tenth of a round trip
    ("grpc.keepalive_time_ms", 10_000),  # a machine that has lost its power is noticed within half a minute
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # a port in use is a mistake, not a second server
]
SERVER_OPTIONS = [  # bounds for peers that connect and have no seat
    ("grpc.max_concurrent_streams", 2),  # in one connection
    ("grpc.max_connection_idle_ms", 10_000),  # without a stream
    ("grpc.server_handshake_timeout_ms", 5_000),
]
CONNECTIONS = 400  # besides those of the clients; 100 take 8 MB
WAITING = 32  # streams that wait for a thread
Handler = Callable[[Iterator[bytes], Any], Iterator[bytes]]


def listen(address: str, certificates: Certificates, handler: Handler, streams: int) -> tuple[grpc.Server, str]:
    """A running server and its address; it accepts only clients with a certificate of the authority."""
    host, port = parse_address(address, "--listen")
    _check_port(address, host, port)
    method = grpc.stream_stream_rpc_method_handler(handler)  # bytes in, bytes out
    most = ("grpc.max_allowed_incoming_connections", CONNECTIONS + streams)
    options = [*OPTIONS, *SERVER_OPTIONS, most]
    server = grpc.server(ThreadPoolExecutor(streams), options=options, maximum_concurrent_rpcs=streams + WAITING)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
    ca, key, cert = certificates.contents()
    credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
    try:
        bound = server.add_secure_port(format_address(host, port), credentials)
    except RuntimeError as error:
        raise BadInput(f"--listen {address}: the server cannot listen there ({error})") from None
    server.start()
    return server, format_address(host, bound)


def _check_port(address: str, host: str, port: int) -> None:
    """Bind the port once without gRPC, to learn the reason if it cannot be bound."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended does not block
            trial.bind(place)
            trial.listen()
    except OSError as error:
        raise BadInput(f"--listen {address}: {error.strerror or error}") from None


@contextmanager
def connect(host: str, port: int, certificates: Certificates, wait: float) -> Iterator[Connection]:
    """A connection to the server. After an error inside, the last message is still sent before it ends."""
    credentials = grpc.ssl_channel_credentials(*certificates.contents())
    channel = grpc.secure_channel(format_address(host, port), credentials, options=OPTIONS)
    connection = Connection("the server", "server", wait)
    try:
        stream = channel.stream_stream(f"/{SERVICE}/{METHOD}")(connection.outgoing())
        stream.add_callback(connection.end)
        connection.attach(stream, stream.cancel)
        yield connection
    except (BadInput, Diverged):
        connection.close()
        connection.ended.wait(LAST_MESSAGE)
        raise
    finally:
        connection.end()
        channel.close()
