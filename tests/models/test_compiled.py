"""Networks as programs: what TorchScript and exported programs send, and what an archive may not hold."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from splitleak.contract import BadInput, Task
from splitleak.models._compiled import compiled
from splitleak.plan import plugins

X = torch.linspace(0, 1, 5 * 64).view(5, 1, 8, 8)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 7)).eval()


def exported(folder: Path, net: nn.Module | None = None) -> Path:
    sizes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(net or network(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=sizes)
    torch.export.save(program, folder / "client.pt2")
    return folder / "client.pt2"


def scripted(folder: Path) -> Path:
    torch.jit.script(network()).save(str(folder / "client.ts"))
    return folder / "client.ts"


@pytest.mark.slow
@pytest.mark.parametrize("write", [exported, scripted])
def test_a_program_sends_what_the_network_sends(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    file = write(tmp_path)
    model = plugins.make("model", {"name": "own_network", "client": file.name}, tmp_path)
    split: Any = model.split((1, 8, 8), Task("value", 1), 1, "inference")  # type: ignore[attr-defined]
    for part in (split.bottom.train(), copy.deepcopy(split.bottom).eval()):  # it has no training mode
        torch.testing.assert_close(part(X)[0], network()(X))
    assert model.sources() == [tmp_path / file.name]
    x = X.clone().requires_grad_()
    split.bottom(x)[0].sum().backward()
    assert float(x.grad.abs().sum()) > 0  # a white box can search through it


def changed(file: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with other contents: None leaves an entry out."""
    copy = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            if (content := change(name, old.read(name))) is not None:
                new.writestr(name, content)
    file.write_bytes(copy.getvalue())
    return file


def in_the_model(old: str, new: str) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        assert old in content.decode()
        return content.decode().replace(old, new).encode()

    return change


def pickled_weight(name: str, content: bytes) -> bytes:
    if not name.endswith("weights_config.json"):
        return content
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


HOSTILE: dict[str, tuple[Callable[[str, bytes], bytes | None], str]] = {
    "a function": (in_the_model("torch.ops.aten.linear.default", "torch.os.system"), "it calls 'torch.os.system'"),
    "an expression": (
        in_the_model("Symbol('", "__import__('os').system('"),
        "its sizes hold the expression '__import__",
    ),
    "a pickled weight": (pickled_weight, "is stored as a pickle"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_code_in_an_archive_is_refused(tmp_path: Path, hostile: str) -> None:
    change, message = HOSTILE[hostile]
    with pytest.raises(BadInput, match=message) as caught:
        compiled(changed(exported(tmp_path), change), "client 'client.pt2'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["models/other_config.json", "models/other.json", "data/aotinductor/model/a.so", "extra/a", "../a"]
)
def test_an_archive_holds_one_network_and_nothing_else(tmp_path: Path, entry: str) -> None:
    """torch would load further models, whatever their graph, and native code."""
    file = exported(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(f"{archive.namelist()[0].partition('/')[0]}/{entry}", b"{}")
    with pytest.raises(BadInput, match="which is not read; legal: an export of one network"):
        compiled(file, "client")


def test_pickled_examples_are_not_read(tmp_path: Path) -> None:
    """torch itself would load them with pickle."""

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    trap = io.BytesIO()
    torch.save(((Trap(),), {}), trap)
    file = changed(exported(tmp_path), lambda name, old: trap.getvalue() if "/sample_inputs/" in name else old)
    torch.testing.assert_close(compiled(file, "client")(X), network()(X))
    assert not (tmp_path / "sprung").exists()


def test_a_network_that_was_exported_while_it_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"was exported in training mode; call \.eval\(\) before the export"):
        compiled(exported(tmp_path, network().train()), "client")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pt")
    (tmp_path / "b.pt2").write_bytes(b"no archive")
    for file, message in {
        "a.pt": "is a pickled file and no TorchScript",
        "b.pt2": "cannot be read",
        "c.ts": "no such",
    }.items():
        with pytest.raises(BadInput, match=message):
            compiled(tmp_path / file, f"client '{file}'")
