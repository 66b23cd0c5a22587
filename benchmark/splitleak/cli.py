"""The command line, one function a command. Exit 0 all done or skipped, 1 some failed, 2 bad input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from splitleak import __version__
from splitleak.contract.errors import BadInput, Diverged

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer's own copy of click's: no public name
MatrixName = Annotated[str, typer.Argument(metavar="MATRIX", help="A TOML file, or the name of a matrix that ships.")]


@app.command()
def run(
    matrix: MatrixName,
    out: Annotated[Path | None, typer.Option(help="Folder of records and victims [runs/NAME].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of one thread each [one per core].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    only: Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Keep only these cells.")] = None,
) -> None:
    """Run every cell of a matrix, print the table and write its CSV. Run again, it goes on where it stopped."""
    from splitleak import api
    from splitleak.report import show

    folder = out or Path("runs") / Path(matrix).stem
    records = api.run(
        matrix, folder, workers=api.cores() if workers is None else workers, device=device, only=only or (),
        progress=True, say=tell,
    )  # fmt: skip
    table = api.leaderboard(records)
    show.write_csv(table, folder / "leaderboard.csv")
    typer.echo(show.table(table))
    for record in records:
        if record["status"] in ("failed", "diverged"):
            tell(f"{record['status']}: {show.where(record)}: {record['why']}")
    typer.echo(f"{len(records)} cells in {folder / 'records'}; table in {folder / 'leaderboard.csv'}")
    if any(record["status"] in ("failed", "diverged") for record in records):
        raise typer.Exit(1)


@app.command()
def leaderboard(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV to write.")] = Path("leaderboard.csv"),
) -> None:
    """Gather the records of one or more results folders into one CSV."""
    from splitleak.report import show
    from splitleak.report.table import leaderboard as gather
    from splitleak.store import read_records

    found = {record["key"]: record for folder in folders for record in read_records(folder)}
    if not found:
        raise BadInput(f"no records in {', '.join(map(str, folders))}")
    table = gather(list(found.values()))
    show.write_csv(table, output)
    typer.echo(f"{len(table)} rows from {len(found)} records in {output}")


@app.command()
def check(matrix: MatrixName) -> None:
    """Validate a matrix and count its cells and victims; nothing is run."""
    from splitleak import api
    from splitleak.jobs.worker import Worker
    from splitleak.plan import matrix as matrices

    whole = matrices.read(matrix)
    legal = [cell for cell in whole.cells if not cell.skip]
    api.verify(legal, Worker(Path("runs"), whole.base, "cpu"))
    for note in whole.notes:
        tell(note)
    for why in sorted({f"skipped: attack '{cell.attack['name']}': {cell.skip}" for cell in whole.cells if cell.skip}):
        typer.echo(why)
    victims = len({cell.victim_key for cell in legal})
    typer.echo(f"{len(whole.cells)} cells ({len(whole.cells) - len(legal)} skipped) on {victims} victims")


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="attacks, defenses, models, datasets, threats, matrices")],
) -> None:
    """List the plug-ins of a kind, the threat models or the matrices that ship."""
    from splitleak.report import show

    typer.echo(show.listing(what))


@app.command()
def fetch(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="mitbih: the files of the dataset ecg; pvc: the file of ecg_pvc.")
    ],
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Folder, archive or address [PhysioNet].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the files [where the dataset looks for them].")] = None,
) -> None:
    """Build a dataset's files from the raw records of a public database. Run again, it goes on where it stopped."""
    from splitleak.datasets.reading import fetch as fetching

    for line in fetching.fetch(dataset, source, out, say=tell, progress=True):
        typer.echo(line)


Cert = Annotated[Path, typer.Option(help="This end's certificate (PEM).")]
Key = Annotated[Path, typer.Option(help="The private key of the certificate (PEM).")]
CA = Annotated[Path, typer.Option(help="The authority that signed the certificates of all ends (PEM).")]
Out = Annotated[Path | None, typer.Option(help="Folder of results; this end writes to wire/ in it [runs/NAME].")]
Listen = Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the server; port 0: any free port.")]
LostOption = Annotated[str, typer.Option(metavar="wait|leave", help="A lost client: wait for it, or leave it behind.")]
ClientNumber = Annotated[int, typer.Option(min=0, help="Number of this client, from 0.")]
ServerAddress = Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of the server.")]
SealFile = Annotated[Path | None, typer.Option(help="Key of the clients: 32 random bytes; the server has no copy.")]
OwnRecords = Annotated[bool, typer.Option("--own-records", help="Use all records of the dataset on this machine.")]
Wait = Annotated[float, typer.Option(min=1, help="Seconds to wait for another end, or for its next message.")]
Only = Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Keep only these cells.")]


@app.command()
def serve(
    matrix: MatrixName,
    cert: Cert,
    key: Key,
    ca: CA,
    listen: Listen = "127.0.0.1:50051",
    out: Out = None,
    wait: Wait = 120,
    lost: LostOption = "wait",
    only: Only = None,
) -> None:
    """Train the top of a split network with the clients that connect, over mutual TLS."""
    from splitleak import wire

    wire.require_packages()
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


@app.command()
def join(
    matrix: MatrixName,
    client: ClientNumber,
    server: ServerAddress,
    cert: Cert,
    key: Key,
    ca: CA,
    seal: SealFile = None,
    own_records: OwnRecords = False,
    out: Out = None,
    wait: Wait = 120,
    only: Only = None,
) -> None:
    """Train the bottom and head of one client on its records, with a server on this or another machine."""
    from splitleak import wire

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


@app.callback(invoke_without_command=True)
def version(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Measure what a split neural network leaks, and what each defence costs."""
    if show_version:
        typer.echo(__version__)
        raise typer.Exit


def tell(line: str) -> None:
    typer.echo(f"splitleak: {line}", err=True)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except BadInput as error:
        tell(" ".join(str(error).split()))
        sys.exit(2)
    except Diverged as error:
        tell(str(error))
        sys.exit(1)
    except UsageError as error:
        said = cast(Any, error).format_message()
        typer.echo(said if "\n" in said else f"splitleak: {said} (see --help)", err=True)
        sys.exit(2)
    if status == 130:  # what typer makes of Ctrl-C
        tell("interrupted; run the same command again to go on")
    sys.exit(status)
