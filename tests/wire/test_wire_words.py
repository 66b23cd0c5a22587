"""What crosses the wire, message by message: no records, in a u-shape no labels, between clients nothing readable."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.plan import matrix, plugins
from splitleak.wire import line as lines
from splitleak.wire.envelope import Seal
from splitleak.wire.line import FREE
from splitleak.wire.message import FRAME, Message, Rejected, pack, unpack

from ..conftest import TOYS
from ..forks import Wire, wires

HEAD = '[matrix]\ndataset = ["./toy_signals.py"]\nmodel = ["ecg_cnn"]\n'


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    shutil.copy(TOYS / "toy_signals.py", tmp_path)
    yield from wires(tmp_path)


def taped(folder: Path) -> Callable[[], None]:
    """In a process: every message that it sends is also kept as a file."""

    def before() -> None:
        folder.mkdir()

        def keep(*given: Any, **facts: Any) -> bytes:
            raw = pack(*given, **facts)
            (folder / f"{len(list(folder.iterdir())):05}").write_bytes(raw)
            return raw

        lines.pack = keep  # type: ignore[attr-defined]

    return before


def through(wire: Wire, axes: str, n: int) -> dict[str, list[bytes]]:
    """A training from start to end; what each end has sent, in order."""
    (wire.folder / "m.toml").write_text(f"{HEAD}{axes}\n[train]\nepochs = 2\n")
    forks = [wire.serve(before=taped(wire.folder / "server-tape"))]
    forks += [wire.join(k, before=taped(wire.folder / f"client{k}-tape")) for k in range(n)]
    for fork in forks:
        assert fork.end() == 0, fork.text
    whos = ["server", *(f"client{k}" for k in range(n))]
    return {who: [path.read_bytes() for path in sorted((wire.folder / f"{who}-tape").iterdir())] for who in whos}


def counted(tape: list[bytes]) -> Counter[str]:
    """Bytes by kind, as the records have them."""
    found = Counter[str]()
    for raw in tape:
        kind = unpack(raw).kind
        if kind not in FREE:
            found[kind] += len(raw) + FRAME
    return found


@pytest.mark.parametrize(
    ("protocol", "up", "down"),
    [
        ("vanilla", {"smashed", "labels", "place"}, {"gradient", "out"}),
        ("u_shape", {"smashed", "gradient_features", "place"}, {"features", "gradient", "out"}),
    ],
)
def test_no_record_crosses_and_labels_only_where_the_server_has_them(
    wire: Wire, protocol: str, up: set[str], down: set[str]
) -> None:
    tapes = through(wire, f'protocol = ["{protocol}"]', 1)
    sent: list[Message] = [unpack(raw) for raw in tapes["client0"]]
    assert {name for message in sent for name in message.tensors} == up
    assert {name for raw in tapes["server"] for name in unpack(raw).tensors} == down
    whole = matrix.read(wire.folder / "m.toml")
    data = plugins.make("dataset", whole.cells[0].dataset, whole.base).load()
    raw = b"".join(tapes["client0"])
    for part in (data.private, data.test):
        for x in part.x:
            assert x.numpy().tobytes() not in raw
    whole_numbers = {n for message in sent for n, t in message.tensors.items() if not t.is_floating_point()}
    labels = whole_numbers - {"place"}  # which is the epoch's number and the batch's
    assert bool(labels) == (protocol == "vanilla")
    for name, bytes_ in (("client0", "c"), ("server", "s")):  # both ends have counted every byte, and the same
        record = wire.record(name, bytes_)
        assert record["wire"]["0"] == {"up": counted(tapes["client0"]), "down": counted(tapes["server"])}


def test_bytes_of_a_training_are_little_more_than_shapes_say(wire: Wire) -> None:
    through(wire, 'protocol = ["vanilla"]\ncut = [1]', 1)
    record = wire.record("client0", "c")
    epochs, up = 2, record["wire"]["0"]["up"]["batch"]
    computed = record["bytes_up"] * record["records"] * epochs
    assert computed < up < computed + 300 * record["steps"]  # a frame, a header and two names a message


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_the_server_relays_what_it_cannot_read(wire: Wire, mode: str) -> None:
    tapes = through(wire, f'protocol = ["u_shape"]\nclients = [{{ n = 2, mode = "{mode}" }}]', 2)
    for k in range(2):
        sealed = [unpack(raw) for raw in tapes[f"client{k}"] if unpack(raw).kind == "weights"]
        assert len(sealed) == 2  # one an epoch
        last = wire.weights(f"client{k}", "c")
        for message in sealed:
            assert set(message.tensors) == {"sealed"}
            raw = message.tensors["sealed"].numpy().tobytes()
            assert not any(t.numpy().tobytes()[:32] in raw for t in last.values() if t.numel() >= 8)
        ours = [t for name, t in last.items() if name.startswith("split.bottom")]
        everything = b"".join(tapes["server"])
        assert not any(t.numpy().tobytes() in everything for t in ours if t.numel() >= 8)
    assert not [name for name in wire.weights("server", "s") if not name.startswith("split.top.")]


def test_an_envelope_opens_for_its_own_key_client_and_moment_alone(tmp_path: Path) -> None:
    for name, byte in (("ours", 1), ("theirs", 2)):
        (tmp_path / name).write_bytes(bytes([byte] * 32))
    ours, theirs = Seal(tmp_path / "ours"), Seal(tmp_path / "theirs")
    weights = {"bottom.0.weight": torch.randn(3, 4), "bottom.1.running": torch.tensor(7)}
    sealed = ours.close(weights, "epoch 3 client 0")
    opened = ours.open(sealed, "epoch 3 client 0")
    assert all(torch.equal(opened[name], t) for name, t in weights.items())
    assert not torch.equal(sealed, ours.close(weights, "epoch 3 client 0"))  # a nonce of its own
    changed = sealed.clone()
    changed[-1] ^= 1
    for seal, envelope, about in (
        (theirs, sealed, "epoch 3 client 0"),
        (ours, sealed, "epoch 2 client 0"),
        (ours, changed, "epoch 3 client 0"),
        (ours, sealed[:4], "epoch 3 client 0"),
    ):
        with pytest.raises(Rejected):
            seal.open(envelope, about)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_a_message_comes_out_as_it_went_in_and_lies_as_torch_would_have_it(dtype: torch.dtype) -> None:
    a = (torch.rand(5, 3, 2) * 4).to(dtype)
    tensors = {"a": a, "turned": a.transpose(0, 1), "one": a[0, 0, 0].clone(), "empty": a[:0]}
    back = unpack(pack("batch", tensors, epoch=3, why="é"))
    assert (back.kind, back.facts) == ("batch", {"epoch": 3, "why": "é"})
    for name, t in tensors.items():
        assert back.tensors[name].dtype == dtype
        assert torch.equal(back.tensors[name], t)
        assert back.tensors[name].data_ptr() % 64 == 0


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0" * 8, b"\xff" * 40, b"\x80\x04\x95", pack("x")[:-1], pack("x") + b"!"],
    ids=["nothing", "zeros", "ones", "a pickle's head", "cut short", "too long"],
)
def test_bytes_that_are_no_message_are_rejected(raw: bytes) -> None:
    with pytest.raises(Rejected):
        unpack(raw)


def test_a_header_that_was_seen_before_vouches_for_no_other_length() -> None:
    raw = pack("batch", {"a": torch.ones(3, 2)})
    for _ in range(2):
        assert torch.equal(unpack(raw).tensors["a"], torch.ones(3, 2))
    for bad in (raw[:-1], raw + b"!", raw[:-8]):
        with pytest.raises(Rejected):
            unpack(bad)
    other = pack("batch", {"a": torch.zeros(3, 2)})
    assert torch.equal(unpack(other).tensors["a"], torch.zeros(3, 2))
