"""Every plug-in that ships keeps the contract; they are found in their folders, so a new file is tested by itself."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import inspect
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

import splitleak
from splitleak.contract import BadInput, Defense, Exposure, Goal, Hooks, Model, Records, Split, Task
from splitleak.contract.errors import FilesMissing
from splitleak.contract.plugin import Plugin, Spec
from splitleak.datasets.reading.validation import validate
from splitleak.plan import plugins

from ..conftest import TOYS

ALL = [(kind, name) for kind in plugins.FOLDERS for name in plugins.names(kind)]
HERE = Path.cwd()
TINY = {"name": "ecg_synthetic", "n": 500}
NET = f"{TOYS}/toy_net.py:make"
LOG = Path(tempfile.mkdtemp(prefix="splitleak-")) / "log.npz"  # two records with all messages of a u-shape
GIVEN: dict[str, Spec] = {  # parameters whose legal values no type can say
    "sequential": {"of": NET}, "own_network": {"client": NET}, "logged": {"members": str(LOG)},
}  # fmt: skip
EXAMPLES = (((1, 128), Task("classes", 5)), ((3, 64, 64), Task("classes", 5)), ((3, 64, 64), Task("mask", 1)))
BIG = ("resnet18", "resnet34", "unet", "vgg")
FEDERATED = {"name": "fedavg", "rounds": 1, "local_steps": 1, "batch_size": 2}
PROTOCOLS = ("vanilla", "u_shape", "inference")


@pytest.fixture(scope="module", autouse=True)
def _log() -> Iterator[None]:
    torch.manual_seed(0)
    sent = dict.fromkeys(("z", "gradient", "features", "gradient_features"), np.ones((2, 3)))
    np.savez(LOG, x=torch.rand(2, 1, 128).numpy(), **sent)  # type: ignore[arg-type]
    yield
    shutil.rmtree(LOG.parent)


def of(kind: plugins.Kind) -> list[str]:
    return [name for k, name in ALL if k == kind]


def least(field: dict[str, Any]) -> Any:
    """A legal value of a parameter without a default, from what its type says."""
    if "enum" in field or "const" in field:
        return field.get("const", (field.get("enum") or [None])[0])
    if field.get("type") in ("integer", "number"):
        return field.get("minimum", field.get("exclusiveMinimum", 0) + 1)
    return {"boolean": False, "string": ""}[field["type"]]


def made(kind: plugins.Kind, name: str, **given: Any) -> Plugin:
    """With its defaults, and the least legal value where it has none."""
    given = GIVEN.get(name, {}) | given
    schema = TypeAdapter(plugins.find(kind, name, HERE)).json_schema()
    needed = {key: least(schema["properties"][key]) for key in schema.get("required", [])}
    return plugins.make(kind, {"name": name} | needed | given, HERE)


def source(kind: plugins.Kind, name: str) -> Path:
    return Path(inspect.getfile(plugins.find(kind, name, HERE)))


def test_all_four_folders_hold_plugins_and_none_is_left_out() -> None:
    for kind, folder in plugins.FOLDERS.items():
        package = importlib.import_module(f"splitleak.{folder}")
        files = {path.stem for path in Path(next(iter(package.__path__))).glob("*.py")}
        assert set(plugins.names(kind)) <= files
        bases = {plugins.BASES[kind]} | {plugins.find(kind, name, HERE) for name in plugins.names(kind)}
        bases |= {base for found in bases for base in found.__mro__ if issubclass(base, plugins.BASES[kind])}
        parents = [f"({base.__name__})" for base in bases]  # a plug-in may derive from another one, or from a piece
        assert set(plugins.names(kind)) == {n for n in files if any(p in text_of(package, n) for p in parents)}


def text_of(package: Any, name: str) -> str:
    return (Path(next(iter(package.__path__))) / f"{name}.py").read_text()


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_says_its_mechanism_in_one_line(kind: plugins.Kind, name: str) -> None:
    cls = plugins.find(kind, name, HERE)
    for told in (importlib.import_module(cls.__module__).__doc__, cls.__doc__):
        first = (told or "").strip().splitlines()[0] if (told or "").strip() else ""
        if told and first and not first.startswith(f"{cls.__name__}("):  # what a dataclass without a docstring has
            assert len(first) > 20
            assert not first.lower().startswith(("implementation", "implements"))
            return
    pytest.fail(f"{kind} '{name}' has no docstring")


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_is_one_class_in_a_file_of_at_most_300_lines(kind: plugins.Kind, name: str) -> None:
    assert len(source(kind, name).read_text().splitlines()) <= 300
    assert dataclasses.is_dataclass(plugins.find(kind, name, HERE))
    assert source(kind, name).stem == name


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_is_frozen_prints_as_its_name_and_comes_back_from_json(kind: plugins.Kind, name: str) -> None:
    plugin = made(kind, name)
    assert str(plugin).partition("(")[0] == name == plugin.name
    text = json.dumps(plugin.parameters(), allow_nan=False)
    again = plugins.make(kind, {"name": name} | json.loads(text), HERE)
    assert again == plugin
    assert hash(again) == hash(plugin)
    assert str(again) == str(plugin) == plugins.label(kind, {"name": name} | plugin.parameters(), HERE)
    for key in plugin.parameters():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(plugin, key, None)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_parameter_that_it_does_not_have_is_bad_input(kind: plugins.Kind, name: str) -> None:
    with pytest.raises(BadInput, match=f"{kind} '{name}': no parameter 'colour'"):
        made(kind, name, colour=1)


def sources() -> list[Path]:
    """All Python files of the package, wherever its folders lie."""
    packages = ("splitleak", "splitleak.datasets", "splitleak.attacks", "splitleak.defenses", "splitleak.models")
    folders = {Path(p) for name in packages for p in importlib.import_module(name).__path__}
    return sorted({path for folder in folders for path in folder.rglob("*.py")})


def dangers(tree: ast.AST) -> list[str]:
    """Whatever turns data into code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.append(node.func.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [n for n in names if n.partition(".")[0] in ("pickle", "dill", "joblib", "shelve", "marshal")]
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save", "np.load"):
            found.append(ast.unparse(node))
    return found


def test_nothing_that_is_read_can_execute_code() -> None:
    assert dangers(ast.parse("import pickle\neval('1')\ntorch.load(f)")) == ["pickle", "eval", "torch.load"]
    assert len(sources()) > 25
    assert {path.name: found for path in sources() if (found := dangers(ast.parse(path.read_text())))} == {}


# Models and datasets ------------------------------------------------------------------------------


def digest(t: Tensor) -> str:
    return f"{tuple(t.shape)} {hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()}"


@pytest.mark.parametrize("cuts", ["its own and the last", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in of("model")])
def test_a_model_can_be_cut_wherever_it_says_and_starts_from_the_same_weights(name: str, cuts: str) -> None:
    model, tried = made("model", name), 0
    assert isinstance(model, Model)
    for in_shape, task in EXAMPLES:
        for protocol in PROTOCOLS:
            starts: list[list[str]] = []
            legal = model.cuts(protocol)
            for cut in legal if cuts == "all" else {*legal[:1], *legal[-1:]}:
                torch.manual_seed(0)
                try:
                    split = model.split(in_shape, task, cut, protocol)
                except BadInput:
                    continue  # records of another kind
                out = split.shapes(in_shape)[1]
                torch.manual_seed(0)
                prediction = split.eval()(torch.rand(2, *in_shape))  # those of the log where they have its shape
                assert prediction.shape[1:] == ((task.size,) if task.kind == "classes" else (1, *in_shape[1:]))
                assert (split.head is not None) if protocol == "u_shape" else (out == prediction.shape[1:])
                starts.append(sorted(digest(p) for p in split.parameters()))  # the parts come in an order of their own
                tried += 1
            assert all(start == starts[0] for start in starts)
    assert tried >= 2


@pytest.mark.parametrize("name", of("dataset"))
def test_a_dataset_is_sound_and_the_same_each_time_or_says_where_to_put_it(name: str) -> None:
    dataset = made("dataset", name)
    if "n" in dataset.parameters():
        dataset = dataclasses.replace(dataset, n=600)  # the rest is more of the same
    try:
        data = validate(dataset.load(), f"dataset '{name}'")
    except FilesMissing as error:
        advice = ("SPLITLEAK_DATA", "pip install", "starts at the matrix's folder")
        assert any(words in str(error) for words in advice)  # noqa: PT017
        return
    again = dataset.load()
    for part in ("private", "aux", "test"):
        one, other = getattr(data, part), getattr(again, part)
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.id, other.id)
    assert data.private.x.shape[1:] == data.in_shape


# Defences -----------------------------------------------------------------------------------------


def network() -> tuple[Split, Tensor, Tensor]:
    torch.manual_seed(0)
    model = made("model", "ecg_cnn")
    assert isinstance(model, Model)
    split = model.split((1, 128), Task("classes", 5), 2, "vanilla").measure((1, 128))
    return split, torch.rand(16, 1, 128), torch.arange(16) % 5


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def changes(defense: Defense) -> set[str]:
    """The hooks by which this defence does anything at all to a batch, the network or the optimiser."""
    split, x, y = network()
    before = {name: t.clone() for name, t in split.state_dict().items()}
    shaped = defense.shape(split)
    live = defense.begin(shaped, 1)
    z = shaped.bottom(x)[0]
    g = 0.1 * torch.randn_like(z)
    y2 = live.labels(Records(x, y, torch.arange(len(x))))
    x2, y2 = live.batch(x, y2)
    sent = live.smash(z)
    found = {
        "shape": not same(before, shaped.state_dict()),
        "batch": not (torch.equal(x, x2) and torch.equal(y, y2)),
        "smash": sent.shape != z.shape or not torch.equal(sent, z),
        "penalty": live.penalty(x, z, sent, y) is not None,
        "gradient": not torch.equal(live.gradient(g, y), g),
        "optimizer": type(live.optimizer(split, adam)) is not torch.optim.Adam,
    }
    found["federation"] = defense.sums or bool(defense.mods()) or type(defense).strategy is not Defense.strategy
    watches = {hook for hook in ("inspect",) if getattr(type(live), hook) is not getattr(Hooks, hook)}
    return {hook for hook, does in found.items() if does} | watches


@pytest.mark.parametrize("name", of("defense"))
def test_a_defence_does_something_and_none_does_nothing(name: str) -> None:
    defense = made("defense", name)
    assert isinstance(defense, Defense)
    assert bool(changes(defense)) is (name != "none")


@pytest.mark.parametrize("name", of("defense"))
def test_a_random_defence_is_fresh_each_time_and_repeats_with_its_seed(name: str) -> None:
    defense = made("defense", name)
    assert isinstance(defense, Defense)
    split, x, _ = network()
    live, z = defense.begin(defense.shape(split), 1), split.bottom(x)[0].detach()
    kept = z.clone()
    sent = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        sent.append(live.smash(z))
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(z, kept)  # what the client computed is not overwritten
    if not torch.equal(sent[0], sent[2]):
        assert not torch.equal(sent[2], live.smash(z))


@pytest.mark.parametrize("name", of("defense"))
def test_a_defences_learned_part_has_a_state_that_can_be_kept(name: str) -> None:
    defense = made("defense", name)
    assert isinstance(defense, Defense)
    live = defense.begin(network()[0], 1)
    if isinstance(live, nn.Module):
        assert all(isinstance(t, Tensor) for t in live.state_dict().values())
    promise = [defense.privacy(Exposure(k)) for k in (1, 20)]
    assert promise[0] is None or promise[0].epsilon <= promise[1].epsilon


# Attacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", of("attack"))
def test_goal_and_needs_are_parameters_only_where_every_value_is_legal(name: str) -> None:
    """`blind` alone may be asked for another goal; what an attack needs is never the matrix's choice."""
    cls = plugins.find("attack", name, HERE)
    assert {field.name for field in dataclasses.fields(cls)} & {"goal", "needs"} == (
        {"goal"} if name == "blind" else set()
    )
    with pytest.raises(BadInput, match="no parameter 'needs'"):
        plugins.make("attack", {"name": name, "needs": 1}, HERE)
    for goal in Goal if name == "blind" else ():
        assert plugins.make("attack", {"name": name, "goal": goal.value}, HERE).goal is goal  # type: ignore[attr-defined]


def quick(name: str) -> dict[str, Any]:
    """An attack with every large number made small: its steps, records, widths and sizes."""
    cls = plugins.find("attack", name, HERE)
    large = {f.name: 8 for f in dataclasses.fields(cls) if type(f.default) is int and f.default >= 20}
    return {"name": name} | large | FEW.get(name, {})


FEW = {  # what is not large, and takes long
    "adra": {"epochs": 2}, "fsha_published": {"iterations": 2}, "lira": {"shadows": 4}, "rmia": {"shadows": 2},
    "prior_search": {"restarts": 2, "trial": 2}, "unsplit": {"rounds": 2, "inner": 2, "clone": 2},
}  # fmt: skip
SIGNALS = {"dataset": [TINY], "model": ["ecg_cnn"]}
IMAGES = {"dataset": [{"name": "cxr_synthetic", "n": 96, "size": 32, "task": "classes"}], "model": ["lenet"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One of each time that an attack is run; the victims in it serve all attacks."""
    return [tmp_path_factory.mktemp("once"), tmp_path_factory.mktemp("again")]


def attacked(name: str, folder: Path, protocols: list[Any]) -> list[dict[str, Any]]:
    """The records of an attack on a tiny victim under each protocol: of signals, or of images if it is for images."""
    torch.seed()  # whatever was drawn before, a run's numbers are its own
    signals = {"dataset": [TINY | {"property": "tall"}]} if name == "property_probe" else {}
    for axes in (SIGNALS | signals, IMAGES):
        cells = axes | {"attack": [quick(name)], "protocol": protocols}
        found = splitleak.run({"matrix": cells, "train": {"epochs": 1}, "evaluate": {"targets": 64}}, folder)
        if not any("it is for images" in (r["why"] or "") for r in found):
            break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", of("attack"))
def test_every_attack_runs_its_null_twin_learns_nothing_and_done_again_it_finds_the_same(
    folders: list[Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitleak.pieces.probe.STEPS", 20)  # of `property_probe`, and of the floor of its goal
    mine = attacked(name, folders[0], ["vanilla", FEDERATED, "u_shape"])
    assert {r["status"] for r in mine} <= {"done", "skipped"}, [r.get("traceback", r["why"]) for r in mine]
    done = [r for r in mine if r["status"] == "done"]
    assert done  # done: its guess had the right shape, range and only finite numbers
    for record in done:
        assert record["null"]["leaks"] is False
        if record["cell"]["goal"] == Goal.INPUTS.value:
            assert record["null"]["metrics"]["advantage"] <= 0.02
    assert all("does not grant" in r["why"] or "already holds" in r["why"] for r in mine if r["status"] == "skipped")
    found = {r["key"]: (r.get("metrics"), r.get("null")) for r in mine}
    again = {r["key"]: (r.get("metrics"), r.get("null")) for r in attacked(name, folders[1], ["vanilla", FEDERATED])}
    assert again == {key: found[key] for key in again}
    assert again
