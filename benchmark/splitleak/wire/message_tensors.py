"""Read a tensor from a message and check its shape, its dtype and its values."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from splitleak.contract import Shape, Task
from splitleak.wire.invalid_message import InvalidMessage
from splitleak.wire.message import Message


def read_tensor(
    message: Message, name: str, shape: Shape, dtype: torch.dtype | None = None, records: int | None = None
) -> Tensor:
    """A tensor (records, *shape) with finite values, records >= 1; InvalidMessage says what is wrong with it."""
    t = message.tensors.get(name)
    if t is None:
        raise InvalidMessage(f"message '{message.kind}' has no '{name}'")
    if t.dim() != len(shape) + 1 or tuple(t.shape[1:]) != tuple(shape) or not len(t):
        wanted = ", ".join(["B", *map(str, shape)])
        raise InvalidMessage(f"'{name}' has shape {tuple(t.shape)}, it must have ({wanted})")
    if dtype is not None and t.dtype != dtype:
        raise InvalidMessage(f"'{name}' has dtype {t.dtype}, it must have {dtype}")
    if t.is_floating_point() and not math.isfinite(t.sum()) and not t.isfinite().all():  # the sum: a tenth of the time
        raise InvalidMessage(f"'{name}' contains {'NaN' if t.isnan().any() else 'infinite values'}")
    if records is not None and len(t) != records:
        raise InvalidMessage(f"'{name}' has {len(t)} records, it must have {records}")
    return t


def read_labels(message: Message, task: Task, out_shape: Shape, records: int) -> Tensor:
    """The labels of a batch: classes (B,) or their probabilities (B, K); masks and values as the prediction."""
    t = message.tensors.get("labels")
    hard = task.kind == "classes" and (t is None or t.dim() == 1)
    t = read_tensor(message, "labels", () if hard else out_shape, records=records)
    wanted = torch.get_default_dtype()
    if not hard and t.dtype != wanted and not (task.kind != "classes" and t.is_floating_point()):
        raise InvalidMessage(f"'labels' has dtype {t.dtype}, it must have {wanted}")
    if hard and (t.dtype != torch.int64 or int(t.min()) < 0 or int(t.max()) >= task.size):
        raise InvalidMessage(f"'labels' must be classes from 0 to {task.size - 1}")
    return t
