"""DP-SGD (Abadi et al. 2016): clip each record's gradient, add noise to the client's updates.

The client clips each record's gradient and adds Gaussian noise before it changes its own weights. The smashed data is
sent unchanged.

Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential Privacy", CCS 2016,
algorithm 1, as Opacus computes it.
Differs from the paper:
- Batches are a shuffled pass over the records in each epoch, not Poisson samples.
- Only the client's part is trained with noise; the server's part is trained without.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import nn

from splitleak.contract import BadInput, Defense, Exposure, Hooks, Parameters, Privacy, Split

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class DPSGD(Defense):
    """Moves by (sum of gradients, each of norm <= max_grad_norm, + N(0, (noise_multiplier * max_grad_norm)^2)) / batch.

    It protects the client's weights and updates, not what is sent: no activation is changed, so it does not hinder an
    attacker who sees the activations. epsilon is the accountant's. The unit is a record with all its copies, and
    neighbours differ by its presence (add or remove). Four things limit what it means:
    - The accountant takes the batches for Poisson samples; here they are a shuffled pass in each epoch. That is the
      usual approximation, and with many batches its number is far too small: for 20 epochs of 400 batches at noise 1 it
      gives 1.3, where 30 holds for any order. `privacy(Exposure(steps=20))` gives the latter: it assumes no random
      sampling.
    - Of a record with m copies the accountant takes all m for members of the same batches, a sum of norm up to
      m * max_grad_norm. That is the worst case: four copies in 20 epochs of 414 batches at noise 1 cost 162. If each
      copy was drawn independently, they would cost 8.4.
    - It counts the client's noisy updates alone, as if the server's part were given. That part is trained without
      noise, on all records, and its gradients carry what it has learned back to the client.
    - With several clients it is the epsilon of a record of the client that is worst off.

    Layers that mix records, such as batch norm, have no gradients of single records and are refused.
    """

    protocols = ("central", "vanilla", "u_shape")  # it acts while the network learns
    noise_multiplier: Positive = 1.0  # larger, more noise
    max_grad_norm: Positive = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    def shape(self, split: Split) -> Split:
        """Refuse layers without per-record gradients; make no layer work in place, because Opacus' hooks forbid it."""
        from opacus.validators import ModuleValidator

        for name, part in (("bottom", split.bottom), ("head", split.head)):
            if part is None:
                continue
            wrong = ModuleValidator.validate(part, strict=False)
            mixers = (m for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
            wrong += [f"{type(m).__name__} mixes records" for m in mixers]  # Opacus looks only at those with weights
            if wrong:
                raise BadInput(f"defense 'dp_sgd': the client's {name} has layers without per-record gradients: "
                               f"{str(wrong[0]).splitlines()[0]}")  # fmt: skip
            for module in part.modules():
                if getattr(module, "inplace", False) is True:
                    module.inplace = False  # type: ignore[assignment]
        return split

    def begin(self, split: Split, seed: int) -> Hooks:
        return _Live(self)

    def _noisy_optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> Any:
        """Opacus' optimiser around the one that `make` returns, and its hooks on the client's parts."""
        per_record, noisy = _opacus()
        parts = [part for part in (client.bottom, client.head) if part is not None]
        for part in parts:
            if any(p.requires_grad for p in part.parameters()):
                per_record(part, loss_reduction="mean")  # the server sends the gradient of the batch's mean loss
        moved = [p for p in client.client_parameters() if p.requires_grad]
        made = noisy(
            make(moved), noise_multiplier=self.noise_multiplier, max_grad_norm=self.max_grad_norm, expected_batch_size=1
        )
        made.parts = parts
        return made

    def privacy(self, exposure: Exposure) -> Privacy:
        """Of all updates, and of one epoch's with one copy; the release after training changes no weight."""
        batches, copies = exposure.batches, exposure.copies
        whole, one = self._epsilon(exposure.steps, batches, copies), self._epsilon(batches, batches, 1)
        return Privacy(whole, self.delta, one, "record", "add or remove", copies)

    def _epsilon(self, steps: int, batches: int, copies: int) -> float:
        """By the Renyi accountant; a record is in each batch with probability 1 / batches, and its copies with it."""
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        accountant.history = [(self.noise_multiplier / copies, 1 / batches, steps)]
        orders = [*accountant.DEFAULT_ALPHAS, 96, 128, 192, 256, 512]  # the last five are for much noise
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Optimal order is the")  # a hint that the bound is not the best
            return float(accountant.get_epsilon(self.delta, alphas=orders)) if steps else 0.0


class _Live(Hooks):
    """The live form: it knows the clients' optimisers, which divide by the largest batch so far."""

    def __init__(self, defense: DPSGD) -> None:
        self.defense = defense
        self.optimizers: list[Any] = []

    def optimizer(self, client: Split, make: Callable[[Parameters], torch.optim.Optimizer]) -> torch.optim.Optimizer:
        self.optimizers.append(self.defense._noisy_optimizer(client, make))
        return cast(torch.optim.Optimizer, self.optimizers[-1])

    def state(self) -> dict[str, Any]:
        return {"largest_batches": [optimizer.expected_batch_size for optimizer in self.optimizers]}

    def load_state(self, state: dict[str, Any]) -> None:
        for optimizer, size in zip(self.optimizers, state["largest_batches"], strict=True):
            optimizer.expected_batch_size = size


def drop_activations(parts: list[nn.Module]) -> None:
    """Drop activations that Opacus keeps for a backward pass that never came, as behind a null channel."""
    for module in (module for part in parts for module in part.modules()):
        if getattr(module, "activations", None):
            module.activations = []  # type: ignore[assignment]


@lru_cache
def _opacus() -> tuple[type[Any], type[Any]]:
    """Opacus' module of per-record gradients and its optimiser, adapted to a split; importing Opacus takes seconds."""
    warnings.filterwarnings("ignore", "Full backward hook is firing")  # records need no gradient
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    class PerRecord(GradSampleModule):  # type: ignore[misc]
        """Sets hooks on a module that is still called directly: its state's names and its calls do not change."""

        def capture_backprops_hook(self, module: nn.Module, *args: Any, **more: Any) -> None:
            if self.hooks_enabled and module.training:  # after training there are gradients too, but no weight changes
                GradSampleModule.capture_backprops_hook(self, module, *args, **more)

        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            return SimpleNamespace(hooks_enabled=False)  # a copy of the network collects no gradients

    class Noisy(DPOptimizer):  # type: ignore[misc]
        expected_batch_size: int
        parts: list[nn.Module]

        def pre_step(self, closure: Any = None) -> Any:
            """Divide by the largest batch so far, also where the last batch of an epoch is smaller."""
            sizes = [len(p.grad_sample) for p in self.params if p.grad_sample is not None]
            for p in self.params:
                if p.grad_sample is None:  # no gradient came back to it: it gets its noise nevertheless
                    p.grad_sample = p.new_zeros(max(sizes, default=1), *p.shape)
            self.expected_batch_size = max(self.expected_batch_size, *sizes, 1)
            drop_activations(self.parts)
            return super().pre_step(closure)

    return PerRecord, Noisy
