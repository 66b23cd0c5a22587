"""What goes wrong between two machines is one line at both ends that names who and what, and never a hang."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

import splitleak
from splitleak import wire as wire_package
from splitleak.train import ends
from splitleak.wire import line as lines
from splitleak.wire import message as messages
from splitleak.wire.papers import Authority

from ..conftest import TOYS
from ..forks import Fork, Wire, free_port, wires

BASE = {"cut": "[2]", "protocol": '["vanilla"]', "clients": "[1]", "defense": '["none"]', "train": "epochs = 2"}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    shutil.copy(TOYS / "toy_signals.py", tmp_path)
    write(tmp_path / "m.toml")
    yield from wires(tmp_path)


def write(path: Path, model: str = '"ecg_cnn"', dataset: str = '"./toy_signals.py"', **more: str) -> None:
    rest = BASE | more
    axes = "\n".join(f"{axis} = {value}" for axis, value in rest.items() if axis != "train")
    path.write_text(f"[matrix]\ndataset = [{dataset}]\nmodel = [{model}]\n{axes}\n[train]\n{rest['train']}\n")


def told(fork: Fork) -> str:
    """The one line in which a process that ended with status 2 says why."""
    assert fork.end() == 2, fork.text
    assert "Traceback" not in fork.text
    assert "grpc" not in fork.text.lower()
    assert "StatusCode" not in fork.text
    return fork.lines[-1]


OTHERS = {
    "model": ({"model": '{ name = "ecg_cnn", layers = 4 }'}, "client 0: model.layers 4, the server has 2"),
    "cut": ({"cut": "[1]"}, "client 0: cut 1, the server has 2"),
    "protocol": ({"protocol": '["u_shape"]'}, "client 0: protocol 'u_shape', the server has 'vanilla'"),
    "dataset": ({"dataset": '{ name = "./toy_signals.py", n = 32 }'}, "client 0: dataset.n 32, the server has 64"),
    "defense": ({"defense": '["gaussian"]'}, "client 0: defense 'gaussian', the server has 'none'"),
    "train": ({"train": "epochs = 2\nlr = 0.5"}, "client 0: train.lr 0.5, the server has 0.001"),
    "clients": ({"clients": "[2]"}, "client 0: clients.n 2, the server has 1"),
    "seed": ({"seed": "[7]"}, "client 0: seed 7, the server has 0"),
}


def test_another_victim_is_refused_by_what_differs(wire: Wire) -> None:
    server = wire.serve("--wait", "60")
    for axis, (change, wanted) in OTHERS.items():
        write(wire.folder / f"{axis}.toml", **change)
        assert told(wire.join(matrix=f"{axis}.toml", out=axis)) == f"splitleak: {wanted}"
        assert f"splitleak: refused: {wanted}" in server.lines
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]  # it still takes the right one


def test_another_version_and_another_source_are_refused(wire: Wire) -> None:
    from splitleak.train import provenance
    from splitleak.wire import agree

    server = wire.serve()

    def older() -> None:
        agree.__version__ = "0.0.1"  # type: ignore[attr-defined]

    def changed() -> None:
        sources = provenance.sources
        provenance.sources = lambda *given: sources(*given) | {"code": "another"}

    ours = splitleak.__version__
    assert told(wire.join(before=older)).endswith(f"splitleak 0.0.1, the server has {ours}")
    assert told(wire.join(before=changed)) == "splitleak: client 0: the source of 'code' is not the server's"
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]


def test_a_number_that_is_taken_or_too_high_is_refused(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients="[2]")
    server, first = wire.serve(), wire.join(0)
    first.until(lambda: "client 0 is here" in server.text)
    assert told(wire.join(0, out="again")) == "splitleak: client 0: is here already"
    assert "there are 2 clients, 0 to 1" in told(wire.join(5))
    assert "seal" in told(
        wire._start(["join", "m.toml", "--client", "1", "--server", wire.address, *wire.own["client"]], None)
    )
    assert [fork.end() for fork in (wire.join(1), first, server)] == [0, 0, 0]


def test_clients_without_the_same_seal_hear_so(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients="[2]")
    (wire.folder / "other").write_bytes(bytes(32))
    (wire.folder / "short").write_bytes(bytes(31))
    assert "holds 31 bytes, a key has 32" in told(wire.join(1, "--seal", "short"))
    forks = [wire.serve(), wire.join(0), wire.join(1, "--seal", "other")]
    for fork in forks:
        assert "client 1: another client's weights do not open: is --seal the same file?" in told(fork)


# certificates


def test_a_certificate_of_another_authority_is_refused_in_one_line(wire: Wire) -> None:
    server, other = wire.serve("--wait", "60"), Authority(wire.folder / "other")
    theirs, ours = other.sign("client"), wire.own["client"]
    assert "refuses certificate" in told(wire.join(0, *theirs[:4], "--ca", ours[5]))
    assert "is not trusted" in told(wire.join(0, *ours[:4], "--ca", theirs[5]))
    assert "key values mismatch" in told(wire.join(0, "--key", theirs[3]))
    assert "no file 'nowhere.pem'" in told(wire.join(0, "--cert", "nowhere.pem"))
    assert "--ca" in told(wire.join(0, "--ca", ours[3]))
    assert [fork.end() for fork in (wire.join(), server)] == [0, 0]


def test_who_shows_no_certificate_hears_nothing(wire: Wire) -> None:
    server = wire.serve()
    server.until(lambda: "listening" in server.text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(wire.authority.ca)
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", wire.port), timeout=5)
    with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as line:
        assert line.recv(1) == b""  # to a client that it takes it says which settings it has


def test_a_server_for_another_host_is_not_trusted(wire: Wire) -> None:
    wire.own["server"] = wire.authority.sign("elsewhere", "10.0.0.1")
    wire.serve()
    assert "is not trusted: IP address mismatch" in told(wire.join())


# messages


def spoil(change: Callable[[Tensor], Tensor], at: int = 2) -> Callable[[], None]:
    """In the process: what the client sends up for its batch `at` is not what it should be."""

    def before() -> None:
        send, count = ends.ClientEnd.send, [0]

        def bad(self: Any, x: Tensor, y: Tensor) -> Tensor:
            count[0] += 1
            sent = send(self, x, y)
            return change(sent) if count[0] == at else sent

        ends.ClientEnd.send = bad  # type: ignore[method-assign]

    return before


def with_(**others: Tensor) -> Callable[[], None]:
    """In the process: every batch goes up with these tensors in place of its own."""
    return swap(lambda raw: messages.pack("batch", messages.unpack(raw).tensors | others))


def swap(raw: Callable[[bytes], bytes]) -> Callable[[], None]:
    """In the process: every batch goes up as other bytes."""

    def before() -> None:
        pack = messages.pack

        def bad(kind: str, tensors: Any = None, /, **facts: Any) -> bytes:
            whole = pack(kind, tensors, **facts)
            return raw(whole) if kind == "batch" else whole

        lines.pack = bad  # type: ignore[attr-defined]

    return before


BAD = {
    "NaN": (spoil(lambda z: z.index_fill(0, torch.tensor([3]), torch.nan)), "'smashed' holds NaN"),
    "infinite": (spoil(lambda z: z / 0), "'smashed' holds"),
    "shape": (spoil(lambda z: z[:, :, :2]), "'smashed' has shape (32, 16, 2), it should have (B, 16, 4)"),
    "size": (spoil(lambda z: z[:7]), "a batch of 7 where 32 are due"),
    "dtype": (spoil(lambda z: z.double()), "'smashed' holds torch.float64, it should hold torch.float32"),
    "kind": (swap(lambda raw: messages.pack("weights")), "message 'weights', expected 'batch'"),
    "garbage": (swap(lambda raw: b"\x80\x04garbage"), "9 bytes that are no message"),
    "cut off": (swap(lambda raw: raw[:-9]), "bytes that are no message"),
    "place": (with_(place=torch.tensor([0, 9])), "batch (0, 9) where (0, 0) is due"),
    "label": (with_(labels=torch.full((32,), 9)), "'labels' must be classes from 0 to 1"),
}


@pytest.mark.parametrize(("before", "wanted"), BAD.values(), ids=BAD.keys())
def test_a_message_that_cannot_be_is_rejected_and_its_sender_named(wire: Wire, before: Any, wanted: str) -> None:
    server, client = wire.serve(), wire.join(before=before)
    for fork in (server, client):
        said = told(fork)
        assert said.startswith("splitleak: client 0: ")
        assert wanted in said
    for who, out in (("server", "s"), ("client0", "c")):
        record = wire.record(who, out)
        assert (record["status"], record["why"]) == ("failed", said.removeprefix("splitleak: "))
    assert not list(wire.folder.rglob("*.tmp"))


def test_who_sends_what_cannot_be_is_left_behind_if_nobody_is_waited_for(wire: Wire) -> None:
    write(wire.folder / "m.toml", clients='[{ n = 2, mode = "parallel" }]')
    bad = spoil(lambda z: z * torch.nan, at=2)
    server, good, spoiled = wire.serve("--lost", "leave"), wire.join(0), wire.join(1, before=bad)
    assert "client 1: 'smashed' holds NaN" in told(spoiled)
    assert [good.end(), server.end()] == [0, 0], server.text
    assert "left behind" in str(wire.record("server", "s")["faults"])


# ports, patience and interrupts


def test_a_port_in_use_is_one_line(wire: Wire) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", wire.port))
        taken.listen()
        assert f"--listen {wire.address}: Address already in use" in told(wire.serve())


@pytest.mark.parametrize("where", ["50051", ":50051", "127.0.0.1:", "127.0.0.1:99999"])
def test_an_address_has_a_host_and_a_port(wire: Wire, where: str) -> None:
    assert "write HOST:PORT" in told(wire.serve("--listen", where))


def test_without_clients_or_without_a_server_it_ends_in_time(wire: Wire) -> None:
    assert told(wire.serve("--wait", "1")) == "splitleak: no client 0 within 1 s"
    assert f"no server at {wire.address} within 1 s" in told(wire.join(0, "--wait", "1"))
    write(wire.folder / "m.toml", clients="[2]")
    server, first = wire.serve("--wait", "2"), wire.join(0)
    for fork in (server, first):
        assert told(fork) == "splitleak: no client 1 within 2 s (here: 0)"
    assert not list(wire.folder.rglob("*.json"))  # nothing was trained: no record


def test_a_client_that_falls_silent_is_not_waited_for_longer_than_told(wire: Wire) -> None:
    server, client = wire.serve("--wait", "1.5"), wire.join(before=spoil(lambda z: z.new_zeros(signal.pause() or 1)))
    assert "no client 0 within 1.5 s" in told(server)
    assert "client 0 said nothing for 1.5 s" in server.text
    assert client.status is None


def test_interrupted_ends_say_so_in_a_line(wire: Wire) -> None:
    server, client = wire.serve(), wire.join(before=spoil(lambda z: z.new_zeros(signal.pause() or 1)))
    server.until(lambda: "training from" in server.text and "training from" in client.text)
    for fork in (client, server):
        fork.kill(signal.SIGINT)
        assert fork.end() == 130, fork.text
        assert fork.lines[-1] == "splitleak: interrupted; run the same command again to go on"
        assert "Traceback" not in fork.text


# what is no victim for the wire


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"defense": '["none", "gaussian"]'}, "2 victims, and the wire trains one: use --only AXIS=VALUE"),
        ({"protocol": '["central"]', "cut": "[]"}, "under protocol 'central' nothing is split"),
        ({"train": "epochs = 1\ncurve = true"}, "[train] curve is not for the wire"),
        ({"dataset": '{ name = "ecg", otherwise = "./toy_signals.py" }'}, "name one dataset"),
    ],
)
def test_a_matrix_must_be_one_victim_that_is_split(wire: Wire, change: dict[str, str], wanted: str) -> None:
    write(wire.folder / "m.toml", **change)
    if change.get("cut") == "[]":
        text = (wire.folder / "m.toml").read_text()
        (wire.folder / "m.toml").write_text(text.replace("cut = []\n", ""))
    assert wanted in told(wire.serve())


def test_without_the_extra_the_commands_say_what_to_install(
    main: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_package, "find_spec", lambda name: None)
    papers = ["--cert", "a", "--key", "b", "--ca", "c"]
    for command in (["serve", "m.toml"], ["join", "m.toml", "--client", "0", "--server", "h:1"]):
        assert "pip install 'splitleak[wire]'" in main(*command, *papers).line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_the_lines_of_the_page_about_the_wire_work_as_they_stand(lab: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    makes = [line for line in page.splitlines() if line.startswith("openssl ")]
    assert len(makes) == 3
    for line in [*makes, *(line.replace("server", "client") for line in makes[1:])]:
        subprocess.run(["bash", "-c", line], cwd=lab.folder, check=True, capture_output=True)
    (serve,) = (line for line in page.splitlines() if line.startswith(".venv/bin/splitleak serve MATRIX --listen"))
    (join,) = (line for line in page.splitlines() if line.startswith(".venv/bin/splitleak join MATRIX --client"))
    port = free_port()
    lab.matrix()

    def start(line: str) -> subprocess.Popen[str]:
        words = line.partition(" [")[0].replace("MATRIX", "m.toml").replace("50051", str(port)).split()[1:]
        return cast(subprocess.Popen[str], lab.start(*words, "--wait", "60"))

    ends_ = [start(serve), start(join)]
    for end in ends_:
        _, err = end.communicate(timeout=120)
        assert end.returncode == 0, err
    assert len(list((lab.folder / "runs/m/wire").glob("*.json"))) == 2
