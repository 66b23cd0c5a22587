"""What a plug-in sets ends with it, and the victim's steps never run under an attacker's settings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.contract.view import View
from splitleak.loading import load_file
from splitleak.process_settings import ALL, NUMBERS, STANDARD, unchanged, under
from splitleak.train.data import load_data

DISTURBED = """\
import os, sys, warnings
import numpy, torch
torch.set_num_threads(2)
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = False
torch.autograd.set_detect_anomaly(True)
torch.set_autocast_enabled("cpu", True)
torch.set_float32_matmul_precision("medium")
torch.set_flush_denormal(True)
torch.backends.mha.set_fastpath_enabled(False)
torch.backends.mkldnn.enabled = False
torch.backends.mkldnn.deterministic = True
torch.backends.cudnn.enabled = False
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.deterministic = True
numpy.seterr(all="raise")
os.chdir("/")
os.environ["DISTURBED"] = "1"
os.environ.pop("HOME", None)
sys.path.insert(0, "/nowhere")
warnings.simplefilter("error")
sys.setrecursionlimit(5000)
"""


def disturb() -> None:
    exec(DISTURBED, {})


def values() -> dict[str, Any]:
    return {name: setting.get() for name, setting in ALL.items()}


@pytest.fixture(autouse=True)
def _put_back() -> Any:
    with unchanged():
        yield


def test_every_setting_is_put_back_after_an_exception_too() -> None:
    before = values()
    with contextlib.suppress(ZeroDivisionError), unchanged():
        disturb()
        assert {name for name in ALL if values()[name] == before[name]} == set()
        raise ZeroDivisionError
    assert values() == before


def test_standard_settings_are_those_of_a_fresh_process_with_one_thread() -> None:
    assert {name: NUMBERS[name].get() for name in NUMBERS} == STANDARD


def test_importing_a_file_leaves_no_setting_behind(tmp_path: Path) -> None:
    before = values()
    (tmp_path / "plug.py").write_text(DISTURBED)
    load_file(tmp_path / "plug.py", "attack")
    assert values() == before


def test_loading_a_dataset_leaves_no_setting_behind(stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case, before = stage().case, values()
    load = type(case.dataset).load

    def disturbing(self: Any) -> Any:
        found = load(self)
        disturb()
        return found

    monkeypatch.setattr(type(case.dataset), "load", disturbing)
    load_data(case, torch.device("cpu"))
    assert values() == before


def test_settings_of_a_caller_in_inference_mode_or_on_another_device_are_suspended() -> None:
    with torch.inference_mode(), torch.device("meta"):
        with under(STANDARD):
            made = torch.zeros(2, requires_grad=True)
            assert (made.device.type, made.is_inference(), torch.is_grad_enabled()) == ("cpu", False, True)
        assert torch.is_inference_mode_enabled()
        assert torch.zeros(1).device.type == "meta"
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("defense", ["none", "laplace_range", "gaussian"])
def test_attack_that_changes_settings_in_the_middle_of_the_steps_leaves_the_victim_its_bits(
    attempt: Callable[..., Any], defense: str
) -> None:
    before = values()

    def look(view: View) -> None:
        for number, _ in enumerate(view.steps):
            if number:
                assert torch.get_default_dtype() is torch.float64  # its own came back
                assert torch.get_num_threads() == 2
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(2)
            torch.set_grad_enabled(False)
            torch.set_flush_denormal(True)
            torch.backends.mkldnn.enabled = False
            torch.set_autocast_enabled("cpu", True)

    tried = attempt(look, wants="SMASHED|STEPS", defense=defense)  # raises if the victim is another one
    assert tried.victim.fingerprint() == tried.scene.kept.facts.fingerprint
    assert values() == before


def test_query_and_release_do_not_depend_on_settings_of_the_attack(attempt: Callable[..., Any]) -> None:
    found: list[tuple[torch.Tensor, ...]] = []

    def look(view: View) -> None:
        x = view.aux[:8]
        if found:  # the second time
            torch.set_autocast_enabled("cpu", True)
            torch.set_default_dtype(torch.float64)
        found.append((view.smashed, view.gradient, view.query(x)))
        torch.set_default_dtype(torch.float32)

    for _ in range(2):
        attempt(look, wants="SMASHED|GRADIENT|QUERY|AUX", defense="laplace_range", threat="query_server")
    for calm, other in zip(*found, strict=True):
        assert torch.equal(calm, other)
