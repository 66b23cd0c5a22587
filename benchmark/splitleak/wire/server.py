"""The server's end of a split training: attempt after attempt, until the training has ended."""

from __future__ import annotations

import secrets
import time
from typing import Any

from splitleak.contract.errors import BadInput, Detected
from splitleak.contract.nouns import Form
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.printable import in_a_line
from splitleak.store import fingerprint
from splitleak.wire import freeze_garbage_collector
from splitleak.wire.agreement import sources
from splitleak.wire.connection import ConnectionLost, PeerError
from splitleak.wire.end import End, EndSettings
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.kinds import WHY
from splitleak.wire.registry import ByNumber, ClientRegistry
from splitleak.wire.server_part import ServerPart
from splitleak.wire.server_training import ServerTraining


class UnfitRecords(BadInput):
    """The clients' records do not fit the network; other clients may have other records."""


class Server(End):
    """It repeats the training until it ends; after a loss, all ends go back to their last common epoch."""

    def __init__(self, case: Case, settings: EndSettings, *, leave_lost: bool) -> None:
        super().__init__(case, settings, "server", sources(case))
        self.leave_lost, self.begun = leave_lost, self.resumed
        self.records: dict[int, int] = {}  # client -> number of its records
        self.refusals: dict[int, str] = {}  # client -> why the server ended its last connection

    def run(self, registry: ClientRegistry) -> None:
        """Attempt after attempt, until one ends."""
        while True:
            clients = self._gather(registry)
            try:
                self._attempt(clients)
                registry.dismiss("done")
                return
            except UnfitRecords as error:
                self._refuse_all(error, registry)
                continue
            except ConnectionLost as lost:
                self._lose(lost, clients)
            except (InvalidMessage, PeerError) as error:
                self._exclude(error, clients)
            registry.dismiss("restart", why="goes back to the end of an epoch")

    def _gather(self, registry: ClientRegistry) -> ByNumber:
        """Wait until all clients are connected that are not left behind."""
        until = time.monotonic() + self.settings.wait
        while True:
            expected = set(range(self.cell.clients.n)) - {int(k) for k in self.progress.left_behind}
            clients = registry.wait_for(expected, until)
            absent = sorted(expected - clients.keys())
            if not absent:
                return clients
            if not (self.begun and self.leave_lost and clients):
                connected = f" (connected: {', '.join(map(str, clients))})" if clients else ""
                names = ", ".join(map(str, absent))
                why = "".join(f"; before that, {self.refusals[k]}" for k in absent if k in self.refusals)
                raise BadInput(f"client {names} did not connect within {self.settings.wait:g} s{connected}{why}")
            for number in absent:
                self.progress.leave_behind(number)

    def _attempt(self, clients: ByNumber) -> None:
        """Train from the last common epoch to the end, then answer what the clients need for their utility."""
        start, run = self._common_epoch(clients)
        part = self._part(next(iter(clients.values())).hello.form)
        training = ServerTraining(self.cell, part, clients)
        self._begin(training, start, run)
        with Stream(self.cell.seeds.of("training")):
            self.resume(part, start, run)
            self._train(training)
        training.answer_queries(stopped=self.progress.detected_at is not None)
        self._count_bytes(clients)
        learned = part.learned()
        self.store.write_result(learned, self.record("done") | {"fingerprint": fingerprint(learned)})
        self.store.delete_epochs()

    def _common_epoch(self, clients: ByNumber) -> tuple[int, str]:
        """The last epoch that all ends have saved in the same run; or 0 and a new run."""
        saved = self.store.saved_epochs()
        hellos = [client.hello for client in clients.values()]
        common = [epoch for epoch, run in saved.items() if all(h.epochs.get(str(epoch)) == run for h in hellos)]
        start = max(common, default=0)
        return start, saved[start] if start else secrets.token_hex(8)

    def _part(self, form: Form) -> ServerPart:
        try:
            return ServerPart(self.case, form)
        except BadInput as error:
            raise UnfitRecords(str(error)) from error
        except Exception as error:  # of the model, whose network does not take these records
            raise UnfitRecords(
                f"model '{self.cell.model['name']}': records {form.in_shape} do not pass: {in_a_line(str(error), WHY)}"
            ) from error

    def _begin(self, training: ServerTraining, start: int, run: str) -> None:
        """Tell the clients where to start."""
        self.records, self.begun = training.records, True
        self.progress.add_returns(training.clients, start)
        records = {str(k): n for k, n in self.records.items()}
        for client in training.clients.values():
            client.connection.send("start", epoch=start, run=run, records=records)
        self.settings.say(f"training from epoch {start} of {self.cell.train.epochs}")

    def _train(self, training: ServerTraining) -> None:
        progress, part = self.progress, training.part
        freeze_garbage_collector()
        part.set_training(True)
        try:
            with progress.timed():
                while progress.epoch < self.cell.train.epochs:
                    training.epoch(progress)
                    progress.count_time()
                    self._count_bytes(training.clients)
                    self.save_epoch(part)
                    training.relay_weights()
        except Detected as error:
            progress.detected_at = progress.steps
            self.settings.say(f"{error}: training ends")
        finally:
            self._count_bytes(training.clients)
            part.set_training(False)
        self.check_finite(part.learned())

    def _count_bytes(self, clients: ByNumber) -> None:
        for k, client in clients.items():
            self.progress.count_bytes(k, client.connection, at_client=False)

    def _exclude(self, error: InvalidMessage | PeerError, clients: ByNumber) -> None:
        """End the connection to the client that sent an invalid message or gave up, as if it were lost."""
        peer = error.peer if isinstance(error, PeerError) else error.sender
        found = next((client for client in clients.values() if client.connection.peer == peer), None)
        if found is None:
            raise error
        found.connection.close("error", why=str(error))
        self.refusals[found.hello.client] = in_a_line(str(error), WHY)
        self._lose(ConnectionLost(peer, f"is excluded ({error})"), clients)

    def _refuse_all(self, error: BadInput, registry: ClientRegistry) -> None:
        """End all connections, before the training has begun."""
        self.settings.say(f"refused: {error}")
        self.refusals = dict.fromkeys(registry.clients, in_a_line(str(error), WHY))
        registry.dismiss("error", why=str(error))

    def _lose(self, lost: ConnectionLost, clients: ByNumber) -> None:
        """Note the loss of a client, which is waited for or left behind."""
        number = next(k for k, client in clients.items() if client.connection.peer == lost.peer)
        self.progress.add_fault("lost", client=number, why=lost.why, step=self.progress.steps)
        if self.leave_lost:
            self.progress.leave_behind(number)
            if len(self.progress.left_behind) == self.cell.clients.n:
                raise BadInput(f"{lost}, and no client is left")
        wait = f"waiting up to {self.settings.wait:g} s for it"
        self.settings.say(f"{lost}; {'training continues without it' if self.leave_lost else wait}")

    def record(self, status: str, why: str | None = None) -> dict[str, Any]:
        """The record beside the top's weights."""
        return super().record(status, why) | {"records": self.records}
