"""Networks as programs: TorchScript files, and exported programs (.pt2) of which only known operators are accepted.

An exported program is read by torch, which would also unpickle parts of it, evaluate text as expressions, and call any
function that a node names. So it is read from a copy that holds nothing but a graph of aten operators and raw weights.
TorchScript is read by torch's own interpreter, which unpickles nothing in Python.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitleak.contract import BadInput
from splitleak.loading import one_line

EXPORTED, SCRIPTS = ".pt2", (".ts", ".torchscript", ".pt", ".pth")
COMPILED = (EXPORTED, *SCRIPTS)
HOW = "torch.jit.script(module).save('client.ts'), or give FILE.py:FUNCTION and weights as safetensors"
OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+(\.\w+)?|_operator\.(mul|add|sub|floordiv|getitem|eq|le|ge|lt|gt)"
)
SIZE = re.compile(  # symbols, numbers, and sums and products of them
    r"(Symbol\('\w{1,9}'(, \w{1,20}=True)*\)|Integer\(-?\d{1,12}\)|(Mul|Add|FloorDiv|Max|Min)\("
    r"|, |\)|-?\d{1,12}|[a-z]\d{1,6})*"
)
ENTRIES = re.compile(  # below the archive's first folder; torch would load other models, and native code, unasked
    r"[^/]+/(data/(weights|constants)/(model_(weights|constants)_config\.json|\w+)|data/sample_inputs/model\.pt"
    r"|models/model\.json|archive_format|archive_version|byteorder|\.data/\w+|\.format_version|version)"
)
TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


class Program(nn.Module):
    """A network that knows no training mode: it is what it was when it was written."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.program(x)
        return out

    def train(self, mode: bool = True) -> Program:
        self.training = mode
        return self


def compiled(file: Path, who: str) -> nn.Module:
    """The network of a TorchScript file or of an exported program."""
    if not file.is_file():
        raise BadInput(f"{who}: no such file ({file})")
    try:
        with zipfile.ZipFile(file) as archive:
            if file.suffix == EXPORTED:
                return Program(_exported(archive, who))
            if not any("/code/" in name for name in archive.namelist()):
                raise BadInput(f"{who} is a pickled file and no TorchScript; pickled code is never read. Legal: {HOW}")
        return Program(torch.jit.load(str(file), map_location="cpu").eval())
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{who} cannot be read: {one_line(error)}") from error


def _exported(archive: zipfile.ZipFile, who: str) -> nn.Module:
    program = torch.export.load(io.BytesIO(_without_code(archive, who)))
    module: nn.Module = program.module(check_guards=False)
    return module


def _without_code(archive: zipfile.ZipFile, who: str) -> bytes:
    """The archive again, checked, and without what holds pickles, text to evaluate, or traces of the source."""
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as written:
        for name in archive.namelist():
            if not ENTRIES.fullmatch(name):
                raise BadInput(f"{who} holds '{name[:80]}', which is not read; legal: an export of one network")
            content = archive.read(name)
            if "/sample_inputs/" in name:
                content = b""  # a pickle
            elif name.endswith("_config.json"):
                _check_weights(json.loads(content), who)
            elif name.endswith("/models/model.json"):
                content = json.dumps(_checked(json.loads(content), who)).encode()
            written.writestr(name, content)
    return copy.getvalue()


def _check_weights(config: dict[str, Any], who: str) -> None:
    for name, entry in config.get("config", {}).items():
        if not isinstance(entry, dict) or entry.get("use_pickle", True) or not entry.get("tensor_meta"):
            raise BadInput(f"{who}: '{name}' is stored as a pickle, which is never read; legal: plain tensors")


def _checked(model: dict[str, Any], who: str) -> dict[str, Any]:
    """The program with no guards and no metadata; BadInput for any function, expression or tree that is not known."""
    model["guards_code"] = []
    for each in _tables(model):
        if "metadata" in each:
            each["metadata"] = {}
        if "target" in each and isinstance(each["target"], str):
            _check_node(each, who)
        text = each.get("expr_str")
        if text is not None and not SIZE.fullmatch(str(text)):
            raise BadInput(
                f"{who}: its sizes hold the expression '{str(text)[:40]}'; legal: sums and products of sizes"
            )
        for spec in ("in_spec", "out_spec"):
            if isinstance(each.get(spec), str) and {*_types(json.loads(each[spec]))} - TREES:
                raise BadInput(f"{who}: it takes or returns more than tensors")
    return model


def _check_node(node: dict[str, Any], who: str) -> None:
    if not OPERATORS.fullmatch(node["target"]):
        raise BadInput(f"{who}: it calls '{node['target'][:60]}'; legal: operators of torch.ops.aten")
    for given in node.get("inputs", []):
        if given.get("name") in ("train", "training") and given.get("arg", {}).get("as_bool"):
            raise BadInput(f"{who} was exported in training mode; call .eval() before the export")


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """Every table in it."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tables(inner)


def _types(spec: Any) -> Iterator[Any]:
    for table in _tables(spec):
        if "type" in table:
            yield table["type"]
