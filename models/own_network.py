"""Own network: a client that is trained already, and the server's part if you have it, with the weights that they have.

`client = "net.py:client"` names a file, relative to the matrix's folder, and a function in it that takes no arguments
and returns an nn.Module. `weights` is its state_dict as safetensors; without it the function itself loads them. The
same for `server`. With `[train] epochs = 0` nothing is trained, and the attacks meet the weights as they are. A client
that is an nn.Sequential can be cut after each of its children: cut k leaves the first k at the client, and what is left
runs at the server. The last cut, the client as it is, is the default. Both parts are attacked in eval mode.

Without a server's part an answer of zeros takes its place, no accuracy means anything, and the protocol is `inference`:
nothing but messages crosses. Attacks that need the server's part are skipped then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_tensors
from torch import Tensor, nn

from splitleak.contract import BadInput, Grant, Model, Protocol, Shape, Split, Task
from splitleak.loading import files_of, one_line
from splitleak.models._compiled import COMPILED, compiled
from splitleak.models._from_file import called, function_in, separate
from splitleak.models._held import MARK, held

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
CONVERT = "safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')"


@dataclass(frozen=True)
class OwnNetwork(Model):
    """Takes the records that the client takes; a server's part must give what the task needs."""

    client: str  # FILE.py:FUNCTION, or a TorchScript (.ts) or exported (.pt2) program
    weights: str = ""  # of the client, a safetensors file; "": those that the function gives it
    server: str = ""  # FILE.py:FUNCTION; "": none
    server_weights: str = ""

    @property
    def withheld(self) -> Grant:  # type: ignore[override]
        return Grant(0) if self.server else Grant.TOP

    def blocks(self, in_shape: Shape, task: Task) -> list[nn.Module]:
        client = self._part("client", self.weights)
        server: list[nn.Module] = [Silent(_answer(in_shape, task))]
        if self.server:
            server = self._part("server", self.server_weights)
        self._check_shapes(client, server, in_shape, task)
        return separate([*client, nn.Sequential(*server)], self._who("client"))

    def untrained(self, in_shape: Shape, task: Task, cut: int, protocol: Protocol) -> Split:
        """Layers begin anew. Other tensors, such as a parameter of the module itself, have their values shuffled."""
        split = self.split(in_shape, task, cut, protocol)
        known = {name: t.clone() for name, t in split.state_dict().items()}
        for module in split.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        for name, t in split.state_dict().items():
            if torch.equal(t, known[name]):
                t.copy_(t.flatten()[torch.randperm(t.numel(), device=t.device)].view(t.shape))
        return split

    def usual_protocol(self) -> Protocol:
        """Whoever has no server's part can only send messages."""
        return "vanilla" if self.server else "inference"

    def cuts(self, protocol: Protocol) -> list[int]:
        """After each child of the client, the last one first; there is no head for a u-shape, and maybe no server."""
        with torch.random.fork_rng(devices=[]):
            n = len(self._part("client", ""))
        legal = protocol in ("inference", "central") or (protocol == "vanilla" and bool(self.server))
        return [n, *range(1, n)] if legal else []

    def sources(self) -> list[Path]:
        self.cuts("vanilla")  # calls the function, which may import more files
        written = [part for part in (self.client, self.server) if part and not part.startswith(MARK)]
        whole = [part for part in written if Path(part).suffix in COMPILED]
        code = [file for part in written if part not in whole for file in files_of(self.path(part.rpartition(":")[0]))]
        return [
            *dict.fromkeys(code),
            *(self.path(file) for file in (*whole, self.weights, self.server_weights) if file),
        ]

    def _who(self, part: str) -> str:
        return f"model 'own_network': {part} '{getattr(self, part)}'"

    def _part(self, part: str, weights: str) -> list[nn.Module]:
        """The children of one part, or the part itself if it is no nn.Sequential, with its weights."""
        who = self._who(part)
        module = called(self._function(part), who)
        if not isinstance(module, nn.Module):
            raise BadInput(f"{who} returns {type(module).__name__}; it must return an nn.Module")
        if weights:
            _load(module, self.path(weights), f"model 'own_network': '{weights}'", part)
        return list(module) if type(module) is nn.Sequential and len(module) else [module]

    def _function(self, part: str) -> Callable[[], Any]:
        written = getattr(self, part)
        if written.startswith(MARK):
            return held(written, self._who(part))
        if not written.endswith(".py") and (file := self.path(written)).suffix in COMPILED:
            return partial(compiled, file, self._who(part))
        file, _, name = written.rpartition(":")
        if not file.endswith(".py") or not name.isidentifier():
            raise BadInput(f"{self._who(part)}: it must be FILE.py:FUNCTION, as in 'net.py:{part}'")
        return function_in(self.path(file), written, self._who(part))

    @torch.no_grad()
    def _check_shapes(self, client: list[nn.Module], server: list[nn.Module], in_shape: Shape, task: Task) -> None:
        """One forward pass: parts from outside take what they take, and only trying them tells."""
        z = _tried(
            nn.Sequential(*client), torch.zeros(2, *in_shape), self._who("client"), f"records of shape {in_shape}"
        )
        if z.ndim < 2 or len(z) != 2:
            raise BadInput(f"{self._who('client')} returns {tuple(z.shape)} for two records; it must be (2, ...)")
        if self.server:
            what = f"what the client sends, {tuple(z.shape[1:])} for a record"
            out, wanted = _tried(nn.Sequential(*server), z, self._who("server"), what), (2, *_answer(in_shape, task))
            if tuple(out.shape) != wanted:
                got = f"returns {tuple(out.shape[1:])} for a record"
                raise BadInput(f"{self._who('server')} {got}; this task ({task.kind}) needs {wanted[1:]}")


class Silent(nn.Module):
    """A server's part that says nothing: zeros (B, *answer), which no message changes."""

    def __init__(self, answer: Shape) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, z: Tensor) -> Tensor:
        return (0 * z.flatten(1).sum(1, keepdim=True)).expand(-1, prod(self.answer)).reshape(-1, *self.answer)


def _answer(in_shape: Shape, task: Task) -> Shape:
    return (task.size, *in_shape[1:]) if task.kind == "mask" else (task.size,)


def _tried(part: nn.Module, x: Tensor, who: str, what: str) -> Tensor:
    modes = [(module, module.training) for module in part.modules()]
    try:
        out = part.eval()(x)
    except Exception as error:
        raise BadInput(f"{who} does not take {what}: {one_line(error)}") from error
    for module, mode in modes:
        module.training = mode
    if not isinstance(out, Tensor) or not out.is_floating_point():
        found = str(out.dtype) if isinstance(out, Tensor) else type(out).__name__
        raise BadInput(f"{who} returns {found}; it must be a tensor of floats")
    return out


def _load(module: nn.Module, file: Path, who: str, part: str) -> None:
    """Take over weights; a line says which do not fit."""
    if file.suffix in PICKLED:
        raise BadInput(f"{who} may hold pickled code, which is never read; convert it where it was made: {CONVERT}")
    if not file.is_file():
        raise BadInput(f"{who}: no such file ({file})")
    try:
        found = load_tensors(file)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{who} is no safetensors file: {one_line(error)}") from error
    own = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    theirs = {name: tuple(t.shape) for name, t in found.items()}
    for name in [*own, *theirs]:
        if own.get(name) != theirs.get(name):
            mine, other = (shapes.get(name, "nothing") for shapes in (own, theirs))
            raise BadInput(f"{who} is of another network: '{name}' is {other} there and {mine} in the {part}")
    module.load_state_dict(found)
