"""`--only AXIS=VALUE` takes names, numbers and labels as tables print them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitleak.contract.errors import BadInput
from splitleak.only import select
from splitleak.plan import matrix

from .conftest import Ran

MATRIX = {
    "matrix": {
        "dataset": [{"name": "ecg_synthetic", "n": [1000, 2000]}],
        "model": ["ecg_cnn"],
        "cut": [1, 2],
        "clients": [1, 2, {"n": 2, "mode": "parallel"}],
        "aux": ["same", {"name": "same", "n": 50}],
        "defense": ["none", {"name": "gaussian", "epsilon": [1, 10], "clip": 5.0}],
        "attack": ["blind", "channel"],
        "seed": [0, 1],
    }
}


def kept(*only: str) -> int:
    return len(select(matrix.read(MATRIX, Path.cwd()), only).cells)


def test_a_value_is_a_label_a_name_or_a_number() -> None:
    whole = kept()
    assert kept("defense=gaussian") == 2 * whole // 3
    for label in ("gaussian(epsilon=1, clip=5, delta=1e-05)", "gaussian(epsilon=1,clip=5,delta=1e-05)", "none"):
        assert kept(f"defense={label}") == whole // 3, label
    assert kept("dataset=ecg_synthetic") == kept("protocol=vanilla") == kept("threat=eavesdropper") == whole
    assert (
        kept("dataset=ecg_synthetic(n=1000)") == kept("cut=2") == kept("seed=1") == kept("attack=blind") == whole // 2
    )
    assert kept("clients=1") == kept("clients=2 parallel") == kept("clients=2 sequential") == whole // 3
    assert kept("clients=2") == 2 * whole // 3
    assert (kept("aux=same"), kept("aux=same(n=50)")) == (whole, whole // 2)  # a name, a label


def test_conditions_on_several_axes_must_all_hold() -> None:
    assert kept("seed=0", "cut=1", "defense=none") == kept() // 12


def test_an_error_lists_the_labels_that_are_there() -> None:
    with pytest.raises(BadInput, match=r"'defense=gauss': no such cell \(defense: none, gaussian\(epsilon=1, clip=5"):
        kept("defense=gauss")
    with pytest.raises(BadInput, match=r"'cut=3': no such cell \(cut: 1, 2\)"):
        kept("seed=0", "cut=3")
    with pytest.raises(BadInput, match=r"'cutt=3': write AXIS=VALUE \(axes: dataset, model, cut"):
        kept("cutt=3")


@pytest.mark.slow
def test_a_part_of_a_matrix_is_checked_alone(main: Callable[..., Ran]) -> None:
    whole, part = (main("check", "smoke", *only).out for only in ((), ("--only", "attack=blind")))
    assert part.splitlines()[0] != whole.splitlines()[0]
    assert "no such cell" in main("check", "smoke", "--only", "seed=99").line


def test_a_file_is_named_by_its_path_or_its_stem() -> None:
    toys = Path(__file__).parent / "toys"
    raw = {"matrix": {"dataset": ["./toy_flat.py"], "model": ["./toy_chain.py"]}}
    whole = matrix.read(raw, toys)
    for name in ("./toy_chain.py", "toy_chain"):
        assert select(whole, [f"model={name}"]).cells == whole.cells


def test_protocol_with_settings_is_named_by_its_label() -> None:
    pytest.importorskip("flwr")
    raw = {
        "matrix": {
            "dataset": ["ecg_synthetic"], "model": ["ecg_cnn"], "clients": [2],
            "protocol": ["central", {"name": "fedavg", "rounds": [1, 2], "local_epochs": 1}],
        }
    }  # fmt: skip
    whole = matrix.read(raw, Path.cwd())
    assert len(select(whole, ["protocol=fedavg(rounds=1, local_epochs=1)"]).cells) == len(whole.cells) // 3
    assert len(select(whole, ["protocol=fedavg"]).cells) == 2 * len(whole.cells) // 3
