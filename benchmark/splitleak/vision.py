"""torchvision beside a CPU build of torch, where its compiled part cannot load and importing it fails.

The import lacks only two operator schemas. This module defines them if they are missing; models, transforms, datasets
and utils of torchvision then work. Import it from this module: `from splitleak.vision import torchvision`.
"""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    _library = torch.library.Library("torchvision", "FRAGMENT")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
