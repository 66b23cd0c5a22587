"""The commands `serve` and `join`. Their options are the fields of a dataclass."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

import typer

from splitleak import wire
from splitleak.options import MatrixName, Only, say, tell

HostPort = typer.Option(metavar="HOST:PORT", help="Address to listen on; port 0: any free port.")
Lost = typer.Option(metavar="wait|leave", help="When a client is lost: wait for it, or train on without it.")
ServeMemory = typer.Option(metavar="MB", min=1, help="Megabytes that the server may use for its clients.")
SealFile = typer.Option(help="File of 32 random bytes that only the clients have; needed if there are several.")
OwnRecords = typer.Option("--own-records", help="All private records on this machine belong to this client.")


@dataclass
class EndOptions:
    """What both commands take."""

    matrix: MatrixName
    _: KW_ONLY
    cert: Annotated[Path, typer.Option(help="Certificate of this machine (PEM file).")]
    key: Annotated[Path, typer.Option(help="Private key of that certificate (PEM file).")]
    ca: Annotated[Path, typer.Option(help="Certificate of the authority that signed all certificates (PEM file).")]
    out: Annotated[
        Path | None, typer.Option(help="Results folder; record and weights go to wire/ in it [runs/NAME].")
    ] = None
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for a machine or for its next message.")] = 120
    only: Only = None

    @property
    def folder(self) -> Path:
        return self.out or Path("runs") / Path(self.matrix).stem


@dataclass
class ServeOptions(EndOptions):
    listen: Annotated[str, HostPort] = "127.0.0.1:50051"
    lost: Annotated[str, Lost] = "wait"
    memory: Annotated[int, ServeMemory] = 200


@dataclass
class JoinOptions(EndOptions):
    client: Annotated[int, typer.Option(min=0, help="Number of this client, from 0.")]
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the server.")]
    seal: Annotated[Path | None, SealFile] = None
    own_records: Annotated[bool, OwnRecords] = False


def serve(given: ServeOptions) -> None:
    """Be the server: train a split network with clients.

    MATRIX is a TOML file or the name of a matrix that ships; with --only it must describe one victim.

    The server holds the top. Clients connect with `splitleak join` over mutual TLS.
    """
    wire.require_packages()
    from splitleak.contract import BadInput
    from splitleak.wire.certificates import Certificates
    from splitleak.wire.end import EndSettings
    from splitleak.wire.memory import MB
    from splitleak.wire.serve import serve as serving
    from splitleak.wire.single_victim import single_victim

    if given.lost not in ("wait", "leave"):
        raise BadInput(f"--lost must be wait or leave, not '{given.lost}'")
    settings = EndSettings(Certificates(given.cert, given.key, given.ca), given.folder, given.wait, tell)
    case = single_victim(given.matrix, given.only or ())
    wire.use_one_thread()
    leave, memory = given.lost == "leave", given.memory * MB
    say(f"record: {serving(case, given.listen, settings, leave_lost=leave, memory=memory)}")


def join(given: JoinOptions) -> None:
    """Be a client: train a split network with a server.

    MATRIX is the same as on the server. The client holds the records and the bottom; in a u-shape also the labels and
    the head.
    """
    wire.require_packages()
    from splitleak.wire.address import parse_address
    from splitleak.wire.certificate_number import check_own
    from splitleak.wire.certificates import Certificates
    from splitleak.wire.client import Client
    from splitleak.wire.client_data import client_data
    from splitleak.wire.end import EndSettings
    from splitleak.wire.join import join as joining
    from splitleak.wire.sealing import Seal
    from splitleak.wire.single_victim import single_victim

    settings = EndSettings(Certificates(given.cert, given.key, given.ca), given.folder, given.wait, tell)
    check_own(given.cert, given.client)
    (host, port), sealer = parse_address(given.server, "--server"), Seal(given.seal) if given.seal else None
    case = single_victim(given.matrix, given.only or ())
    wire.use_one_thread()
    data = client_data(case, given.client, given.own_records)
    say(f"record: {joining(Client(case, given.client, data, settings, sealer), host, port)}")
