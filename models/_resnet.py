"""torchvision's ResNets as ten blocks in a row: shared by the models resnet18 and resnet34."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from splitleak.contract import Protocol, Shape, Task
from splitleak.contract.errors import BadInput
from splitleak.models._images import classifiable

Depth = Literal["resnet18", "resnet34"]
LEAST = 17  # pixels: below it the fifth halving has a single position to halve


def blocks(depth: Depth, in_shape: Shape, task: Task, weights: Path | None) -> list[nn.Module]:
    """Images (channels, H, W) to logits or values (K,): conv1, bn1, relu, maxpool, layer1-4, avgpool, fc.

    The average pool returns flat features, (512,), and conv1 takes the records' number of channels. `weights` is a
    safetensors file; BadInput says in one line what is wrong with it.
    """
    from splitleak.vision import torchvision  # takes seconds to import; a command that only names a model must not wait

    channels = classifiable(f"model '{depth}'", in_shape, task, LEAST, "five halvings")[0]
    network = getattr(torchvision.models, depth)(num_classes=task.size)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        # as torchvision does for all other layers
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    # at cut 1 it would overwrite the tensor that an attacker passes to its copy of the server
    network.relu.inplace = False
    if weights is not None:
        _load(network, weights, f"model '{depth}': weights '{weights}'")
    *children, pool, fc = network.children()
    return [*children, nn.Sequential(pool, nn.Flatten()), fc]


def cuts(protocol: Protocol) -> list[int]:
    """After any child but fc, counted from 0; in a u-shape up to 6, because after 7 the server would have no weights.

    The default is 3. Of the published cuts 2, 3, 5, 7 it is the first after the whole stem (conv1 to maxpool): the
    client stays small and sends a quarter of what it sends at 2; at 5 and 7 it trains 6 % and all of the convolutions'
    weights.
    """
    last = 6 if protocol == "u_shape" else 8
    return sorted(range(last + 1), key=lambda cut: cut != 3)


def _load(network: nn.Module, file: Path, who: str) -> None:
    """Load a safetensors file with torchvision's names; fc keeps its random weights if the file's has another shape."""
    try:
        found = load_file(file)
    except FileNotFoundError:
        raise BadInput(f"{who}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{who}: no readable safetensors file ({' '.join(str(error).split())}); "
                       f"a torch state dict becomes one by safetensors.torch.save_file") from None  # fmt: skip
    own = network.state_dict()
    if any(name in found and found[name].shape != own[name].shape for name in ("fc.weight", "fc.bias")):
        found |= {name: own[name] for name in ("fc.weight", "fc.bias")}
    if wrong := _differences(own, found):
        raise BadInput(f"{who}: {wrong[0]}" + (f", and {len(wrong) - 1} more" if wrong[1:] else ""))
    network.load_state_dict(found, strict=False)  # only counters of batch norm may be missing: older files have none


def _differences(own: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What is wrong with the file's tensors (`found`), one phrase each."""
    wrong = [f"no '{name}' in it" for name in own if name not in found and not name.endswith("num_batches_tracked")]
    wrong += [f"'{name}' is no tensor of this network" for name in found if name not in own]
    for name, t in found.items():
        if name in own and t.shape != own[name].shape:
            wrong.append(f"'{name}' is {tuple(t.shape)}, for these records it must be {tuple(own[name].shape)}")
        elif not t.isfinite().all():
            wrong.append(f"'{name}' holds a number that is not finite")
    return wrong
