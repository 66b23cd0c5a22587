"""Sequential: a network of your own, from a function in a Python file, cut between its children.

`of = "net.py:make"` names a file, relative to the matrix's folder, and a function in it that takes no arguments and
returns an nn.Sequential. The function is called anew for every network; the random state that it finds decides its
weights. The file may import files of its folder. Cut k leaves the first k children at the client; in a u-shape the last
child is the head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from splitleak.contract import BadInput, Model, Protocol, Shape, Task
from splitleak.loading import files_of, one_line
from splitleak.models._from_file import called, function_in, separate


@dataclass(frozen=True)
class Sequential(Model):
    """Takes the records that the network takes, and must give what the task needs: K logits, values or a mask."""

    of: str  # FILE.py:FUNCTION

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        blocks = _blocks(self._function(), self._who)
        self._check_shapes(blocks, in_shape, task)
        return blocks

    def cuts(self, protocol: Protocol) -> list[int]:
        """Wherever the server keeps a child with weights; the middle one of these first."""
        function = self._function()
        with torch.random.fork_rng(devices=[]):
            trains = _have_weights(function, self._who)
        end = len(trains) - 1 if protocol == "u_shape" else len(trains)
        legal = [cut for cut in range(1, end) if any(trains[cut:end])]
        return sorted(legal, key=lambda cut: cut != legal[(len(legal) - 1) // 2])

    def sources(self) -> list[Path]:
        self.cuts("vanilla")  # calls the function, which may import more files
        return files_of(self._file)

    @property
    def _who(self) -> str:
        return f"model 'sequential': '{self.of}'"

    @property
    def _file(self) -> Path:
        return self.path(self.of.rpartition(":")[0])

    def _function(self) -> Callable[[], Any]:
        file, _, name = self.of.rpartition(":")
        if not file.endswith(".py") or not name.isidentifier():
            raise BadInput(f"model 'sequential': of = '{self.of}'; it must be FILE.py:FUNCTION, as in 'net.py:make'")
        return function_in(self._file, self.of, self._who)

    @torch.no_grad()
    def _check_shapes(self, blocks: list[nn.Module], in_shape: Shape, task: Task) -> None:
        """One forward pass: a network from outside takes records of one shape, and only trying it tells which."""
        whole = nn.Sequential(*blocks).eval()
        try:
            out = whole(torch.zeros(2, *in_shape))
        except Exception as error:
            raise BadInput(f"{self._who} does not take records of shape {in_shape}: {one_line(error)}") from error
        whole.train()
        wanted = (2, task.size, *in_shape[1:]) if task.kind == "mask" else (2, task.size)
        if tuple(getattr(out, "shape", ())) != wanted:
            got = tuple(out.shape[1:]) if isinstance(out, torch.Tensor) else type(out).__name__
            raise BadInput(f"{self._who} returns {got} for a record; this task ({task.kind}) needs {wanted[1:]}")


def _blocks(function: Callable[[], Any], who: str) -> list[nn.Module]:
    """The children of a new network."""
    network = called(function, who)
    if not isinstance(network, nn.Sequential):
        raise BadInput(f"{who} returns {type(network).__name__}; it must return an nn.Sequential")
    if len(network) < 2:
        raise BadInput(f"{who} returns a network of {len(network)} children; to be cut it needs two or more")
    return separate(network, who)


@lru_cache
def _have_weights(function: Callable[[], Any], who: str) -> tuple[bool, ...]:
    """Tell for each child whether it has weights to train. The answer is kept until the file changes."""
    return tuple(any(p.requires_grad for p in block.parameters()) for block in _blocks(function, who))
