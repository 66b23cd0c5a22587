"""The client's end of a split training: it trains with the server and measures its own utility."""

from __future__ import annotations

from typing import Any

from splitleak.contract import Data
from splitleak.contract.errors import BadInput, Detected, Diverged
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.score import channel, utility
from splitleak.store import fingerprint
from splitleak.train import fit, provenance
from splitleak.train.data import data_digest
from splitleak.train.victim import fresh
from splitleak.wire import freeze_garbage_collector
from splitleak.wire.agreement import Hello
from splitleak.wire.client_part import ClientPart
from splitleak.wire.client_training import ClientTraining, TrainingEnded
from splitleak.wire.connection import Connection, PeerError
from splitleak.wire.end import End, EndSettings
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.sealing import Seal
from splitleak.wire.weight_exchange import NoExchange, exchange_of


class Client(End):
    """A client, which makes one attempt at the training for each connection."""

    def __init__(self, case: Case, number: int, data: Data, settings: EndSettings, seal: Seal | None) -> None:
        made_by = provenance.made_by(case, data_digest(data), data.private.x.device.type, fit.__file__)
        super().__init__(case, settings, f"client {number}", made_by)
        self.number, self.data, self.seal = number, data, seal
        self.started = self.done = False  # started: on the present connection
        if case.cell.clients.n > 1 and seal is None:
            what = "encrypt the weights that they exchange; give all of them the same --seal FILE"
            raise BadInput(f"{case.cell.clients.n} clients {what} (openssl rand 32 > FILE)")

    def note_loss(self, error: Exception) -> None:
        """Note that the server was lost after the training had started."""
        self.started = False
        self.progress.add_fault("lost the server", why=str(error), step=self.progress.steps)
        self.settings.say(f"{error}; trying to connect again for up to {self.settings.wait:g} s")

    def attempt(self, connection: Connection) -> None:
        """Train from the epoch that the server names to the end."""
        hello = Hello.of(self.case, self.number, self.data.form, len(self.data.private), self.store.saved_epochs())
        connection.send("hello", **vars(hello))
        facts = connection.receive("start").facts
        start, run = self._checked_start(facts, hello, connection)
        self.started = True
        records = {int(k): n for k, n in facts["records"].items()}
        part = ClientPart(self.case, self.data, self.number, connection)
        exchange = exchange_of(self.case, part, self.seal, run, records)
        self.settings.say(f"training from epoch {start} of {self.cell.train.epochs}")
        try:
            with Stream(self.cell.seeds.of("training") + self.number):
                self.resume(part, start, run)
                self._train(part, exchange)
            self._finish(part)
        except (InvalidMessage, Diverged) as error:
            self._report(connection, error)
        finally:
            self._count_bytes(connection)

    def _checked_start(self, facts: dict[str, Any], hello: Hello, connection: Connection) -> tuple[int, str]:
        """The epoch and the run; InvalidMessage if this client cannot have agreed to them."""
        start, run, own = facts["epoch"], facts["run"], facts["records"].get(str(self.number))
        if start and hello.epochs.get(str(start)) != run:
            saved = ", ".join(hello.epochs) or "none"
            raise InvalidMessage(f"starts from epoch {start}; legal: 0, or a saved one ({saved})", connection.peer)
        if own != hello.records or any(int(k) >= self.cell.clients.n for k in facts["records"]):
            problem = f"says that client {self.number} has {own} records"
            raise InvalidMessage(f"{problem}; it has {hello.records}", connection.peer)
        return start, run

    def _report(self, connection: Connection, error: InvalidMessage | Diverged) -> None:
        """Send the server what went wrong, and raise the error again with the name of who caused it."""
        why = f"{self.name}: {error}"
        connection.send("error", why=why)
        if isinstance(error, InvalidMessage) and error.sender:
            raise error
        raise type(error)(why) from None

    def _train(self, part: ClientPart, exchange: NoExchange) -> None:
        """Train all epochs that are left, and then wait for the server to end the training."""
        freeze_garbage_collector()
        part.set_training(True)
        try:
            with self.progress.timed():
                self._epochs(part, exchange)
                part.connection.receive("evaluate")
        except TrainingEnded:
            pass
        finally:
            part.set_training(False)

    def _epochs(self, part: ClientPart, exchange: NoExchange) -> None:
        training, progress = ClientTraining(part, self.cell.train), self.progress
        try:
            while (epoch := progress.epoch) < self.cell.train.epochs:
                exchange.before_epoch(epoch)
                training.epoch(progress)
                exchange.after_epoch(epoch)
                progress.epoch = epoch + 1
                progress.count_time()
                self._count_bytes(part.connection)
                self.save_epoch(part)
                exchange.after_save(epoch)
        except Detected as error:
            progress.detected_at = progress.steps
            part.connection.send("detected", why=str(error))

    def _finish(self, part: ClientPart) -> None:
        """Measure utility, write the result, and tell the server; a loss after that changes nothing."""
        learned = part.learned()
        self.check_finite(learned)
        facts = self._measure(part)
        self._count_bytes(part.connection)
        self.store.write_result(learned, self.record("done") | facts | {"fingerprint": fingerprint(learned)})
        self.done = True
        part.connection.send("evaluated")
        part.connection.receive("done")
        self.store.delete_epochs()

    def _measure(self, part: ClientPart) -> dict[str, Any]:
        """Utility on this client's test records, with the server's top, and the bytes of one record by its shapes."""
        facts: dict[str, Any] = {"utility": None, "utility_n": len(self.data.test)}
        try:
            if len(self.data.test):
                facts |= utility.facts(part.victim) | {"utility_floor": utility.floor(part.victim)}
        except (PeerError, InvalidMessage):
            raise
        except BadInput as error:  # such as the r2 of one record, or of equal values
            self.settings.say(f"no utility: {error}")
        up, down = channel.wire_bytes(fresh(self.case, self.data))
        return facts | {"bytes_up": up, "bytes_down": down}

    def _count_bytes(self, connection: Connection) -> None:
        self.progress.count_bytes(self.number, connection, at_client=True)

    def record(self, status: str, why: str | None = None) -> dict[str, Any]:
        """The record beside the client's weights."""
        return super().record(status, why) | {"records": len(self.data.private)}
