"""How good a model's predictions are: the utility of its task, and further measures of the same prediction."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from splitleak.contract import Diverged, Task
from splitleak.score.metrics import finite
from splitleak.score.per_target import auc, errors, hit, iou
from splitleak.score.similarity import plain


def utility(prediction: Tensor, y: Tensor, task: Task) -> tuple[str, float]:
    """What the victim is good for, higher is better in every task: accuracy, iou of masks, or r2.

    prediction: logits of classes (n, K) or of masks (n, 1, H, W), cut where the probability is 0.5; or values (n, D).

    r2 and not the mse, which would turn around the sign of every drop and has the unit of y squared.
    """
    prediction, y = plain(prediction), plain(y)
    if not prediction.isfinite().all():
        raise Diverged("the model predicts numbers that are not finite")
    if task.kind == "classes":
        return "accuracy", float(hit(prediction, y).mean())
    if task.kind == "mask":
        return "iou", float(iou(_inside(prediction), y > 0.5).mean())
    return "r2", errors(prediction, y, y.double().mean(0)).advantage()


def utility_also(prediction: Tensor, y: Tensor, task: Task) -> dict[str, float]:
    """The task's other measures of the same finite prediction, defined as scikit-learn does.

    classes: balanced_accuracy, the mean recall of the classes that occur, and auc: of class 1 where there are two,
    else the mean over each class against the rest; left out where a class does not occur. masks: dice, mean over
    records, and pixel_accuracy. values: mse (in the unit of y, squared) and mae.
    """
    prediction, y = plain(prediction), plain(y)
    if task.kind == "classes":
        occur = y.unique()
        hits = hit(prediction, y)
        measures = {"balanced_accuracy": float(torch.stack([hits[y == k].mean() for k in occur]).mean())}
        if len(occur) == task.size > 1:
            probability = prediction.double().softmax(1)
            areas = [auc(probability[:, k], (y == k).long()) for k in range(1 if task.size == 2 else 0, task.size)]
            measures["auc"] = float(np.mean(areas))
    elif task.kind == "mask":
        guessed, true = _inside(prediction), y > 0.5
        overlap = iou(guessed, true)
        measures = {
            "dice": float((2 * overlap / (1 + overlap)).mean()),
            "pixel_accuracy": float((guessed == true).double().mean()),
        }
    else:
        error = prediction.double() - y.double()
        measures = {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}
    return finite(measures)


def _inside(logits: Tensor) -> Tensor:
    return logits > 0  # where the probability is above 0.5
