"""An address of the form HOST:PORT."""

from __future__ import annotations

from splitleak.contract.errors import BadInput


def parse_address(text: str, option: str) -> tuple[str, int]:
    """Host and port; BadInput if one of them is missing."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"{option} '{text}': write HOST:PORT, e.g. 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def format_address(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
