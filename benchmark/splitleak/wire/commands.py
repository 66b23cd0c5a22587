"""The commands `serve` and `join`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splitleak import wire
from splitleak.options import MatrixName, Only, tell

Cert = Annotated[Path, typer.Option(help="Certificate of this machine (PEM file).")]
Key = Annotated[Path, typer.Option(help="Private key of that certificate (PEM file).")]
CA = Annotated[Path, typer.Option(help="Certificate of the authority that signed all certificates (PEM file).")]
Out = Annotated[Path | None, typer.Option(help="Results folder; record and weights go to wire/ in it [runs/NAME].")]
Wait = Annotated[float, typer.Option(min=1, help="Seconds to wait for a machine or for its next message.")]


def serve(
    matrix: MatrixName,
    cert: Cert,
    key: Key,
    ca: CA,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address to listen on; port 0: any free port.")
    ] = "127.0.0.1:50051",
    out: Out = None,
    wait: Wait = 120,
    lost: Annotated[
        str, typer.Option(metavar="wait|leave", help="When a client is lost: wait for it, or train on without it.")
    ] = "wait",
    only: Only = None,
) -> None:
    """Be the server: train a split network with clients.

    MATRIX is a TOML file or the name of a matrix that ships; with --only it must describe one victim.

    The server holds the top. Clients connect with `splitleak join` over mutual TLS.
    """
    wire.require_packages()
    from splitleak.contract import BadInput
    from splitleak.wire.certificates import Certificates
    from splitleak.wire.end import EndSettings
    from splitleak.wire.serve import serve as serving
    from splitleak.wire.single_victim import single_victim

    if lost not in ("wait", "leave"):
        raise BadInput(f"--lost must be wait or leave, not '{lost}'")
    settings = EndSettings(Certificates(cert, key, ca), out or Path("runs") / Path(matrix).stem, wait, tell)
    case = single_victim(matrix, only or ())
    wire.use_one_thread()
    typer.echo(f"record: {serving(case, listen, settings, leave_lost=lost == 'leave')}")


def join(
    matrix: MatrixName,
    client: Annotated[int, typer.Option(min=0, help="Number of this client, from 0.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the server.")],
    cert: Cert,
    key: Key,
    ca: CA,
    seal: Annotated[
        Path | None,
        typer.Option(help="File of 32 random bytes that only the clients have; needed if there are several."),
    ] = None,
    own_records: Annotated[
        bool, typer.Option("--own-records", help="All private records on this machine belong to this client.")
    ] = False,
    out: Out = None,
    wait: Wait = 120,
    only: Only = None,
) -> None:
    """Be a client: train a split network with a server.

    MATRIX is the same as on the server. The client holds the records and the bottom; in a u-shape also the labels and
    the head.
    """
    wire.require_packages()
    from splitleak.wire.address import parse_address
    from splitleak.wire.certificates import Certificates
    from splitleak.wire.client import Client
    from splitleak.wire.client_data import client_data
    from splitleak.wire.end import EndSettings
    from splitleak.wire.join import join as joining
    from splitleak.wire.sealing import Seal
    from splitleak.wire.single_victim import single_victim

    settings = EndSettings(Certificates(cert, key, ca), out or Path("runs") / Path(matrix).stem, wait, tell)
    (host, port), sealer = parse_address(server, "--server"), Seal(seal) if seal else None
    case = single_victim(matrix, only or ())
    wire.use_one_thread()
    made = Client(case, client, client_data(case, client, own_records), settings, sealer)
    typer.echo(f"record: {joining(made, host, port)}")
