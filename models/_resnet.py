"""torchvision's ResNets as a row of their ten children: what the plug-ins `resnet18` and `resnet34` share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from splitleak.contract.errors import BadInput
from splitleak.contract import Protocol, Shape, Task

Depth = Literal["resnet18", "resnet34"]
LEAST = 17  # pixels: below it the fifth halving has a single position to halve


def row(depth: Depth, in_shape: Shape, task: Task, weights: str | None) -> list[nn.Module]:
    """Images (channels, H, W) to logits or values (K,): conv1, bn1, relu, maxpool, layer1-4, avgpool, fc.

    The average pool ends flat, (512,), and conv1 is made for the records' channels.
    """
    from splitleak.vision import torchvision  # seconds to import; naming a model must not cost them

    if len(in_shape) != 3 or task.kind == "mask":
        raise BadInput(f"model '{depth}': records of shape {in_shape} for a {task.kind} task; "
                       f"it takes images (channels, H, W) for classes or values")  # fmt: skip
    channels, height, width = in_shape
    if min(height, width) < LEAST:
        raise BadInput(f"model '{depth}': images of {height}x{width} are too small to be halved five times; "
                       f"it takes {LEAST}x{LEAST} and larger")  # fmt: skip
    network = getattr(torchvision.models, depth)(num_classes=task.size)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as all others are
    network.relu.inplace = False  # below cut 1 it would overwrite what an attacker shows its copy of the server
    if weights is not None:
        _load(network, Path(weights), f"model '{depth}': weights '{weights}'")
    *children, pool, fc = network.children()
    return [*children, nn.Sequential(pool, nn.Flatten()), fc]


def cuts(protocol: Protocol) -> list[int]:
    """After any child but fc, counted from 0; below layer4 a u-shape's server would have nothing to train.

    Their own is 3, of the published 2, 3, 5, 7 the first behind the whole stem: the client stays small and still sends
    a quarter of what crosses at 2; at 5 and 7 it trains 6 % and all of the convolutions' weights.
    """
    last = 6 if protocol == "u_shape" else 8
    return sorted(range(last + 1), key=lambda cut: cut != 3)


def _load(network: nn.Module, file: Path, who: str) -> None:
    """A safetensors file under torchvision's names; fc stays as drawn where its shape is another task's."""
    try:
        found = load_file(file)
    except FileNotFoundError:
        raise BadInput(f"{who}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{who}: no readable safetensors file ({' '.join(str(error).split())}); "
                       f"a torch state dict becomes one by safetensors.torch.save_file") from None  # fmt: skip
    mine = network.state_dict()
    if any(name in found and found[name].shape != mine[name].shape for name in ("fc.weight", "fc.bias")):
        found |= {name: mine[name] for name in ("fc.weight", "fc.bias")}
    if wrong := _differences(mine, found):
        raise BadInput(f"{who}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))
    network.load_state_dict(found, strict=False)  # only counters of batch norm may be missing, in older files


def _differences(mine: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    wrong = [f"no '{name}' in it" for name in mine if name not in found and not name.endswith("num_batches_tracked")]
    wrong += [f"'{name}' is no tensor of this network" for name in found if name not in mine]
    for name, t in found.items():
        if name in mine and t.shape != mine[name].shape:
            wrong.append(f"'{name}' is {tuple(t.shape)}, for these records it must be {tuple(mine[name].shape)}")
        elif not t.isfinite().all():
            wrong.append(f"'{name}' holds a number that is not finite")
    return wrong
