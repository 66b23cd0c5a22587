"""The certificate files of one end, read and checked. Both ends show a certificate of the same authority."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from splitleak.contract.errors import BadInput


@dataclass(frozen=True)
class Certificates:
    """PEM files: this end's certificate, its private key, and the authority that signs the certificates of all ends."""

    cert: Path
    key: Path
    ca: Path

    def __post_init__(self) -> None:
        for option, path in (("cert", self.cert), ("key", self.key), ("ca", self.ca)):
            if not path.is_file():
                raise BadInput(f"--{option}: no file '{path}'")
        self.context(ssl.PROTOCOL_TLS_SERVER)

    def context(self, side: ssl._SSLMethod) -> ssl.SSLContext:
        """The TLS settings with these files; BadInput if a file has the wrong content."""
        context = ssl.SSLContext(side)
        try:
            context.load_verify_locations(self.ca)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(f"--ca '{self.ca}' is not a PEM certificate ({reason(error)})") from None
        try:
            context.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(f"--cert '{self.cert}' with --key '{self.key}': {reason(error)}") from None
        return context

    def contents(self) -> tuple[bytes, bytes, bytes]:
        """The bytes of authority, key and certificate."""
        return self.ca.read_bytes(), self.key.read_bytes(), self.cert.read_bytes()


def reason(error: OSError) -> str:
    """The reason of a TLS error in lower case words."""
    text = getattr(error, "reason", None) or error.strerror or str(error)
    return str(text).lower().replace("_", " ")
