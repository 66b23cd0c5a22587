"""What models of images ask of their records."""

from __future__ import annotations

from splitleak.contract import BadInput, Shape, Task


def classifiable(who: str, in_shape: Shape, task: Task, least: int, use: str) -> Shape:
    """(channels, H, W) of images that are large enough for classes or values; BadInput for anything else.

    least: pixels of the shorter side. use: what smaller images are too small for, such as "five halvings".
    """
    if len(in_shape) != 3 or task.kind == "mask":
        raise BadInput(
            f"{who}: records of shape {in_shape} for a {task.kind} task; "
            "it takes images (channels, H, W) for classes or values"
        )
    _, height, width = in_shape
    if min(height, width) < least:
        raise BadInput(
            f"{who}: images of {height}x{width} are too small for {use}; it takes {least}x{least} and larger"
        )
    return in_shape
