"""A fault between two machines is reported in one line at both ends, with the name of its sender; no end hangs."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import splitleak
from splitleak import wire as wire_package
from splitleak.train import ends
from splitleak.wire import connection as connections
from splitleak.wire import message as messages
from splitleak.wire.authority import Authority

from ..conftest import TOYS
from ..forks import Fork, Wire, free_port, wire_in

pytestmark = pytest.mark.slow  # each test starts processes

BASE = {"cut": "[2]", "protocol": '["vanilla"]', "clients": "[1]", "defense": '["none"]', "train": "epochs = 2"}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    shutil.copy(TOYS / "toy_signals.py", tmp_path)
    write(tmp_path / "m.toml")
    yield from wire_in(tmp_path)


def write(path: Path, model: str = '"ecg_cnn"', dataset: str = '"./toy_signals.py"', **more: str) -> None:
    rest = BASE | more
    axes = "\n".join(f"{axis} = {value}" for axis, value in rest.items() if axis != "train")
    path.write_text(f"[matrix]\ndataset = [{dataset}]\nmodel = [{model}]\n{axes}\n[train]\n{rest['train']}\n")


def error_of(fork: Fork) -> str:
    """The last line of a process that ended with status 2: its error."""
    assert fork.end() == 2, fork.text
    assert "Traceback" not in fork.text
    assert "grpc" not in fork.text.lower()
    assert "StatusCode" not in fork.text
    return fork.lines[-1]


DIFFERENCES = {
    "model": ({"model": '{ name = "ecg_cnn", layers = 4 }'}, "client 0: model.layers 4, the server has 2"),
    "cut": ({"cut": "[1]"}, "client 0: cut 1, the server has 2"),
    "protocol": ({"protocol": '["u_shape"]'}, "client 0: protocol 'u_shape', the server has 'vanilla'"),
    "dataset": ({"dataset": '{ name = "./toy_signals.py", n = 32 }'}, "client 0: dataset.n 32, the server has 64"),
    "defense": ({"defense": '["gaussian"]'}, "client 0: defense 'gaussian', the server has 'none'"),
    "train": ({"train": "epochs = 2\nlr = 0.5"}, "client 0: train.lr 0.5, the server has 0.001"),
    "clients": ({"clients": "[2]"}, "client 0: clients.n 2, the server has 1"),
    "seed": ({"seed": "[7]"}, "client 0: seed 7, the server has 0"),
}


def test_a_client_with_another_victim_is_refused_and_the_difference_is_named(wire: Wire) -> None:
    server = wire.serve("--wait", "60")
    for axis, (change, wanted) in DIFFERENCES.items():
        write(wire.folder / f"{axis}.toml", **change)
        assert error_of(wire.join(matrix=f"{axis}.toml", out=axis)) == f"splitleak: {wanted}"
        assert f"splitleak: refused: {wanted}" in server.lines
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]  # the server still accepts the right client


def test_another_version_and_another_source_are_refused(wire: Wire) -> None:
    from splitleak.train import provenance
    from splitleak.wire import agreement

    server = wire.serve()

    def older() -> None:
        agreement.__version__ = "0.0.1"  # type: ignore[attr-defined]

    def changed() -> None:
        sources = provenance.sources
        provenance.sources = lambda *given: sources(*given) | {"code": "another"}

    ours, advice = splitleak.__version__, "install the same version"
    assert error_of(wire.join(before=older)).endswith(f"splitleak 0.0.1, the server has {ours}; {advice}")
    assert error_of(wire.join(before=changed)) == "splitleak: client 0: the source of 'code' differs from the server's"
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]


def test_a_client_number_that_is_in_use_or_too_high_is_refused(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients="[2]")
    server, first = wire.serve(), wire.join(0)
    first.until(lambda: "client 0 connected" in server.text)
    assert error_of(wire.join(0, out="again")) == "splitleak: client 0: a client with this number is already connected"
    assert "there are 2 clients, numbered 0 to 1" in error_of(wire.join(5))
    assert "seal" in error_of(
        wire.start(["join", "m.toml", "--client", "1", "--server", wire.address, *wire.certificate(1)], None)
    )
    assert [fork.end() for fork in (wire.join(1), first, server)] == [0, 0, 0]


def test_clients_with_different_seals_end_with_an_error(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients="[2]")
    (wire.folder / "other").write_bytes(bytes(32))
    (wire.folder / "short").write_bytes(bytes(31))
    assert "has 31 bytes, a key has 32" in error_of(wire.join(1, "--seal", "short"))
    forks = [wire.serve("--wait", "3"), wire.join(0), wire.join(1, "--seal", "other")]
    for fork in forks:
        assert (
            "client 1: the weights of another client cannot be decrypted; give all clients the same --seal file"
            in error_of(fork)
        )


# certificates


def test_a_certificate_of_another_authority_is_refused_in_one_line(wire: Wire) -> None:
    server, other = wire.serve("--wait", "60"), Authority(wire.folder / "other")
    theirs, ours = other.sign("client0"), wire.certificate(0)
    assert "refuses certificate" in error_of(wire.join(0, *theirs[:4], "--ca", ours[5]))
    assert "is not trusted" in error_of(wire.join(0, *ours[:4], "--ca", theirs[5]))
    assert "key values mismatch" in error_of(wire.join(0, "--key", theirs[3]))
    assert "no file 'nowhere.pem'" in error_of(wire.join(0, "--cert", "nowhere.pem"))
    assert "--ca" in error_of(wire.join(0, "--ca", ours[3]))
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]


def test_a_client_without_a_certificate_receives_nothing(wire: Wire) -> None:
    server = wire.serve()
    server.until(lambda: "listening" in server.text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(wire.authority.ca)
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", wire.port), timeout=5)
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
        assert line.recv(1) == b""  # an accepted client would receive the settings of HTTP/2


def test_a_server_for_another_host_is_not_trusted(wire: Wire) -> None:
    wire.certificates["server"] = wire.authority.sign("elsewhere", "10.0.0.1")
    wire.serve()
    assert "is not trusted: IP address mismatch" in error_of(wire.join())


# messages


def change_batch(change: Callable[[Tensor], Tensor], at: int = 2) -> Callable[[], None]:
    """In the process: change the smashed data that the client sends in its batch number `at`."""

    def before() -> None:
        send, count = ends.ClientEnd.send, [0]

        def bad(self: Any, x: Tensor, y: Tensor) -> Tensor:
            count[0] += 1
            sent = send(self, x, y)
            return change(sent) if count[0] == at else sent

        ends.ClientEnd.send = bad  # type: ignore[method-assign]

    return before


def pause(z: Tensor) -> Tensor:
    """Wait until a signal ends the process; `signal.pause` would miss one that comes just before it."""
    while True:
        time.sleep(0.02)


def replace_tensors(**tensors: Tensor) -> Callable[[], None]:
    """In the process: send every batch with these tensors in place of its own."""
    return replace_bytes(lambda raw: messages.pack("batch", messages.unpack(raw).tensors | tensors))


def replace_bytes(change: Callable[[bytes], bytes]) -> Callable[[], None]:
    """In the process: send every batch as other bytes."""

    def before() -> None:
        pack = messages.pack

        def bad(kind: str, tensors: Any = None, /, **facts: Any) -> bytes:
            raw = pack(kind, tensors, **facts)
            return change(raw) if kind == "batch" else raw

        connections.pack = bad  # type: ignore[attr-defined]

    return before


INVALID = {
    "NaN": (change_batch(lambda z: z.index_fill(0, torch.tensor([3]), torch.nan)), "'smashed' contains NaN"),
    "infinite": (change_batch(lambda z: z / 0), "'smashed' contains"),
    "shape": (change_batch(lambda z: z[:, :, :2]), "'smashed' has shape (32, 16, 2), it must have (B, 16, 4)"),
    "size": (change_batch(lambda z: z[:7]), "'smashed' has 7 records, it must have 32"),
    "dtype": (change_batch(lambda z: z.double()), "'smashed' has dtype torch.float64, it must have torch.float32"),
    "kind": (replace_bytes(lambda raw: messages.pack("weights")), "sent message 'weights', expected 'batch'"),
    "garbage": (replace_bytes(lambda raw: b"\x80\x04garbage"), "sent 9 bytes that are not a message"),
    "cut off": (replace_bytes(lambda raw: raw[:-9]), "bytes that are not a message"),
    "place": (replace_tensors(place=torch.tensor([0, 9])), "sent batch (0, 9), expected (0, 0)"),
    "label": (replace_tensors(labels=torch.full((32,), 9)), "'labels' must be classes from 0 to 1"),
}


@pytest.mark.parametrize(("before", "wanted"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_message_is_rejected_and_its_sender_named(wire: Wire, before: Any, wanted: str) -> None:
    server, client = wire.serve("--wait", "3"), wire.join(before=before)
    said = error_of(client)
    assert said.startswith("splitleak: client 0: ")
    assert wanted in said
    why = said.removeprefix("splitleak: ")
    ended = f"client 0 did not connect within 3 s; before that, {why}"  # the server lives and waits for it to come back
    assert error_of(server) == f"splitleak: {ended}"
    assert f"splitleak: client 0 is excluded ({why}); waiting up to 3 s for it" in server.lines
    for who, out, wanted in (("server", "s", ended), ("client0", "c", why)):
        record = wire.record(who, out)
        assert (record["status"], record["why"]) == ("failed", wanted)
    assert not list(wire.folder.rglob("*.tmp"))


def test_with_lost_leave_a_client_that_sends_an_invalid_message_is_left_behind(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients='[{ n = 2, mode = "parallel" }]')
    bad = change_batch(lambda z: z * torch.nan, at=2)
    server, good, spoiled = wire.serve("--lost", "leave"), wire.join(0), wire.join(1, before=bad)
    assert "client 1: 'smashed' contains NaN" in error_of(spoiled)
    assert [good.end(), server.end()] == [0, 0], server.text
    assert "left behind" in str(wire.record("server", "s")["faults"])


# ports, waiting and interrupts


def test_a_port_in_use_is_one_line(wire: Wire) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", wire.port))
        taken.listen()
        assert f"--listen {wire.address}: Address already in use" in error_of(wire.serve())


@pytest.mark.parametrize("where", ["50051", ":50051", "127.0.0.1:", "127.0.0.1:99999"])
def test_an_address_has_a_host_and_a_port(wire: Wire, where: str) -> None:
    assert "write HOST:PORT" in error_of(wire.serve("--listen", where))


def test_without_clients_or_without_a_server_an_end_stops_in_time(wire: Wire) -> None:
    assert error_of(wire.serve("--wait", "1")) == "splitleak: client 0 did not connect within 1 s"
    assert f"no server at {wire.address} within 1 s" in error_of(wire.join(0, "--wait", "1"))
    write(wire.folder / "m.toml", clients="[2]")
    server, first = wire.serve("--wait", "2"), wire.join(0)
    for fork in (server, first):
        assert error_of(fork) == "splitleak: client 1 did not connect within 2 s (connected: 0)"
    assert not list(wire.folder.rglob("*.json"))  # nothing was trained: no record


def test_the_server_waits_for_a_silent_client_no_longer_than_wait_says(wire: Wire) -> None:
    server, client = (
        wire.serve("--wait", "1.5"),
        wire.join(before=change_batch(pause)),
    )
    assert "client 0 did not connect within 1.5 s" in error_of(server)
    assert "client 0 sent nothing for 1.5 s" in server.text
    assert client.status is None


def test_interrupted_ends_report_it_in_one_line(wire: Wire) -> None:
    server, client = wire.serve(), wire.join(before=change_batch(pause))
    server.until(lambda: "training from" in server.text and "training from" in client.text)
    for fork in (client, server):
        fork.kill(signal.SIGINT)
        assert fork.end() == 130, fork.text
        assert fork.lines[-1] == "splitleak: interrupted; run the same command again to go on"
        assert "Traceback" not in fork.text


# matrices that serve and join refuse


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            {"defense": '["none", "gaussian"]'},
            "it has 2 victims, serve and join train one: choose it with --only",
        ),
        ({"protocol": '["central"]', "cut": "[]"}, "protocol 'central' does not split the network"),
        ({"train": "epochs = 1\ncurve = true"}, "remove `curve` from [train]"),
        ({"dataset": '{ name = "ecg", otherwise = "./toy_signals.py" }'}, "name one dataset"),
    ],
)
def test_a_matrix_must_have_one_victim_that_is_split(wire: Wire, change: dict[str, str], wanted: str) -> None:
    write(wire.folder / "m.toml", **change)
    if change.get("cut") == "[]":
        text = (wire.folder / "m.toml").read_text()
        (wire.folder / "m.toml").write_text(text.replace("cut = []\n", ""))
    assert wanted in error_of(wire.serve())


def test_without_the_extra_the_commands_name_the_package_to_install(
    main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_package, "find_spec", lambda name: None)
    certificates = ["--cert", "a", "--key", "b", "--ca", "c"]
    for command in (["serve", "m.toml"], ["join", "m.toml", "--client", "0", "--server", "h:1"]):
        assert "pip install 'splitleak[wire]'" in main(*command, *certificates).line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_the_commands_of_docs_wire_work_as_printed(lab: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    makes = [line for line in page.splitlines() if line.startswith("openssl ")]
    assert len(makes) == 5
    for line in makes:
        subprocess.run(["bash", "-c", line], cwd=lab.folder, check=True, capture_output=True)
    (serve,) = (line for line in page.splitlines() if line.startswith(".venv/bin/splitleak serve MATRIX --listen"))
    (join,) = (line for line in page.splitlines() if line.startswith(".venv/bin/splitleak join MATRIX --client"))
    port = free_port()
    lab.matrix()

    def start(line: str) -> subprocess.Popen[str]:
        words = line.partition(" [")[0].replace("MATRIX", "m.toml").replace("50051", str(port)).split()[1:]
        return cast(subprocess.Popen[str], lab.command(*words, "--wait", "60"))

    ends_ = [start(serve), start(join)]
    for end in ends_:
        _, err = end.communicate(timeout=120)
        assert end.returncode == 0, err
    assert len(list((lab.folder / "runs/m/wire").glob("*.json"))) == 2
