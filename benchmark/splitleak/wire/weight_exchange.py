"""How several clients exchange their weights: encrypted, through the server, which cannot read them."""

from __future__ import annotations

from splitleak.plan.case import Case
from splitleak.train.averaging import mean_of
from splitleak.wire.client_part import ClientPart
from splitleak.wire.client_training import receive_in_training
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.sealing import Seal


class NoExchange:
    """With one client there is nothing to exchange. An epoch has three moments at which weights may cross."""

    def before_epoch(self, epoch: int) -> None:
        """Before the first batch."""

    def after_epoch(self, epoch: int) -> None:
        """After the last batch."""

    def after_save(self, epoch: int) -> None:
        """When the epoch has been saved."""


class SealedExchange(NoExchange):
    """What both kinds of exchange have in common. The server's run is part of what is sealed."""

    def __init__(self, case: Case, part: ClientPart, seal: Seal, run: str) -> None:
        self.part, self.seal, self.number = part, seal, part.party.number
        self.training = f"{case.cell.victim_key} {run}"

    def send(self, epoch: int) -> None:
        """Send the client's weights after this epoch."""
        sealed = self.seal.encrypt(self.part.weights(), self.context(str(epoch), str(self.number)))
        self.part.connection.send("weights", {"sealed": sealed})

    def context(self, epoch: str, number: str) -> str:
        """What is authenticated with the weights of a client after an epoch."""
        return f"{self.training} epoch {epoch} client {number}"


class SequentialExchange(SealedExchange):
    """Clients train in turn: each goes on from the weights of the client before it."""

    def before_epoch(self, epoch: int) -> None:
        """Wait for this client's turn, and take over the weights that come with it."""
        for name, sealed in receive_in_training(self.part.connection, "turn").tensors.items():
            earlier, _, number = name.partition(".")
            if earlier not in (str(epoch), str(epoch - 1)):
                why = f"sent weights of epoch {earlier} in epoch {epoch}"
                raise InvalidMessage(why, self.part.connection.peer)
            self.part.replace_weights(self.seal.decrypt(sealed, self.context(earlier, number)))

    def after_save(self, epoch: int) -> None:
        """Hand on the weights, only now that this client can resume after the epoch."""
        self.send(epoch)


class ParallelExchange(SealedExchange):
    """Clients train side by side: after each epoch each of them computes the average of all weights."""

    def __init__(self, case: Case, part: ClientPart, seal: Seal, run: str, records: dict[int, int]) -> None:
        super().__init__(case, part, seal, run)
        self.records = records  # client -> number of its records, which weights the average

    def after_epoch(self, epoch: int) -> None:
        """Average in the order of the clients' numbers, as the in-process loop does."""
        self.send(epoch)
        others = receive_in_training(self.part.connection, "weights").tensors
        if others.keys() != {str(k) for k in self.records} - {str(self.number)}:
            raise InvalidMessage("did not send the weights of all other clients", self.part.connection.peer)
        copies = {int(k): self.seal.decrypt(sealed, self.context(str(epoch), k)) for k, sealed in others.items()}
        for copy in copies.values():
            self.part.check_weights(copy)
        copies[self.number] = self.part.weights()
        order = sorted(copies)
        sizes = [self.records[k] for k in order]
        means = {name: mean_of([copies[k][name] for k in order], sizes) for name in copies[self.number]}
        self.part.replace_weights(means)


def exchange_of(case: Case, part: ClientPart, seal: Seal | None, run: str, records: dict[int, int]) -> NoExchange:
    """The exchange for the number and the mode of the clients."""
    if seal is None or case.cell.clients.n == 1:
        return NoExchange()
    if case.cell.clients.mode == "sequential":
        return SequentialExchange(case, part, seal, run)
    return ParallelExchange(case, part, seal, run, records)
