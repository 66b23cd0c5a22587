"""What the commands of the command line share: the form of their help, two options, and notes to the user."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand


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


def tell(line: str) -> None:
    typer.echo(f"splitleak: {line}", err=True)
