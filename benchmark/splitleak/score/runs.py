"""A run of an attack in a process of its own: nothing of it stays but its guess and what the harness measured.

So the run on the null channel starts from the same state as the run on the real one, whatever the attack keeps in a
module's globals, and guesses are scored where no attack has been.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from splitleak import apart
from splitleak.contract import BadInput
from splitleak.contract.errors import Raised
from splitleak.score import utility
from splitleak.score.attempt import Attempt
from splitleak.score.scene import Scene
from splitleak.train import accounting
from splitleak.train.fit import Tell


@dataclass(frozen=True)
class Ran:
    """The checked guess, and what a record says about the run that made it."""

    guess: Tensor
    facts: dict[str, Any]


def run(scene: Scene, null: bool = False, tell: Tell | None = None) -> Ran:
    """Run the attack of a scene; `tell` hears its logged steps."""
    if not apart.possible():
        return _here(scene, null, tell)

    def inside(say: apart.Say) -> list[Any]:
        try:
            ran = _here(scene, null, say)
        except BadInput as error:  # of the attack, such as a query of another shape: no mistake of the user
            raise Raised.of(error) from None
        return [base64.b64encode(save({"guess": ran.guess.contiguous()})).decode(), ran.facts]

    packed, facts = apart.call(inside, heard=tell)
    return Ran(load(base64.b64decode(packed))["guess"], facts)


def _here(scene: Scene, null: bool, tell: Tell | None) -> Ran:
    attempt = Attempt(scene, null, tell)
    guess, seconds = attempt.run()
    seconds += sum(kept.facts.learned.seconds_train for kept in scene.shadows)  # also of shadows that others use too
    facts: dict[str, Any] = {"seconds_attack": seconds, "read": attempt.view.has_read, "curve": attempt.curve}
    if scene.cell.tampers and attempt.training is not None and not null:
        facts["utility_attacked"] = utility.on_test(attempt.victim)[1]
        facts["steps_attacked"] = attempt.training.steps_done
        facts["detected_at"] = attempt.training.detected_at
        facts |= accounting.facts(attempt.victim, attempt.training.steps_sent)
    return Ran(guess, facts)
