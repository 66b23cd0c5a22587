"""A public method that nothing calls is refused: a misspelt hook would be a defence that does nothing."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from splitleak.contract import BadInput
from splitleak.plan import plugins
from splitleak.train.victim import Victim

HEAD = """
from dataclasses import dataclass
from functools import cached_property
import torch
from torch import nn
from splitleak import Attack, Dataset, Defense, Goal, Grant, Model
from splitleak.contract import Hooks
"""
REFUSED: dict[str, tuple[plugins.Kind, str, str]] = {
    "a misspelt hook": (
        "defense",
        "class D(Defense):\n    def smsh(self, z):\n        return z * 0\n",
        "defense './d.py': no method 'smsh' is ever called; did you mean 'smash'? (own helpers begin with _)",
    ),
    "a helper": (
        "defense",
        "class D(Defense):\n    @staticmethod\n    def xyzzy(z):\n        return z\n",
        "defense './d.py': no method 'xyzzy' is ever called (own helpers begin with _)",
    ),
    "one that is inherited": (
        "attack",
        "class Mixed(Base, Attack):\n    goal, needs = Goal.INPUTS, Grant.AUX\n    def run(self, view): ...\n",
        "attack './d.py': no method 'ran' is ever called; did you mean 'run'?",
    ),
    "of a model": (
        "model",
        "class M(Model):\n    def blocks(self, a, b): ...\n    def cuts(self, p): ...\n    def splits(self): ...\n",
        "model './d.py': no method 'splits' is ever called; did you mean 'split'?",
    ),
    "of a dataset": (
        "dataset",
        "class S(Dataset):\n    def load(self): ...\n    @classmethod\n    def locat(cls): ...\n",
        "dataset './d.py': no method 'locat' is ever called; did you mean 'locate'?",
    ),
}
BASE = "class Base:\n    def ran(self): ...\n"
LEGAL = """
@dataclass(frozen=True)
class D(Defense):
    scale: float = 2.0

    @property
    def doubled(self):
        return 2 * self.scale

    @cached_property
    def kept(self):
        return 1

    def smash(self, z):
        return self._scaled(z)

    def _scaled(self, z):
        return z * self.scale
"""
LIVE = """
class Live({bases}):
    def smash(self, z):
        return z

    def {name}(self, g, y):
        return g

    def forward(self, z):
        return z

@dataclass(frozen=True)
class D(Defense):
    def begin(self, split, seed):
        return {returned}
"""


def write(folder: Path, text: str) -> None:
    (folder / "d.py").write_text(textwrap.dedent(HEAD) + text)


@pytest.mark.parametrize("case", REFUSED)
def test_a_public_method_that_nothing_calls_is_named(tmp_path: Path, case: str) -> None:
    kind, body, wanted = REFUSED[case]
    write(tmp_path, f"{BASE}@dataclass(frozen=True)\n{body}")
    with pytest.raises(BadInput) as caught:
        plugins.make(kind, {"name": "./d.py"}, tmp_path)
    assert wanted in str(caught.value)


def test_properties_fields_and_private_helpers_are_legal(tmp_path: Path) -> None:
    write(tmp_path, LEGAL)
    made: Any = plugins.make("defense", {"name": "./d.py", "scale": 3.0}, tmp_path)
    assert made.smash(torch.ones(1)) == 3.0


def began(folder: Path, toy: Any, **given: str) -> Victim:
    write(folder, LIVE.format(**{"bases": "Hooks", "name": "gradient", "returned": "Live()"} | given))
    data, model = toy("dataset", "toy_flat").load(), toy("model", "toy_chain")
    defense: Any = plugins.make("defense", {"name": "./d.py"}, folder)
    return Victim.of(model.split(data.in_shape, data.task, 1, "vanilla"), data, defense)


def test_the_live_form_is_looked_at_too(tmp_path: Path, toy: Any) -> None:
    assert isinstance(began(tmp_path, toy, bases="nn.Module, Hooks").live, nn.Module)
    wanted = "no method 'gradients' is ever called; did you mean 'gradient'"
    with pytest.raises(BadInput, match=wanted):
        began(tmp_path, toy, bases="nn.Module, Hooks", name="gradients")
    with pytest.raises(BadInput, match="no method 'forward' is ever called"):
        began(tmp_path, toy)
    with pytest.raises(BadInput, match="begin returned Linear; it must be Hooks"):
        began(tmp_path, toy, bases="nn.Module, Hooks", returned="nn.Linear(1, 1)")
