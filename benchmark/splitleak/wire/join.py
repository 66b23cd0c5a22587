"""A client of a split training across processes: it finds the server, trains with it, and judges the result itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splitleak.contract import Data
from splitleak.contract.errors import BadInput, Detected, Diverged
from splitleak.jobs.versions import versions
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.score import channel, utility
from splitleak.snapshot import set_random_state
from splitleak.store import fingerprint
from splitleak.train import fit, provenance
from splitleak.train.victim import fresh
from splitleak.wire import settle
from splitleak.wire.agree import hello
from splitleak.wire.envelope import Seal
from splitleak.wire.keep import Keeper, Story
from splitleak.wire.line import Line, Lost, Refused
from splitleak.wire.message import Message, Rejected
from splitleak.wire.own import Others, Over, Own
from splitleak.wire.tls import Absent, Papers, call, knock

AGAIN = 0.2  # seconds between two knocks
Say = Callable[[str], None]


class Client:
    """Attempts at one training until one comes to its end; whenever the server is lost it is sought again."""

    def __init__(
        self, case: Case, number: int, data: Data, out: Path, wait: float, seal: Seal | None, say: Say
    ) -> None:
        cell = case.cell
        self.case, self.cell, self.number, self.data = case, cell, number, data
        self.wait, self.seal, self.say = wait, seal, say
        self.keeper = Keeper(out, cell.victim_key, f"client{number}", provenance.made_by(case, data, fit.__file__))
        if cell.clients.n > 1 and seal is None:
            said = "clients hand on their weights sealed: --seal FILE (openssl rand 32 > FILE, the same at all of them)"
            raise BadInput(f"{cell.clients.n} {said}")
        self.story, self.done = Story(), False
        self.welcome: Message | None = None  # what the server said first, on this connection
        if kept := self.keeper.last():
            self.story.remember(kept)
            self.story.faults.append({"what": "client restarted", "epoch": kept["epoch"]})

    def join(self, host: str, port: int, papers: Papers) -> Path:
        """Train to the end with the server there; returns the record's path.

        BadInput: no server within `wait` seconds, refused by it, a message of it that cannot be. Diverged: the loss is
        no number any more.
        """
        if self.keeper.finished():
            self.say("this was trained to its end before: delete its record to do it again")
            return self.keeper.record
        try:
            self._until_done(host, port, papers)
        except (BadInput, Diverged) as error:
            if self.story.run:
                self.keeper.fail(self.record("diverged" if isinstance(error, Diverged) else "failed", str(error)))
            raise
        return self.keeper.record

    def _until_done(self, host: str, port: int, papers: Papers) -> None:
        until = time.monotonic() + self.wait
        while not self.done:
            try:
                knock(host, port, papers)
                with call(host, port, papers) as line:
                    self._attempt(line)
            except (Absent, Lost) as gone:
                if self.welcome and not self.done:
                    self._note(gone)
                    until = time.monotonic() + self.wait
                elif time.monotonic() > until:
                    raise BadInput(f"no server at {host}:{port} within {self.wait:g} s ({gone})") from None
            except Refused as error:  # its own last connection may not have been noticed yet
                if not (error.later and self.story.faults) or time.monotonic() > until:
                    raise
            time.sleep(0 if self.done else AGAIN)

    def _note(self, gone: Exception) -> None:
        self.welcome = None
        told = {"what": "lost the server", "why": str(gone), "epoch": self.story.epoch, "step": self.story.steps}
        self.story.faults.append(told)
        self.say(f"{gone}; looking for the server for up to {self.wait:g} s")

    def _attempt(self, line: Line) -> None:
        """From the epoch that the server says to the end."""
        kept = self.keeper.epochs()
        line.send("hello", **hello(self.case, self.number, self.data.form, len(self.data.private), kept))
        self.welcome = line.receive("welcome", within=self.wait)
        start, run = int(self.welcome.facts["epoch"]), str(self.welcome.facts["run"])
        sizes = {int(k): int(n) for k, n in self.welcome.facts["records"].items()}
        own = Own(self.case, self.data, self.number, line, self.wait)
        others = Others(own, self.seal, run, sizes) if self.seal and self.cell.clients.n > 1 else None
        self.say(f"training from epoch {start} of {self.cell.train.epochs}")
        try:
            with Stream(self.cell.seeds.of("training") + self.number):
                self._load(own, start, run)
                self._train(own, others)
            self._finish(own)
        except (Rejected, Diverged) as error:
            named = f"client {self.number}: {error}"
            line.send("error", why=named)
            raise error if str(error).startswith(line.who) else type(error)(named) from None
        finally:
            self.story.count(self.number, line, up=True)

    def _load(self, own: Own, start: int, run: str) -> None:
        if not start:
            return self.story.rewind(run, 0, None)
        tensors, facts = self.keeper.epoch(start)
        own.load(tensors)
        set_random_state(tensors, facts)
        self.story.rewind(run, start, facts)

    def _train(self, own: Own, others: Others | None) -> None:
        """All epochs that are left; each is kept before anybody hears that it is over."""
        settle()
        story, before, clock = self.story, self.story.seconds, time.perf_counter()
        own.mode(training=True)
        try:
            while (epoch := story.epoch) < self.cell.train.epochs:
                if others:
                    others.before(epoch)
                own.epoch(story)
                if others:
                    others.average(epoch)
                story.epoch, story.seconds = epoch + 1, before + time.perf_counter() - clock
                self._keep(own)
                if others:
                    others.hand_on(epoch)
            own.hear("evaluate")
        except Over:
            pass
        except Detected as error:
            story.detected_at = story.steps
            own.line.send("detected", why=str(error))
            own.hear("evaluate")
        finally:
            story.seconds = before + time.perf_counter() - clock
            own.mode(training=False)

    def _keep(self, own: Own) -> None:
        """A defence with a state of its own cannot be kept: a training that breaks starts over."""
        self.story.count(self.number, own.line, up=True)
        if own.live is own.victim.defense:
            self.keeper.keep(own.tensors(), self.story)

    def _finish(self, own: Own) -> None:
        """Judge, write, say goodbye; whatever happens after that is no loss."""
        learned = own.learned()
        if not all(bool(t.isfinite().all()) for t in learned.values()):
            raise Diverged(f"the weights are no numbers any more after the last step ({self.story.steps})")
        facts = self._judge(own)
        self.story.count(self.number, own.line, up=True)
        self.keeper.finish(learned, self.record("done") | facts | {"fingerprint": fingerprint(learned)})
        self.done = True
        own.line.send("bye")
        own.line.receive("done", within=self.wait)
        self.keeper.forget()

    def _judge(self, own: Own) -> dict[str, Any]:
        """Utility on its own test records, the top being asked, and the bytes a record that shapes alone say."""
        found: dict[str, Any] = {"utility": None, "utility_n": len(self.data.test)}
        try:
            if len(self.data.test):
                found |= utility.facts(own.victim) | {"utility_floor": utility.floor(own.victim)}
        except BadInput as error:
            if isinstance(error, (Refused, Rejected)):
                raise
            self.say(f"no utility: {error}")  # one record, or values that are all alike, have no r2
        up, down = channel.wire_bytes(fresh(self.case, self.data))
        return found | {"bytes_up": up, "bytes_down": down}

    def record(self, status: str, why: str | None = None) -> dict[str, Any]:
        """What is left beside the weights; bytes are of whole messages, those sent in vain and again among them."""
        story = self.story
        return {
            "key": self.keeper.name, "who": f"client {self.number}", "status": status, "why": why,
            "cell": self.cell.victim(), "made_by": self.keeper.made_by, "versions": versions(), "steps": story.steps,
            "epochs": story.epoch, "seconds_train": story.seconds, "loss_curve": story.losses, "faults": story.faults,
            "detected_at": story.detected_at if story.detected_at >= 0 else None, "records": len(self.data.private),
            "wire": story.bytes,
        }  # fmt: skip
