"""What the commands of the command line share: the form of their help, two options, and notes to the user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from splitleak.printable import in_a_line, printable

LONGEST = 2_000  # characters of a line on standard error


class PlainHelp(TyperCommand):
    """Help without the backslashes that some versions of typer put before brackets, for a markup that is off here.

    Some versions also drop the help of arguments: commands explain theirs in the docstring.
    """

    def get_help(self, ctx: Any) -> str:
        return super().get_help(ctx).replace("\\[", "[")


MatrixName = Annotated[str, typer.Argument(metavar="MATRIX")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=VALUE",
        help="Keep only these cells: seed=0, or defense='gaussian(epsilon=1)'. Several: all must hold.",
    ),
]


def note(line: str) -> str:
    """A line for the user on standard error: one line whatever it is made of, without control characters, and cut."""
    return f"splitleak: {in_a_line(line, LONGEST)}"


def tell(line: str) -> None:
    """Print a line for the user on standard error."""
    typer.echo(note(line), err=True)


def say(text: str, err: bool = False) -> None:
    """Print what a command answers; control characters in labels and file names are escaped."""
    typer.echo(printable(text, lines=True), err=err)


def with_options(function: Callable[[Any], None], options: type[Any]) -> Callable[..., None]:
    """A command for typer whose options are the fields of a dataclass; `function` takes an object of it."""

    def command(**given: Any) -> None:
        function(options(**given))

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    fields = inspect.signature(options).parameters.values()
    hints = get_type_hints(options, include_extras=True)
    named = [field.replace(annotation=hints[field.name]) for field in fields]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {field.name: field.annotation for field in named}
    return command
