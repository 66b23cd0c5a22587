"""One TLS handshake before gRPC connects, to learn the reason of a failure, which gRPC does not report."""

from __future__ import annotations

import socket
import ssl
import time

from splitleak.contract.errors import BadInput
from splitleak.wire.address import format_address
from splitleak.wire.certificates import Certificates, reason

TIMEOUT = 5  # seconds for a handshake
PAUSE = 0.5  # seconds before the second handshake


class NoServer(Exception):
    """No server answers at present; a later attempt may succeed."""


def check_handshake(host: str, port: int, certificates: Certificates) -> None:
    """NoServer: try again later. BadInput: a certificate is refused, and trying again does not help."""
    if _accepted(host, port, certificates):
        return
    time.sleep(PAUSE)
    if not _accepted(host, port, certificates):  # twice: a server that has just died does not answer a second time
        raise BadInput(f"the server at {format_address(host, port)} refuses certificate '{certificates.cert}'")


def _accepted(host: str, port: int, certificates: Certificates) -> bool:
    """Whether the server sends anything after the handshake; gRPC closes the connection to an untrusted client."""
    context = certificates.context(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    server = f"the server at {format_address(host, port)}"
    try:
        plain = socket.create_connection((host, port), timeout=TIMEOUT)
        with plain, _wrapped(context, plain, host) as tls:
            return bool(tls.recv(1))  # under TLS 1.3 the server refuses a certificate only after the handshake
    except ssl.SSLCertVerificationError as error:
        raise BadInput(f"{server} is not trusted: {error.verify_message} (--ca '{certificates.ca}')") from None
    except (ssl.SSLEOFError, ConnectionResetError):
        return False
    except ssl.SSLError as error:
        raise BadInput(f"{server} refuses certificate '{certificates.cert}': {reason(error)}") from None
    except socket.gaierror as error:
        raise BadInput(f"--server {format_address(host, port)}: {error.strerror}") from None
    except OSError as error:
        raise NoServer(error.strerror or str(error)) from None


def _wrapped(context: ssl.SSLContext, plain: socket.socket, host: str) -> ssl.SSLSocket:
    """The connection after its handshake. A server that has too many connections ends it before."""
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except (ssl.SSLEOFError, ConnectionResetError):
        raise NoServer("it closed the connection at once; perhaps too many are open") from None
