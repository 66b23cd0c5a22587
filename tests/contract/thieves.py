"""What a thief switches on in torch to look into the client: hooks and modes that need no walk through frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.modules import module as modules
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

Note = Callable[[object], None]


class Functions(TorchFunctionMode):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.note((args, kwargs, found))
        return found


class Dispatches(TorchDispatchMode):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self.note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.note((args, kwargs, found))
        return found


def module_hooks(note: Note) -> list[Any]:
    return [
        modules.register_module_forward_pre_hook(lambda m, given: note((list(m.parameters()), given))),
        modules.register_module_forward_hook(lambda m, given, made: note((given, made))),
        modules.register_module_full_backward_hook(lambda m, given, made: note((given, made))),
        modules.register_module_module_registration_hook(lambda m, name, part: note(name)),
        register_optimizer_step_pre_hook(lambda optimizer, given, named: note(optimizer.param_groups)),
    ]


@contextmanager
def hooked(note: Note) -> Iterator[None]:
    handles = module_hooks(note)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def saved(note: Note) -> Any:
    def keep(t: Tensor) -> Tensor:
        note(t)
        return t

    return torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t)


LENSES: dict[str, Callable[[Note], Any]] = {
    "hooks of all modules": hooked, "function mode": Functions, "dispatch mode": Dispatches, "saved tensors": saved
}  # fmt: skip


@contextmanager
def all_lenses(note: Note) -> Iterator[None]:
    with ExitStack() as stack:
        for lens in LENSES.values():
            stack.enter_context(lens(note))
        yield


class Spy(Tensor):
    """A tensor that notes all that it is put together with, at the level of functions."""

    seen: ClassVar[list[object]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            Spy.seen += [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and type(t) is not Spy]
            found = func(*args, **(kwargs or {}))
        return tree_map(lambda t: t.as_subclass(Spy) if type(t) is Tensor else t, found)


class DeepSpy(Tensor):
    """The same below autograd: it sees the operations of the backward pass too."""

    seen: ClassVar[list[object]] = []
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> DeepSpy:
        made: Any = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)  # type: ignore[attr-defined]
        made.inner = inner
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = tree_map(lambda t: t.inner if isinstance(t, DeepSpy) else t, (args, kwargs or {}))
        DeepSpy.seen += [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and type(t) is not DeepSpy]
        return tree_map(lambda t: DeepSpy(t) if isinstance(t, Tensor) else t, func(*plain[0], **plain[1]))

    def numpy(self, *given: Any, **named: Any) -> Any:
        return self.inner.numpy()


class Perfect(Tensor):
    """A guess that is never wrong: whatever it is compared with, it becomes."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            others = [t for t in args if isinstance(t, Tensor) and type(t) is Tensor and t.is_floating_point()]
            given = [others[0] if others and type(t) is Perfect else t for t in args]
            found = func(*given, **(kwargs or {}))
            return found if others else tree_map(lambda t: t.as_subclass(Perfect) if type(t) is Tensor else t, found)
