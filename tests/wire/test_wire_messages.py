"""What crosses the wire: no records, under `u_shape` no labels, and between clients only encrypted weights."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from splitleak.plan import matrix, plugins
from splitleak.wire import connection as connections
from splitleak.wire.connection import UNCOUNTED
from splitleak.wire.end_store import EndStore
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.message import FRAME, Message, pack, unpack
from splitleak.wire.sealing import Seal

from ..conftest import TOYS
from ..forks import Wire, wire_in

HEAD = '[matrix]\ndataset = ["./toy_signals.py"]\nmodel = ["ecg_cnn"]\n'


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    shutil.copy(TOYS / "toy_signals.py", tmp_path)
    yield from wire_in(tmp_path)


def record_messages(folder: Path) -> Callable[[], None]:
    """In the process: also write every message that it sends to a file."""

    def before() -> None:
        folder.mkdir()

        def keep(*given: Any, **facts: Any) -> bytes:
            raw = pack(*given, **facts)
            (folder / f"{len(list(folder.iterdir())):05}").write_bytes(raw)
            return raw

        connections.pack = keep  # type: ignore[attr-defined]

    return before


def train(wire: Wire, axes: str, n: int) -> dict[str, list[bytes]]:
    """Train from start to end; returns the messages of each end, in order."""
    (wire.folder / "m.toml").write_text(f"{HEAD}{axes}\n[train]\nepochs = 2\n")
    forks = [wire.serve(before=record_messages(wire.folder / "server-messages"))]
    forks += [wire.join(k, before=record_messages(wire.folder / f"client{k}-messages")) for k in range(n)]
    for fork in forks:
        assert fork.end() == 0, fork.text
    ends = ["server", *(f"client{k}" for k in range(n))]
    return {end: [path.read_bytes() for path in sorted((wire.folder / f"{end}-messages").iterdir())] for end in ends}


def bytes_by_kind(messages: list[bytes]) -> Counter[str]:
    """Bytes of each kind of message, counted as the records count them."""
    found = Counter[str]()
    for raw in messages:
        kind = unpack(raw).kind
        if kind not in UNCOUNTED:
            found[kind] += len(raw) + FRAME
    return found


@pytest.mark.parametrize(
    ("protocol", "up", "down"),
    [
        ("vanilla", {"smashed", "labels", "place"}, {"gradient", "prediction"}),
        ("u_shape", {"smashed", "gradient_features", "place"}, {"features", "gradient", "prediction"}),
    ],
)
def test_no_record_crosses_and_labels_only_where_the_server_has_them(
    wire: Wire, protocol: str, up: set[str], down: set[str]
) -> None:
    messages = train(wire, f'protocol = ["{protocol}"]', 1)
    sent: list[Message] = [unpack(raw) for raw in messages["client0"]]
    assert {name for message in sent for name in message.tensors} == up
    assert {name for raw in messages["server"] for name in unpack(raw).tensors} == down
    whole = matrix.read(wire.folder / "m.toml")
    data = plugins.make("dataset", whole.cells[0].dataset, whole.base).load()
    raw = b"".join(messages["client0"])
    for part in (data.private, data.test):
        for x in part.x:
            assert x.numpy().tobytes() not in raw
    whole_numbers = {n for message in sent for n, t in message.tensors.items() if not t.is_floating_point()}
    labels = whole_numbers - {"place"}  # the numbers of epoch and batch
    assert bool(labels) == (protocol == "vanilla")
    for name, out in (("client0", "c"), ("server", "s")):  # both ends have counted every byte
        record = wire.record(name, out)
        assert record["wire"]["0"] == {
            "up": bytes_by_kind(messages["client0"]),
            "down": bytes_by_kind(messages["server"]),
        }


@pytest.mark.slow
def test_a_training_sends_little_more_bytes_than_the_shapes_give(wire: Wire) -> None:
    train(wire, 'protocol = ["vanilla"]\ncut = [1]', 1)
    record = wire.record("client0", "c")
    epochs, up = 2, record["wire"]["0"]["up"]["batch"]
    computed = record["bytes_up"] * record["records"] * epochs
    assert computed < up < computed + 300 * record["steps"]  # a frame, a header and two names a message


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_the_server_relays_weights_that_it_cannot_read(wire: Wire, mode: str) -> None:
    messages = train(wire, f'protocol = ["u_shape"]\nclients = [{{ n = 2, mode = "{mode}" }}]', 2)
    for k in range(2):
        sealed = [unpack(raw) for raw in messages[f"client{k}"] if unpack(raw).kind == "weights"]
        assert len(sealed) == 2  # one an epoch
        last = wire.weights(f"client{k}", "c")
        for message in sealed:
            assert set(message.tensors) == {"sealed"}
            raw = message.tensors["sealed"].numpy().tobytes()
            assert not any(t.numpy().tobytes()[:32] in raw for t in last.values() if t.numel() >= 8)
        ours = [t for name, t in last.items() if name.startswith("split.bottom")]
        everything = b"".join(messages["server"])
        assert not any(t.numpy().tobytes() in everything for t in ours if t.numel() >= 8)
    assert not [name for name in wire.weights("server", "s") if not name.startswith("split.top.")]


def test_weights_are_decrypted_only_with_their_own_key_and_context(tmp_path: Path) -> None:
    for name, byte in (("ours", 1), ("theirs", 2)):
        (tmp_path / name).write_bytes(bytes([byte] * 32))
    ours, theirs = Seal(tmp_path / "ours"), Seal(tmp_path / "theirs")
    weights = {"bottom.0.weight": torch.randn(3, 4), "bottom.1.running": torch.tensor(7)}
    sealed = ours.encrypt(weights, "epoch 3 client 0")
    opened = ours.decrypt(sealed, "epoch 3 client 0")
    assert all(torch.equal(opened[name], t) for name, t in weights.items())
    assert not torch.equal(sealed, ours.encrypt(weights, "epoch 3 client 0"))  # a nonce of its own
    changed = sealed.clone()
    changed[-1] ^= 1
    for seal, secret, context in (
        (theirs, sealed, "epoch 3 client 0"),
        (ours, sealed, "epoch 2 client 0"),
        (ours, changed, "epoch 3 client 0"),
        (ours, sealed[:4], "epoch 3 client 0"),
    ):
        with pytest.raises(InvalidMessage):
            seal.decrypt(secret, context)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_a_message_is_unpacked_as_it_was_packed_and_aligned_as_torch_does(dtype: torch.dtype) -> None:
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
def test_bytes_that_are_not_a_message_are_rejected(raw: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpack(raw)


def test_a_cached_header_is_not_used_for_a_message_of_another_length() -> None:
    raw = pack("batch", {"a": torch.ones(3, 2)})
    for _ in range(2):
        assert torch.equal(unpack(raw).tensors["a"], torch.ones(3, 2))
    for bad in (raw[:-1], raw + b"!", raw[:-8]):
        with pytest.raises(InvalidMessage):
            unpack(bad)
    other = pack("batch", {"a": torch.zeros(3, 2)})
    assert torch.equal(unpack(other).tensors["a"], torch.zeros(3, 2))


def test_an_epoch_file_of_another_format_or_other_code_is_ignored(tmp_path: Path) -> None:
    store = EndStore(tmp_path, "key.server", {"code": "a"})
    facts = {"run": "r", "epoch": 1}
    store.save_epoch(1, {"w": torch.ones(2)}, facts)
    assert store.saved_epochs() == {1: "r"}
    assert EndStore(tmp_path, "key.server", {"code": "b"}).saved_epochs() == {}
    earlier = {"made_by": {"code": "a"}} | facts  # version 0.1.0 wrote no format
    store.store.write_victim("key.server.epoch1", {"w": torch.ones(2)}, earlier)
    assert store.saved_epochs() == {}
    assert store.last_facts() is None
