"""A grid of Flower whose clients are calls in this process.

`Grid` is where Flower lets a transport in. Flower's own simulation starts a Ray cluster for every run
(`run_simulation`, deprecated) or daemons around a folder (`flwr run`). A cell of a benchmark needs neither.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from flwr.supercore.run import Run


class LoopbackGrid(Grid):
    """All clients in this process, one after the other: sending a message calls the app of the client."""

    def __init__(self, app: ClientApp, clients: int, observe: Callable[[Message, Message], None]) -> None:
        self.app, self.observe = app, observe
        self.nodes = {k + 1: Context(1, k + 1, {"partition-id": k}, RecordDict(), {}) for k in range(clients)}
        self.replies: dict[str, Message] = {}
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # Flower signs messages with these

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Call the clients at once. An exception of a client is raised here: no client may fall silent."""
        pushed: list[str] = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = name = str(len(self.replies) + len(pushed))
            own = copy.deepcopy(message)  # as if it had been sent: a client may change its copy
            reply = self.app(own, self.nodes[message.metadata.dst_node_id])
            if reply.has_error():  # of a modifier of Flower, which reports errors this way
                raise RuntimeError(f"client {message.metadata.dst_node_id - 1}: {reply.error.reason}")
            self.observe(message, reply)
            self.replies[name] = reply
            pushed.append(name)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies.pop(name) for name in message_ids]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, *rest: Any) -> Message:
        return Message(content, dst_node_id, message_type)

    def set_run(self, run: Run) -> None:
        """Flower's interface; there is only one run."""

    @property
    def run(self) -> Run:
        from flwr.supercore.run import Run

        return Run.create_empty(1)
