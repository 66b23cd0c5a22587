"""Both ends show a certificate of the same authority: papers read and checked, a server's port, a client's call."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitleak.contract.errors import BadInput, Diverged
from splitleak.wire.line import Line
from splitleak.wire.message import LARGEST

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is told in a line of our own
import grpc

SERVICE, METHOD = "splitleak.Wire", "talk"
SECONDS = 5  # for a handshake
MOMENT = 0.5  # seconds between two tries of the same
GOODBYE = 2  # seconds for a last message
OPTIONS = [
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.http2.max_frame_size", 2**20),  # a smashed batch in one frame: a tenth off a round trip
    ("grpc.keepalive_time_ms", 10_000),  # an end whose machine went dark is noticed within half a minute
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # a port in use is a mistake, not a second server
]
Talk = Callable[[Iterator[bytes], Any], Iterator[bytes]]


class Absent(Exception):
    """Nobody answers there, for now."""


@dataclass(frozen=True)
class Papers:
    """The PEM files of one end: its certificate, the key to it, and the authority that signs everybody's."""

    cert: Path
    key: Path
    ca: Path

    def __post_init__(self) -> None:
        for option, path in (("cert", self.cert), ("key", self.key), ("ca", self.ca)):
            if not path.is_file():
                raise BadInput(f"--{option}: no file '{path}'")
        self.context(ssl.PROTOCOL_TLS_SERVER)

    def context(self, side: ssl._SSLMethod) -> ssl.SSLContext:
        made = ssl.SSLContext(side)
        try:
            made.load_verify_locations(self.ca)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(f"--ca '{self.ca}' is no PEM certificate ({_reason(error)})") from None
        try:
            made.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(f"--cert '{self.cert}' with --key '{self.key}': {_reason(error)}") from None
        return made


def address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT, both of them."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"{option} '{text}': write HOST:PORT, e.g. 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def listen(where: str, papers: Papers, talk: Talk, lines: int) -> tuple[grpc.Server, str]:
    """A running server and the address that it has; it takes nobody without a certificate of the authority."""
    host, port = address(where, "--listen")
    _bindable(where, host, port)
    handler = grpc.stream_stream_rpc_method_handler(talk)  # bytes in, bytes out
    server = grpc.server(ThreadPoolExecutor(lines), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    own = [(papers.key.read_bytes(), papers.cert.read_bytes())]
    credentials = grpc.ssl_server_credentials(own, papers.ca.read_bytes(), require_client_auth=True)
    try:
        got = server.add_secure_port(_target(host, port), credentials)
    except RuntimeError as error:
        raise BadInput(f"--listen {where}: cannot be listened on ({error})") from None
    server.start()
    return server, _target(host, got)


def _bindable(where: str, host: str, port: int) -> None:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
            trial.bind(place)
            trial.listen()
    except OSError as error:
        raise BadInput(f"--listen {where}: {error.strerror or error}") from None


def knock(host: str, port: int, papers: Papers) -> None:
    """One TLS handshake for its reasons, which gRPC does not tell. Absent: try later; BadInput: it will never do."""
    if not _welcome(host, port, papers):
        time.sleep(MOMENT)
        if not _welcome(host, port, papers):  # twice: a server that has just died is not there the second time
            raise BadInput(f"the server at {_target(host, port)} refuses certificate '{papers.cert}'")


def _welcome(host: str, port: int, papers: Papers) -> bool:
    """Does the server say anything after the handshake? gRPC hangs up on who has no certificate that it trusts."""
    context = papers.context(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    where = _target(host, port)
    try:
        plain = socket.create_connection((host, port), timeout=SECONDS)
        with plain, context.wrap_socket(plain, server_hostname=host) as tls:
            return bool(tls.recv(1))  # under TLS 1.3 only now is told whether our certificate is taken
    except ssl.SSLCertVerificationError as error:
        raise BadInput(f"the server at {where} is not trusted: {error.verify_message} (--ca '{papers.ca}')") from None
    except (ssl.SSLEOFError, ConnectionResetError):
        return False
    except ssl.SSLError as error:
        raise BadInput(f"the server at {where} refuses certificate '{papers.cert}': {_reason(error)}") from None
    except socket.gaierror as error:
        raise BadInput(f"--server {where}: {error.strerror}") from None
    except OSError as error:
        raise Absent(error.strerror or str(error)) from None


@contextmanager
def call(host: str, port: int, papers: Papers) -> Iterator[Line]:
    """A line to the server; whoever gives up inside has said so before it is cut."""
    files = (papers.ca, papers.key, papers.cert)
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
    channel, line = grpc.secure_channel(_target(host, port), credentials, options=OPTIONS), Line("the server")
    try:
        stream = channel.stream_stream(f"/{SERVICE}/{METHOD}")(line.outgoing())
        stream.add_callback(line.end)
        line.attach(stream, stream.cancel)
        yield line
    except (BadInput, Diverged):
        line.close()
        line.over.wait(GOODBYE)
        raise
    finally:
        line.end()
        channel.close()


def _target(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    said = getattr(error, "reason", None) or error.strerror or str(error)
    return str(said).lower().replace("_", " ")
