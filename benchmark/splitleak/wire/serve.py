"""The server of a split training across processes: it holds the top, and of the records it knows only their form."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splitleak.contract.errors import BadInput, Detected, Diverged
from splitleak.jobs.versions import versions
from splitleak.plan.case import Case
from splitleak.plan.seeds import Stream
from splitleak.snapshot import set_random_state
from splitleak.store import fingerprint
from splitleak.wire import settle
from splitleak.wire.agree import Hello, code, difference
from splitleak.wire.door import Door, Seat
from splitleak.wire.keep import Keeper, Story
from splitleak.wire.line import Lost, Refused
from splitleak.wire.message import Rejected
from splitleak.wire.tls import Papers, listen
from splitleak.wire.top import Top

Say = Callable[[str], None]


def serve(case: Case, where: str, papers: Papers, out: Path, wait: float, leave: bool, say: Say) -> Path:
    """Train a victim's top with the clients that join at `where`; returns the record's path.

    BadInput: a port in use, no client within `wait` seconds, a message that cannot be, nobody left. Diverged: the loss
    is no number any more.
    """
    server = Server(case, out, wait, leave, say)
    if server.keeper.finished():
        say("this was trained to its end before: delete its record to do it again")
        return server.keeper.record
    clients = case.cell.clients.n
    door = Door(server.objection, say)
    grpc, address = listen(where, papers, door.talk, clients + 4)
    say(f"listening on {address} for {clients} client{'s' * (clients > 1)}")
    try:
        server.run(door)
    except (BadInput, Diverged) as error:
        door.clear("error", why=str(error))
        if server.top:
            server.keeper.fail(server.record("diverged" if isinstance(error, Diverged) else "failed", str(error)))
        raise
    finally:
        grpc.stop(grace=1).wait()
    return server.keeper.record


class Server:
    """Attempts at one training until one comes to its end; after a loss all go back to the last epoch they share."""

    def __init__(self, case: Case, out: Path, wait: float, leave: bool, say: Say) -> None:
        self.case, self.cell, self.wait, self.leave, self.say = case, case.cell, wait, leave, say
        self.keeper = Keeper(out, case.cell.victim_key, "server", code(case))
        self.story, self.begun = Story(), False
        self.top: Top | None = None
        if kept := self.keeper.last():
            self.story.remember(kept)
            self.story.faults.append({"what": "server restarted", "epoch": kept["epoch"]})
            self.begun = True

    def objection(self, hello: Hello) -> str | None:
        """Why this client cannot take part."""
        n, left = self.cell.clients.n, self.story.left.get(str(hello.client))
        other = difference(hello, self.case)
        if other is not None:
            return other
        if hello.client >= n:
            return f"there are {n} clients, 0 to {n - 1}"
        return None if left is None else f"it was lost, and training went on without it from epoch {left}"

    def run(self, door: Door) -> None:
        while True:
            seats = self._gather(door)
            try:
                self._attempt(seats)
                door.clear("done")
                return
            except Lost as gone:
                self._lose(gone, seats)
            except (Rejected, Refused) as error:
                sender = next((s for s in seats.values() if str(error).startswith(f"{s.line.who}: ")), None)
                if sender is None or not self.leave or len(seats) == 1:
                    raise
                sender.line.send("error", why=str(error))
                sender.line.close()
                self._lose(Lost(sender.line.who, f"is sent away ({error})"), seats)
            door.clear("again", why="goes back to the end of an epoch")

    def _gather(self, door: Door) -> dict[int, Seat]:
        """Wait until everybody is here who is not left behind."""
        until = time.monotonic() + self.wait
        while True:
            expected = set(range(self.cell.clients.n)) - {int(k) for k in self.story.left}
            with door.changed:
                seats = {k: door.seats[k] for k in sorted(door.seats)}
                if seats.keys() == expected:
                    return seats
                if time.monotonic() <= until:
                    door.changed.wait(0.2)
                    continue
            absent = sorted(expected - seats.keys())
            if not (self.begun and self.leave and seats):
                here = f" (here: {', '.join(map(str, seats))})" if seats else ""
                raise BadInput(f"no client {', '.join(map(str, absent))} within {self.wait:g} s{here}")
            for number in absent:
                self._leave_behind(number)

    def _attempt(self, seats: dict[int, Seat]) -> None:
        """From the last epoch that all share to the end, with the utility that the clients then ask for."""
        start, run = self._common(seats)
        form = next(iter(seats.values())).hello.form
        try:
            self.top = top = Top(self.case, form, seats, self.wait)
        except BadInput:
            raise
        except Exception as error:  # a network that does not take these records
            raise BadInput(f"records {form.in_shape} do not pass: {error}") from error
        self._note_return(seats, start)
        for seat in seats.values():
            seat.line.send("welcome", epoch=start, run=run, records={str(k): n for k, n in top.records.items()})
        self.say(f"training from epoch {start} of {self.cell.train.epochs}")
        self.begun = True
        with Stream(self.cell.seeds.of("training")):
            self._load(top, start, run)
            self._train(top)
        top.examine(early=self.story.detected_at >= 0)
        self._count(top)
        self.keeper.finish(top.learned(), self.record("done"))
        self.keeper.forget()

    def _common(self, seats: dict[int, Seat]) -> tuple[int, str]:
        """The last epoch that everybody has kept of one and the same run; 0 begins a new one."""
        kept = self.keeper.epochs()
        shared = [e for e, r in kept.items() if all(s.hello.epochs.get(str(e)) == r for s in seats.values())]
        start = max(shared, default=0)
        return start, kept[start] if start else secrets.token_hex(8)

    def _load(self, top: Top, start: int, run: str) -> None:
        if not start:
            return self.story.rewind(run, 0, None)
        tensors, facts = self.keeper.epoch(start)
        top.load(tensors)
        set_random_state(tensors, facts)
        self.story.rewind(run, start, facts)

    def _train(self, top: Top) -> None:
        story, side_by_side = self.story, self.cell.clients.n > 1 and self.cell.clients.mode == "parallel"
        settle()
        before, clock = story.seconds, time.perf_counter()
        top.mode(training=True)
        try:
            while story.epoch < self.cell.train.epochs:
                top.epoch(story)
                story.epoch, story.seconds = story.epoch + 1, before + time.perf_counter() - clock
                self._count(top)
                self.keeper.keep(top.tensors(), story)
                if side_by_side:
                    top.relay()
        except Detected as seen:
            story.detected_at = story.steps
            self.say(f"{seen}: training ends")
        finally:
            story.seconds = before + time.perf_counter() - clock
            self._count(top)
            top.mode(training=False)
        if not all(bool(t.isfinite().all()) for t in top.learned().values()):
            raise Diverged(f"the weights are no numbers any more after the last step ({story.steps})")

    def _count(self, top: Top) -> None:
        for k, seat in top.seats.items():
            self.story.count(k, seat.line, up=False)

    def _lose(self, gone: Lost, seats: dict[int, Seat]) -> None:
        """Note it; whoever is not waited for is left behind."""
        number = next(k for k, seat in seats.items() if seat.line.who == gone.who)
        told = {"client": number, "what": "lost", "why": gone.why}
        self.story.faults.append(told | {"epoch": self.story.epoch, "step": self.story.steps})
        if self.leave:
            self._leave_behind(number)
            if len(self.story.left) == self.cell.clients.n:
                raise BadInput(f"{gone}, and nobody is left")
        then = "going on without it" if self.leave else f"waiting up to {self.wait:g} s for it"
        self.say(f"{gone}; {then}")

    def _leave_behind(self, number: int) -> None:
        self.story.left[str(number)] = self.story.epoch
        self.story.faults.append({"client": number, "what": "left behind", "epoch": self.story.epoch})

    def _note_return(self, seats: dict[int, Seat], start: int) -> None:
        last = {f["client"]: f["what"] for f in self.story.faults if "client" in f}
        back = [k for k in seats if last.get(k) == "lost"]
        self.story.faults += [{"client": k, "what": "came back", "epoch": start} for k in back]

    def record(self, status: str, why: str | None = None) -> dict[str, Any]:
        """What is left beside the weights; bytes are of whole messages, those sent in vain and again among them."""
        story, top = self.story, self.top
        return {
            "key": self.keeper.name, "who": "server", "status": status, "why": why, "cell": self.cell.victim(),
            "made_by": self.keeper.made_by, "versions": versions(), "steps": story.steps, "epochs": story.epoch,
            "seconds_train": story.seconds, "detected_at": story.detected_at if story.detected_at >= 0 else None,
            "loss_curve": story.losses, "faults": story.faults, "records": top.records if top else {},
            "wire": story.bytes, "fingerprint": fingerprint(top.learned()) if top and status == "done" else None,
        }  # fmt: skip
