"""Make a victim: train it, measure its utility, keep it.

This file and all that it imports are the code of a victim, see `provenance`.
"""

from __future__ import annotations

from dataclasses import replace

from splitleak.contract import Data, Diverged
from splitleak.plan.case import Case
from splitleak.score import channel, utility
from splitleak.store import Store, digest
from splitleak.train import accounting, provenance, shadows
from splitleak.train.checkpoint import Checkpoint
from splitleak.train.data import data_digest
from splitleak.train.facts import Kept, Learned, VictimFacts
from splitleak.train.fit import Fit, Tell
from splitleak.train.provenance import Hashes
from splitleak.train.victim import Victim, copy_weights, fresh


def is_kept(case: Case, made: Hashes, store: Store) -> bool:
    """Whether the victim is kept, and was made by this code and these records."""
    key = case.cell.victim_key
    kept = Kept.read(store, key)
    if kept is not None and digest(kept.facts.victim) != key:
        store.set_aside(store.victim_path(key), ValueError("it is another cell's victim"))
        return False
    return kept is not None and kept.facts.made_by == made


def make_victim(case: Case, data: Data, store: Store, tell: Tell) -> None:
    """Train a victim and keep it; `tell` is called with each epoch.

    A victim that diverges is kept as such, since it would diverge again.
    """
    victim, key = fresh(case, shadows.data_for(case.cell, data)), case.cell.victim_key
    facts = VictimFacts(case.cell.victim(), made_by(case, data_digest(data), data.private.x.device.type))
    checkpoint = Checkpoint(store, key, facts.made_by)
    try:
        known = learned_at_another_cut(case, victim, facts.made_by, store)
        facts.learned = known or _train(victim, checkpoint, facts, tell)
        _measure(victim, facts)
    except Diverged as error:
        facts.diverged = str(error)
    except SystemExit as error:  # raised by a plug-in, which must not end the run
        raise RuntimeError(f"SystemExit: {error}") from error
    Kept({} if facts.diverged else victim.tensors(), facts).write(store, key)
    checkpoint.delete()


def made_by(case: Case, records: str, device: str) -> Hashes:
    """The code and records behind a victim; records: their hash."""
    return provenance.made_by(case, records, device, __file__)


def _train(victim: Victim, checkpoint: Checkpoint, facts: VictimFacts, tell: Tell) -> Learned:
    fit = Fit(victim, lambda now: utility.on_test(now)[1], checkpoint, tell)
    learned = fit.run()
    if len(fit.parties) > 1:
        facts.utility_clients = utility.by_client(victim, fit.parties)
    return learned


def _measure(victim: Victim, facts: VictimFacts) -> None:
    """Utility, bytes on the wire and privacy."""
    worth = utility.facts(victim)
    facts.utility_metric, facts.utility, facts.utility_also = (
        worth["utility_metric"],
        worth["utility"],
        worth["utility_also"],
    )
    facts.bytes_up, facts.bytes_down = channel.wire_bytes(victim)
    facts.utility_floor = utility.floor(victim)
    sent = facts.learned.steps + (facts.learned.detected_at >= 0)  # the step that a defence stopped was sent
    for name, value in accounting.facts(victim, sent).items():
        setattr(facts, name, value)


def learned_at_another_cut(case: Case, victim: Victim, made: Hashes, store: Store) -> Learned | None:
    """Take over the weights of the same victim at another cut, if one is kept.

    An undefended network of a lone client learns the same bits wherever it is cut (tested).
    """
    cell = case.cell
    if cell.defense["name"] != "none" or cell.clients.n > 1 or not cell.traffic.cut:
        return None
    for cut in case.model.cuts(cell.protocol):
        other = replace(case, cell=replace(cell, cut=cut))
        kept = Kept.read(store, other.cell.victim_key)
        if kept is not None and kept.facts.made_by == made and not kept.facts.diverged:
            trained = fresh(other, victim.data)
            trained.load(kept.tensors)
            copy_weights(victim.split, trained.split)
            return kept.facts.learned
    return None
