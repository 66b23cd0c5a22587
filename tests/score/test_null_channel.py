"""The null channel has the shapes and the scale of the real one, and nothing that it sends depends on a record."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splitleak.contract import Hooks, Split
from splitleak.contract.split import Bottom
from splitleak.score.null import NullChannel

N, WIDTH = 40, 4000  # so wide that the length of noise is known within some per cent


@pytest.fixture
def channel() -> NullChannel:
    return NullChannel(Hooks(), Split(Bottom(nn.Identity()), nn.Sequential(), None), torch.randn(64, WIDTH))


def lengths(messages: torch.Tensor) -> torch.Tensor:
    return messages.flatten(1).norm(dim=1)


def test_a_null_gradient_keeps_neither_the_length_nor_the_direction_of_a_record(channel: NullChannel) -> None:
    g = torch.randn(N, WIDTH) * torch.logspace(-3, 3, N)[:, None]  # the lengths run over six orders of magnitude
    sent = channel.gradient(g, torch.arange(N))
    assert sent.shape == g.shape
    assert lengths(sent).max() < 1.2 * lengths(sent).min()
    assert float(lengths(sent).square().mean()) == pytest.approx(float(lengths(g).square().mean()), rel=0.1)
    assert nn.functional.cosine_similarity(sent, g).abs().max() < 0.1
    assert not torch.equal(sent, channel.gradient(g, torch.arange(N)))


def test_a_null_gradient_keeps_no_batchs_size(channel: NullChannel) -> None:
    sent = [channel.gradient(scale * torch.randn(N, WIDTH), torch.arange(N)) for scale in (1, 1000, 1e-3)]
    sizes = [float(lengths(batch).mean()) for batch in sent]
    assert sizes == pytest.approx(sizes[:1] * 3, rel=0.01)


def test_a_null_gradient_does_not_depend_on_the_label(channel: NullChannel) -> None:
    g, sent = torch.randn(N, WIDTH), []
    for y in (torch.zeros(N).long(), torch.arange(N)):
        torch.manual_seed(1)
        sent.append(channel.gradient(g, y))
    assert torch.equal(*sent)


def test_a_null_message_does_not_depend_on_the_record(channel: NullChannel) -> None:
    sent = []
    for z in (torch.zeros(N, WIDTH), 1000 * torch.randn(N, WIDTH)):
        torch.manual_seed(1)
        sent.append(channel.smash(z))
    assert torch.equal(*sent)
