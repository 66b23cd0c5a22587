"""Whatever tensor an attack returns, the harness scores plain numbers of its own, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.masked import masked_tensor

from splitleak.contract import BadGuess, View
from splitleak.score.attempt import Attempt
from splitleak.score.plain_guess import plain_guess

VALUES = torch.tensor([0.25, 0.5])


class Liar(Tensor):
    """It looks like two ones, whatever it holds."""

    shape = (9,)  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return torch.ones(2)

    def detach(self) -> Any:
        return torch.ones(2)


TAKEN = {
    "with a graph": VALUES.clone().requires_grad_() * 1,
    "a parameter": nn.Parameter(VALUES.clone()),
    "half precision": VALUES.half(),
    "a subclass with functions of its own": VALUES.as_subclass(Liar),  # type: ignore[no-untyped-call]
    "a view with gaps": torch.stack([VALUES, VALUES], 1)[:, 0],
}
REFUSED = {
    "complex": VALUES.to(torch.complex64),
    "complex without an imaginary part": torch.zeros(2, dtype=torch.complex128).conj(),
    "sparse": VALUES.to_sparse(),
    "quantized": torch.quantize_per_tensor(VALUES, 0.1, 0, torch.quint8),
    "nested": torch.nested.nested_tensor([VALUES]),
    "of class MaskedTensor": masked_tensor(VALUES, VALUES > 0),
    "holds no numbers": VALUES.to("meta"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_real_numbers_are_taken_as_they_are(case: str) -> None:
    found = plain_guess(TAKEN[case], (2,), "me")
    assert type(found) is Tensor
    assert (found.dtype, found.requires_grad, found.tolist()) == (torch.float64, False, VALUES.tolist())


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_bools_and_whole_numbers_are_numbers(dtype: torch.dtype) -> None:
    assert plain_guess(torch.tensor([0, 1], dtype=dtype), (2,), "me").tolist() == [0.0, 1.0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_dense_tensor_of_real_numbers_is_refused(case: str) -> None:
    with pytest.raises(BadGuess, match=f"^me: guess .*{case.partition(' without')[0]}") as caught:
        plain_guess(REFUSED[case], (2,), "me")
    assert "\n" not in str(caught.value)


def test_an_attack_that_changes_its_guess_afterwards_changes_no_score(attempt: Callable[..., Attempt]) -> None:
    kept: list[Tensor] = []

    def look(view: View) -> Tensor:
        kept.append(torch.full((view.targets, *view.in_shape), 0.5, dtype=torch.float64))
        return kept[0]

    tried = attempt(look, "AUX")
    guess, _ = tried.run()
    kept[0].zero_()
    kept[1].zero_()
    assert (guess == 0.5).all()


@pytest.mark.parametrize(
    "body", ["torch.zeros(20, 1, 16, dtype=torch.complex64)", "torch.zeros(20, 1, 16).to_sparse()"]
)
def test_the_record_of_such_a_guess_says_so(lab: Any, main: Any, body: str) -> None:
    assert main("run", lab.matrix(f"attack = [{lab.attack('odd', f'return {body}')}]"), "--out", "out").status == 1
    record = lab.records()["odd"]
    assert record["status"] == "failed"
    assert "BadGuess: attack 'odd': guess is " in record["why"]
