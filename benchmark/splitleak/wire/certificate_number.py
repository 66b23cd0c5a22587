"""The number of the client that a certificate belongs to: its common name is `client<number>`."""

from __future__ import annotations

import re
from pathlib import Path

from splitleak.contract.errors import BadInput
from splitleak.printable import shown

LEGAL = re.compile("client(0|[1-9][0-9]{0,5})")


def common_name(number: int) -> str:
    """The common name of the certificate of a client."""
    return f"client{number}"


def number_of(name: str) -> int | None:
    """The number of the client with this common name, or None."""
    found = LEGAL.fullmatch(name)
    return int(found[1]) if found else None


def check_own(cert: Path, number: int) -> None:
    """BadInput if this client's certificate is another's: the server would refuse it."""
    from cryptography import x509  # of the extra `wire`
    from cryptography.x509.oid import NameOID

    try:
        names = x509.load_pem_x509_certificate(cert.read_bytes()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, OSError) as error:
        raise BadInput(f"--cert '{cert}' is not a PEM certificate ({shown(error)})") from None
    found = str(names[0].value) if names else ""
    if found != common_name(number):
        wanted = f"client {number} needs a certificate with the common name '{common_name(number)}'"
        raise BadInput(f"--cert '{cert}': its common name is {shown(found)}; {wanted}")
