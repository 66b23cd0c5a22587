"""The command line, one function for each command.

Exit status: 0 all cells are done or skipped, 1 some failed or diverged, 2 the user's input is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from splitleak import __version__
from splitleak.options import MatrixName, Only, PlainHelp, say, tell, with_options
from splitleak.wire import commands

if TYPE_CHECKING:
    import pandas as pd

    from splitleak.records import Record, Status

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer's own copy of click's: no public name
FAULTS: tuple[Status, ...] = ("failed", "diverged")  # statuses that end in exit status 1
INTERRUPTED = 130  # what typer makes of Ctrl-C
DataChoice = Annotated[
    str,
    typer.Option(
        metavar="auto|real|synthetic",
        help="For a dataset with `otherwise`: real takes the dataset, synthetic the other one, auto the dataset if its "
        "files are on this machine.",
    ),
]


EveryRow = Annotated[bool, typer.Option("--all", help="Print every row of the table, however wide.")]


@dataclass
class RunOptions:
    matrix: MatrixName
    out: Annotated[Path | None, typer.Option(help="Folder of the results [runs/NAME].")] = None
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of one thread [one per core].")] = None
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where networks are computed.")] = "auto"
    only: Only = None
    data: DataChoice = "auto"
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="A longer job fails: the training of a victim, or a cell with its null run and scoring [no limit].",
        ),
    ] = None
    every_row: EveryRow = False


def run(given: RunOptions) -> None:
    """Run a matrix and print the strongest attacks.

    MATRIX is a TOML file or the name of a matrix that ships (see: splitleak list matrices).

    Records go to DIR/records, the table to DIR/leaderboard.csv. The same command continues an interrupted run.
    """
    from splitleak import api
    from splitleak.report.show import cell_name
    from splitleak.report.text import count

    folder = given.out or Path("runs") / Path(given.matrix).stem
    records = api.run(
        given.matrix, folder, workers=given.workers or api.cores(), device=given.device, only=given.only or (),
        data=given.data, timeout=given.timeout, progress=True,
    )  # fmt: skip
    _print_board(api.leaderboard(records), folder / "leaderboard.csv", given.every_row)
    counts = Counter(record["status"] for record in records)
    say(f"{count(len(records), 'cell')}: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    for record in records:
        if record["status"] in FAULTS:
            tell(f"{record['status']}: {cell_name(record)}: {record['why']}")
    if any(counts[status] for status in FAULTS):
        raise typer.Exit(1)


app.command(cls=PlainHelp)(with_options(run, RunOptions))


@dataclass
class AuditOptions:
    declaration: Annotated[Path, typer.Argument(metavar="[AUDIT.toml]")] = Path("audit.toml")
    init: Annotated[bool, typer.Option("--init", help="Write a commented AUDIT.toml and stop.")] = False
    out: Annotated[Path | None, typer.Option(help="Folder of the results [runs/NAME].")] = None
    quick: Annotated[bool, typer.Option("--quick", help="Only the attacks of seconds.")] = False
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of one thread [one per core].")] = None
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where networks are computed.")] = "auto"


def audit(given: AuditOptions) -> None:
    """Measure what a network and records of your own leak at each cut.

    AUDIT.toml names the trained client, records that it was trained on, and records of strangers. Without a section
    [train] nothing is trained. A first answer comes within a minute, then the standard suite attacks.

    The result is DIR/audit.html and DIR/audit.json. The same command continues an interrupted run.
    """
    from splitleak import api
    from splitleak.auditing import declaration
    from splitleak.auditing.plans import Plan
    from splitleak.auditing.run import How, carry_out

    if given.init:
        declaration.write_template(given.declaration)
        say(f"wrote {given.declaration}")
        return
    plan = Plan(*declaration.read(given.declaration))
    folder = given.out or Path("runs") / given.declaration.stem
    how = How(
        folder, given.quick, given.workers or api.cores(), api.pick_device(given.device), True, say,
        f"splitleak audit {given.declaration} --out {folder}",
    )  # fmt: skip
    carry_out(plan, how)
    say(f"\nThe page to read, and all figures:\n  {folder / 'audit.html'}\n  {folder / 'audit.json'}")


app.command(cls=PlainHelp)(with_options(audit, AuditOptions))


@app.command(cls=PlainHelp)
def leaderboard(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV file to write.")] = Path("leaderboard.csv"),
    every_row: EveryRow = False,
) -> None:
    """Make one table from one or more results folders.

    DIR is a folder that `splitleak run` wrote. Defences are sorted by their worst case, the least leakage first.
    """
    from splitleak.contract import BadInput
    from splitleak.report.table import leaderboard as gather
    from splitleak.report.text import count
    from splitleak.store import Store

    stores = [Store(folder, read_only=True) for folder in folders]
    found = [record for store in stores for record in store.records()]
    for warning in (warning for store in stores for warning in store.warnings):
        tell(warning)
    if not found:
        raise BadInput(f"no records in {', '.join(map(str, folders))}")
    table = gather([cast("Record", record) for record in found])
    _print_board(table, output, every_row, ranked=True)
    say(f"{count(len(table), 'row')} from {count(len({record['key'] for record in found}), 'record')}")


@app.command(cls=PlainHelp)
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Also write the charts there, PNG and SVG.")
    ] = None,
) -> None:
    """Make one page of results folders or leaderboards.

    DIR is a folder that `splitleak run` wrote, a folder of leaderboards, or one CSV.

    The page is one file that works without a network.
    """
    from splitleak.report.html import render, sources
    from splitleak.report.text import count
    from splitleak.store import write

    render.require()
    found = sources.read(folders)
    for warning in (warning for source in found for warning in source.warnings):
        tell(warning)
    write(output, render.page(found, sources.published(folders)).encode())
    say(f"{output}: {count(sum(len(source.rows) for source in found), 'row')}")
    for path in render.write_charts(found, png) if png else ():
        say(str(path))


def _print_board(table: pd.DataFrame, path: Path, every_row: bool, ranked: bool = False) -> None:
    """Write the CSV; print the summary or all rows, then where the rest is."""
    from splitleak.report import show
    from splitleak.report.summary import summary

    show.write_csv(table, path)
    say(f"\n{show.long_table(table) if every_row else summary(table, ranked)}")
    say("\nAll columns:" if every_row else "\nAll rows: add --all to the command, or read")
    say(f"  {path}")


@app.command(cls=PlainHelp)
def check(matrix: MatrixName, data: DataChoice = "auto", only: Only = None) -> None:
    """Find mistakes in a matrix and estimate its minutes.

    MATRIX is a TOML file or the name of a matrix that ships. Its cells and victims are counted, none is run.
    """
    from splitleak import api
    from splitleak.jobs import estimate
    from splitleak.only import select
    from splitleak.plan import matrix as matrices

    whole, folder = select(matrices.read(matrix, data=data), only or ()), Path("runs") / Path(matrix).stem
    for note in whole.notes:
        tell(note)
    for line in estimate.report(whole, folder, api.pick_device("auto"), api.cores()):
        say(line)


@app.command("list", cls=PlainHelp)
def list_(what: Annotated[str, typer.Argument(metavar="WHAT")]) -> None:
    """List plug-ins, threat models, matrices or suites of attacks.

    WHAT is one of: attacks, defenses, models, datasets, threats, matrices, suites.
    """
    from splitleak.report.listing import listing

    say(listing(what))


@app.command(cls=PlainHelp)
def fetch(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Folder, archive or address [PhysioNet].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the files [where the dataset looks for them].")] = None,
) -> None:
    """Build the files of a dataset from a public database.

    DATASET is mitbih (makes the files of the dataset ecg) or pvc (makes the file of ecg_pvc).

    The same command continues an interrupted build.
    """
    from splitleak.datasets.reading import fetch as fetching

    for line in fetching.fetch(dataset, source, out, say=tell, progress=True):
        say(line)


app.command(cls=PlainHelp)(with_options(commands.serve, commands.ServeOptions))
app.command(cls=PlainHelp)(with_options(commands.join, commands.JoinOptions))


@app.callback(invoke_without_command=True)
def version(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Measure what a split neural network leaks, and what each defence costs."""
    if show_version:
        say(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. A mistake of the user is one line on standard error and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except UsageError as error:
        message = cast(Any, error).format_message()
        if "\n" in message:  # the help, where no command is named
            say(message, err=True)
        else:
            tell(f"{message} (see --help)")
        sys.exit(2)
    except Exception as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            sys.exit(_explained(error))
        status = INTERRUPTED  # Ctrl-C came while Python held a lock, which then could not be released
    if status == INTERRUPTED:
        tell("interrupted; run the same command again to go on")
    sys.exit(status)


def _explained(error: Exception) -> int:
    """Print an expected error in one line and return the exit status; any other error is raised again."""
    from splitleak.contract import BadInput, Diverged  # needs torch, which takes a second: not for `--help`

    if not isinstance(error, BadInput | Diverged):
        raise error
    tell(" ".join(str(error).split()))
    return 2 if isinstance(error, BadInput) else 1
