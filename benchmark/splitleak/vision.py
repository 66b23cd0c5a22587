"""torchvision beside a CPU build of torch: its compiled part cannot load there, and importing it stops.

All that the import misses are two operator schemas. They are defined here when, and only when, they are missing;
models, transforms, datasets and utils then work. Import it from here: `from splitleak.vision import torchvision`.
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
