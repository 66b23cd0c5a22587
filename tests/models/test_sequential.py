"""Model `sequential`: a network of one's own is cut like any other, and what is wrong with it is told in a line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from splitleak.contract import BadInput, Records, Task
from splitleak.models.sequential import Sequential
from splitleak.plan import plugins

from .splits import BATCH, CLASSES, made, plainly, splitly

OWN = """
    from torch import nn
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.Linear(8, 3), nn.Flatten())
"""


def own_network(folder: Path, text: str = OWN, of: str = "net.py:make") -> Sequential:
    """The plug-in as a matrix in `folder` makes it."""
    (folder / "net.py").write_text(textwrap.dedent(text))
    made = plugins.make("model", {"name": "sequential", "of": of}, folder)
    assert isinstance(made, Sequential)
    return made


def test_a_network_of_ones_own_is_cut_between_its_children_the_middle_first(tmp_path: Path) -> None:
    model = own_network(tmp_path)
    assert model.cuts("vanilla") == [2, 1, 3]  # at 4 the server would have the Flatten alone
    assert model.cuts("u_shape") == [2, 1, 3]  # the Flatten is the head
    split = model.split((4,), CLASSES, 3, "u_shape")
    assert [len(part) for part in (split.bottom, split.top, split.head)] == [3, 1, 1]


def test_its_weights_come_from_the_random_state_and_no_two_networks_share_them(tmp_path: Path) -> None:
    model = own_network(tmp_path)
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3), nn.Flatten())
    wanted = list(network.parameters())
    one, other = (made(model, cut, "vanilla", (4,), CLASSES) for cut in (1, 3))
    for split in (one, other):
        ours = [*split.bottom.parameters(), *split.top.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(ours, wanted, strict=True))
    assert not {id(p) for p in one.parameters()} & {id(p) for p in other.parameters()}


def test_a_network_of_ones_own_split_at_every_cut_equals_unsplit(tmp_path: Path) -> None:
    model = own_network(tmp_path)
    records = Records(torch.rand(3 * BATCH, 4), torch.arange(3 * BATCH) % 3, torch.arange(3 * BATCH))
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3), nn.Flatten())
    wanted = plainly(network, records, CLASSES)
    for protocol in ("vanilla", "u_shape"):
        for cut in model.cuts(protocol):
            split = made(model, cut, protocol, (4,), CLASSES)
            assert splitly(split, records, CLASSES).same(wanted), f"cut {cut}, {protocol}"


def test_a_function_that_returns_one_network_twice_gives_two(tmp_path: Path) -> None:
    model = own_network(tmp_path, """
        from torch import nn
        NET = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        def make():
            return NET
    """)  # fmt: skip
    one, other = (model.blocks((4,), CLASSES) for _ in range(2))
    assert torch.equal(one[0].weight, other[0].weight)  # type: ignore[arg-type]
    assert one[0].weight is not other[0].weight


def test_one_child_in_two_places_stays_in_both(tmp_path: Path) -> None:
    model = own_network(tmp_path, """
        from torch import nn
        def make():
            act = nn.ReLU()
            return nn.Sequential(nn.Linear(4, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 3))
    """)  # fmt: skip
    assert [type(block).__name__ for block in model.blocks((4,), CLASSES)] == ["Linear", "ReLU"] * 2 + ["Linear"]


def test_its_sources_are_its_file_and_what_that_imports_from_its_folder(tmp_path: Path) -> None:
    for name, text in {"layers": "import sizes", "sizes": "W = 3", "late": "", "unused": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    model = own_network(tmp_path, """
        import layers
        from torch import nn
        def make():
            import late
            return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, layers.sizes.W))
    """)  # fmt: skip
    assert [file.name for file in model.sources()] == ["late.py", "layers.py", "net.py", "sizes.py"]
    (tmp_path / "sizes.py").write_text("W = 2")
    assert model.blocks((4,), Task("classes", 2))[-1].out_features == 2


def test_planning_a_network_of_ones_own_draws_nothing(tmp_path: Path) -> None:
    model = own_network(tmp_path)
    before = torch.get_rng_state()
    model.cuts("vanilla")
    assert torch.equal(torch.get_rng_state(), before)


def returning(text: str) -> str:
    return f"from torch import nn\ndef make():\n    {text}\n"


@pytest.mark.parametrize(
    ("text", "of", "told"),
    [
        (OWN, "net.py", r"of = 'net.py'; it must be FILE.py:FUNCTION, as in 'net.py:make'"),
        (OWN, "", r"of = ''; it must be FILE.py:FUNCTION"),
        (OWN, "none.py:make", r"'none.py:make': no such file \(.*none.py\)"),
        (OWN, "net.py:build", "'net.py:build': the file has no function 'build'"),
        (returning("return 1 / 0"), "net.py:make", "'net.py:make' raised ZeroDivisionError: division by zero"),
        (returning("raise SystemExit(3)"), "net.py:make", "'net.py:make' raised SystemExit: 3"),
        ("import nothing_of_that_name", "net.py:make", "'net.py:make' cannot be imported: ModuleNotFoundError: .*"),
        ("def make(:", "net.py:make", "'net.py:make' cannot be imported: SyntaxError: .*"),
        (returning("return nn.Linear(4, 3)"), "net.py:make", "returns Linear; it must return an nn.Sequential"),
        (returning("return nn.Sequential(nn.Linear(4, 3))"), "net.py:make", "of 1 children; to be cut it needs"),
        (returning("a = nn.Linear(4, 4); return nn.Sequential(a, a)"), "net.py:make", "two children share weights"),
        (returning("return nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3))"), "net.py:make",
         r"does not take records of shape \(4,\): RuntimeError: .*"),
        (returning("return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 7))"), "net.py:make",
         r"returns \(7,\) for a record; this task \(classes\) needs \(3,\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_network_of_ones_own_is_told_in_a_line(
    tmp_path: Path, text: str, of: str, told: str
) -> None:
    model = own_network(tmp_path, text, of)
    with pytest.raises(BadInput, match=f"^model 'sequential': .*{told}") as error:
        model.blocks((4,), CLASSES)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_network_of_ones_own_runs_from_a_matrix(run: Callable[..., list[dict[str, Any]]]) -> None:
    beats = {"name": "ecg_synthetic", "n": 500}
    (record,) = run(dataset=beats, model={"name": "sequential", "of": "toy_net.py:make"}, attack="blind")
    assert record["status"] == "done", record
    assert record["labels"]["model"] == "sequential(of=toy_net.py:make)"
