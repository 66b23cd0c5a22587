"""A mistake in an audit is one line that says what is wrong and what is legal, status 2; nothing is written."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import splitleak
from splitleak import BadInput
from splitleak.auditing import declaration

from ..conftest import Lab, Ran

NET = """
    from torch import nn
    def client():
        return nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
    def wide():
        return nn.Linear(99, 3)
    def number():
        return 3
"""


def records(first: int, n: int = 60, length: int = 12) -> dict[str, Any]:
    draw = np.random.default_rng(first)
    x = draw.random((n, 1, length), dtype=np.float32)
    return {"x": x, "y": np.arange(n) % 2, "group": np.array([f"p{first + i // 3}" for i in range(n)])}


Main = Callable[..., Ran]


@pytest.fixture
def folder(lab: Lab) -> Path:
    """A legal audit, in the current folder."""
    here = Path.cwd()
    (here / "net.py").write_text(textwrap.dedent(NET))
    np.savez(here / "members.npz", **records(0))
    np.savez(here / "strangers.npz", **records(1000, 120))
    return here


def written(**given: Any) -> str:
    lines = {"client": "net.py:client", "members": "members.npz", "strangers": "strangers.npz"} | given
    return "\n".join(f"{name} = {toml(value)}" for name, value in lines.items())


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {each}" for key, each in value.items()) + "}"
    return str(value) if isinstance(value, list) else repr(value)


def other_people(folder: Path) -> None:
    few = records(2000, 120)
    few["group"][:5] = "p0"
    np.savez(folder / "strangers.npz", **few)


def shared_records(folder: Path) -> None:
    both = records(1000, 120)
    both["x"][:7] = records(0)["x"][:7]
    np.savez(folder / "strangers.npz", **both)


def pickled(folder: Path) -> None:
    np.savez(folder / "members.npz", x=np.array([{"a": 1}] * 60, dtype=object))


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an unknown key": (None, {"cleint": "net.py:client"}, "no parameter 'cleint'; did you mean 'client'"),
    "no such function": (None, {"client": "net.py:clinet"}, "the file has no function 'clinet'"),
    "records that the client does not take": (None, {"client": "net.py:wide"}, "does not take records of shape"),
    "no network": (None, {"client": "net.py:number"}, "it must return an nn.Module"),
    "other shapes": (
        lambda here: np.savez(here / "strangers.npz", **records(1000, 120, 10)), {}, "those of members (1, 12)"
    ),
    "overlap": (shared_records, {}, "7 of the records of strangers are also in members"),
    "people in both": (other_people, {}, "1 of the persons of strangers are also in members"),
    "weights of another network": (
        lambda here: save_file(nn.Conv1d(1, 5, 3).state_dict(), here / "w.safetensors"),
        {"weights": "w.safetensors"}, "is of another network",
    ),
    "pickled weights": (
        lambda here: torch.save(nn.Conv1d(1, 2, 3).state_dict(), here / "w.pt"), {"weights": "w.pt"}, "convert it"
    ),
    "a pickled client": (
        lambda here: torch.save(nn.Conv1d(1, 2, 3).state_dict(), here / "c.pt"), {"client": "c.pt"},
        "pickled code is never read. Legal: torch.jit.script(module).save('client.ts')",
    ),
    "pickled records": (pickled, {}, "Object arrays cannot be loaded"),
    "few records": (lambda here: np.savez(here / "members.npz", **records(0, 20)), {}, "20 members; legal: 50 or more"),
    "a cut that is not there": (None, {"cuts": [7]}, "the client cannot be cut at 7 (legal: 1, 2)"),
    "vanilla without a server": (None, {"protocol": "vanilla"}, "needs the server's part"),
    "a recipe without a server": (None, {"train": {"epochs": 3}}, "[train] needs both parts of the network"),
    "an unknown defence": (None, {"defenses": ["drpout"]}, "did you mean 'dropout'?"),
    "no defence": (None, {"defenses": []}, "at least one, such as 'none'"),
    "an unknown threat": (None, {"threats": ["martian"]}, "no threat 'martian' (legal: eavesdropper"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(main: Main, folder: Path, mistake: str) -> None:
    change, given, message = MISTAKES[mistake]
    if change is not None:
        change(folder)
    (folder / "audit.toml").write_text(written(**given))
    refused = main("audit", "audit.toml", "--out", "out").line
    assert message in refused
    assert not (folder / "out").exists()


def test_a_missing_declaration_says_how_to_begin(main: Main, folder: Path) -> None:
    assert "`splitleak audit --init` writes one" in main("audit", "nowhere.toml").line


def test_the_template_is_a_legal_declaration_and_is_not_written_over_one(main: Main, folder: Path) -> None:
    assert main("audit", "--init").status == 0
    assert declaration.read(folder / "audit.toml")[0].client == "net.py:client"
    assert "is there already" in main("audit", "--init").line


def test_what_python_hands_over_is_checked_too(tmp_path: Path) -> None:
    client = nn.Sequential(nn.Conv1d(1, 2, 3))
    given = {"members": records(0), "strangers": records(1000, 120), "out": tmp_path}
    with pytest.raises(BadInput, match=r"no option 'cut'; did you mean 'cuts'"):
        splitleak.audit(client, **given, cut=[1])
    with pytest.raises(BadInput, match="members has no array records"):
        splitleak.audit(client, **given | {"members": {"records": np.zeros(3)}})
    with pytest.raises(BadInput, match="members: x holds Python objects"):
        splitleak.audit(client, **given | {"members": {"x": np.array([None] * 60)}})
