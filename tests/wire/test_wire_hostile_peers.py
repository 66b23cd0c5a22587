"""Hostile peers with false numbers or many connections, that say or read nothing; and the server's memory."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from splitleak.wire import grpc_streams, registry
from splitleak.wire.message import pack

from ..forks import Fork
from .hostile import ALL, HELLOS, Attack, Peer, hello, seated, throw
from .hostile_lab import Lab, lab_in
from .test_wire_bits import InProcess
from .test_wire_faults import error_of

pytestmark = pytest.mark.slow  # each test starts processes
PARALLEL = '{ n = 2, mode = "parallel" }'
MB_AT_PEAK = 600  # of the server's memory


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = lab_in(tmp_path, PARALLEL)
    yield made
    made.stop()


def trains(lab: Lab, server: Fork, *waiting: Fork) -> None:
    """The honest clients that are not there yet join, and the bits are those of one process."""
    forks = [*waiting, *(lab.join(k) for k in range(len(waiting), 2)), server]
    for fork in forks:
        assert fork.end() == 0, fork.text
    InProcess(lab).check(lab)


def test_a_number_is_bound_to_its_certificate(lab: Lab) -> None:
    server, facts = lab.serve("--wait", "60"), lab.facts(0)
    server.until(lambda: "listening" in server.text)
    wanted = {
        "client1": "refused: client 1: says that it is client 0; its certificate is of client 1",
        "server": "its certificate has the common name 'server'; legal: client0 to client1",
        "client01": "its certificate has the common name 'client01'; legal: client0 to client1",
        "client\x1b[2J": r"its certificate has the common name 'client\x1b[2J'; legal: client0 to client1",
        "client2": "refused: client 2: there are 2 clients, numbered 0 to 1",
    }
    for name, line in wanted.items():
        options = lab.authority.sign(name)
        lab.hostile(partial(throw, lab.address, options, facts, Attack(hello(), ""))).end()
        server.until(lambda line=line: line in server.text)
    mistaken = lab.start(["join", "m.toml", "--client", "0", "--server", lab.address, *lab.certificate(1)], None)
    assert "its common name is 'client1'; client 0 needs a certificate with the common name 'client0'" in error_of(
        mistaken
    )
    trains(lab, server)


def test_a_clients_certificate_does_not_make_a_server(lab: Lab) -> None:
    lab.certificates["server"] = lab.certificate(1)
    lab.serve()
    assert "is not trusted" in error_of(lab.join(0))


def test_a_peer_that_says_nothing_is_given_up(lab: Lab) -> None:
    def impatient() -> None:
        registry.HELLO_SECONDS = 1

    server = lab.serve("--wait", "60", before=impatient)
    server.until(lambda: "listening" in server.text)
    options = lab.certificate(1)
    silent = lab.hostile(lambda: list(Peer(lab.address, options).messages()) and None)
    server.until(
        lambda: "refused: client 1: sent nothing for 1 s before its hello; legal: a hello within 1 s" in server.text
    )
    assert silent.end() == 0
    trains(lab, server)


def test_many_connections_of_one_certificate_take_no_seat_from_others(lab: Lab) -> None:
    server, options = lab.serve("--wait", "60"), lab.certificate(1)
    server.until(lambda: "listening" in server.text)

    def flood() -> None:
        peers = [Peer(lab.address, options) for _ in range(40)]
        time.sleep(60)
        del peers

    flooding = lab.hostile(flood)
    server.until(
        lambda: "refused: client 1: its certificate has 3 connections already, which is the most" in server.text
    )
    first = lab.join(0)
    first.until(lambda: "client 0 connected" in server.text, within=10)
    flooding.kill()
    trains(lab, server, first)


def test_idle_connections_are_limited_and_closed_in_time(lab: Lab) -> None:
    def few() -> None:
        grpc_streams.CONNECTIONS = 0  # 14 remain for the threads of two clients

    server = lab.serve("--wait", "60", before=few)
    server.until(lambda: "listening" in server.text)
    held = list(idle_connections(lab, 30))
    assert 10 <= len(held) < 30
    started = time.monotonic()
    trains(lab, server)
    assert time.monotonic() - started > 1  # they had to wait
    del held


def idle_connections(lab: Lab, most: int) -> Iterator[ssl.SSLSocket]:
    """Connections under the certificate of client 1 without a stream, until the server accepts no more."""
    cert, key, ca = lab.certificate(1)[1::2]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    for _ in range(most):
        plain = socket.create_connection(("127.0.0.1", lab.port), timeout=5)
        try:
            line = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            return
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # empty settings
        yield line


def test_a_client_that_reads_nothing_is_given_up_and_its_memory_returned(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    server, options, facts = lab.serve("--wait", "3"), lab.certificate(0), lab.facts(0)
    server.until(lambda: "listening" in server.text)

    def flood() -> None:
        peer = seated(lab.address, options, facts | {"records": 32 * 10**5})
        place = 0
        while peer.stream.is_active():
            batch = {"smashed": torch.zeros(32, 16, 4), "labels": torch.zeros(32, dtype=torch.int64)}
            peer.send(pack("batch", batch | {"place": torch.tensor([0, place])}))
            place += 1
            time.sleep(0.0005)

    flooding = lab.hostile(flood)
    server.until(lambda: "client 0 read nothing for 3 s" in server.text, within=60)
    flooding.kill()
    honest = lab.join(0)
    assert [honest.end(), server.end()] == [0, 0], honest.text + server.text
    InProcess(lab).check(lab)
    lab.stop()


def test_a_network_that_needs_more_memory_is_refused_with_the_name_of_the_option(
    tmp_path: Path,
) -> None:
    lab = lab_in(tmp_path, batch_size=4096)
    server = lab.serve("--wait", "60", "--memory", "1")
    said = error_of(lab.join(0))
    assert said.startswith("splitleak: client 0: a network for records (1, 16) takes ")
    assert said.endswith(" MB, and the server may use 1 MB for its clients (serve --memory MB)")
    assert f"refused: {said.removeprefix('splitleak: ')}" in server.text
    lab.stop()


def test_under_all_attacks_at_once_memory_stays_small_and_the_bits_stay_the_same(lab: Lab) -> None:
    server = real_server(lab)
    try:
        text = (lab.folder / "server.output").read_text
        first = lab.join(0, "--wait", "200")
        first.until(lambda: "client 0 connected" in text())
        for name in ALL:  # before client 1 is there, under its certificate
            attacked = lab.throw(name, 1)
            assert attacked.end() == 0, attacked.text
        options, facts = [lab.certificate(k) for k in range(2)], lab.facts(1)

        def attack_on() -> None:  # while both train, under both certificates
            while True:
                for attack in HELLOS.values():
                    for certificate in options:
                        throw(lab.address, certificate, facts, attack)

        attacking = lab.hostile(attack_on)
        second, peak = lab.join(1), 0.0
        while server.poll() is None:
            peak = max(peak, peak_mb(server.pid))
            time.sleep(0.02)
        attacking.kill()
        assert [server.returncode, first.end(), second.end()] == [0, 0, 0], text()
        assert 0 < peak < MB_AT_PEAK
        assert "Traceback" not in text()
    finally:
        server.kill()
    InProcess(lab).check(lab)


def real_server(lab: Lab) -> subprocess.Popen[bytes]:
    """A server in a process of its own that shares no memory with the test."""
    options = ["--listen", lab.address, "--out", "s", *lab.certificates["server"], "--wait", "100"]
    with (lab.folder / "server.output").open("wb") as output:
        command = [sys.executable, "-m", "splitleak", "serve", "m.toml", *options]
        return subprocess.Popen(command, cwd=lab.folder, stderr=output, stdout=output)


def peak_mb(pid: int) -> float:
    """The most memory that a process has used; 0 if it has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
