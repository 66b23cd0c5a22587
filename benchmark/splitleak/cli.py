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
DataChoice = Annotated[
    str, typer.Option(metavar="auto|real|synthetic", help="A dataset with another one as `otherwise`.")
]


@app.command()
def run(
    matrix: MatrixName,
    out: Annotated[Path | None, typer.Option(help="Folder of records and victims [runs/NAME].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of one thread each [one per core].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    only: Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Keep only these cells.")] = None,
    data: DataChoice = "auto",
) -> None:
    """Run every cell of a matrix, print the table and write its CSV. Run again, it goes on where it stopped."""
    from splitleak import api
    from splitleak.report import show

    folder = out or Path("runs") / Path(matrix).stem
    records = api.run(
        matrix, folder, workers=api.cores() if workers is None else workers, device=device, only=only or (),
        data=data, progress=True, say=tell,
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
def check(matrix: MatrixName, data: DataChoice = "auto") -> None:
    """Find the mistakes in a matrix, count its cells and victims, and estimate the minutes of a run."""
    from splitleak import api
    from splitleak.jobs import estimate
    from splitleak.plan import matrix as matrices

    whole, folder = matrices.read(matrix, data=data), Path("runs") / Path(matrix).stem
    for note in whole.notes:
        tell(note)
    for line in estimate.report(whole, folder, api.pick_device("auto"), api.cores()):
        typer.echo(line)


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
Key = Annotated[Path, typer.Option(help="The key to it (PEM).")]
CA = Annotated[Path, typer.Option(help="The authority that signed everybody's (PEM).")]
Out = Annotated[Path | None, typer.Option(help="Folder of its record and weights, in wire/ [runs/NAME].")]
Wait = Annotated[float, typer.Option(min=1, help="Seconds to wait for another end, or for its next message.")]
Only = Annotated[list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Keep only these cells.")]


@app.command()
def serve(
    matrix: MatrixName,
    cert: Cert,
    key: Key,
    ca: CA,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0: any free one.")] = "127.0.0.1:50051",
    out: Out = None,
    wait: Wait = 120,
    lost: Annotated[str, typer.Option(metavar="wait|leave", help="A client is lost: wait for it, or go on.")] = "wait",
    only: Only = None,
) -> None:
    """Hold the top of a split network and train it with the clients that join, over mutual TLS."""
    from splitleak import wire

    wire.need()
    from splitleak.wire.agree import one_victim
    from splitleak.wire.serve import serve as serving
    from splitleak.wire.tls import Papers

    if lost not in ("wait", "leave"):
        raise BadInput(f"--lost must be wait or leave, not '{lost}'")
    folder, papers = out or Path("runs") / Path(matrix).stem, Papers(cert, key, ca)
    case = one_victim(matrix, only or ())
    wire.one_thread()
    typer.echo(f"record: {serving(case, listen, papers, folder, wait, lost == 'leave', tell)}")


@app.command()
def join(
    matrix: MatrixName,
    client: Annotated[int, typer.Option(min=0, help="Which of the clients, from 0.")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT")],
    cert: Cert,
    key: Key,
    ca: CA,
    seal: Annotated[Path | None, typer.Option(help="32 random bytes, the clients' own: several need it.")] = None,
    own_records: Annotated[bool, typer.Option("--own-records", help="All records here are this client's.")] = False,
    out: Out = None,
    wait: Wait = 120,
    only: Only = None,
) -> None:
    """Hold records, labels (in a u-shape), bottom and head, and train them with a server elsewhere."""
    from splitleak import wire

    wire.need()
    from splitleak.wire import agree, envelope, own, tls
    from splitleak.wire.join import Client

    folder, papers = out or Path("runs") / Path(matrix).stem, tls.Papers(cert, key, ca)
    (host, port), sealer = tls.address(server, "--server"), envelope.Seal(seal) if seal else None
    case = agree.one_victim(matrix, only or ())
    wire.one_thread()
    data = own.own_data(case, client, own_records)
    made = Client(case, client, data, folder, wait, sealer, tell)
    typer.echo(f"record: {made.join(host, port, papers)}")


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
