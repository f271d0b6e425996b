"""A pretended accelerator: the processor under another name, as strict about devices as a real one.

Tensors made on it, or from tensors on it, are its own. Like a GPU it refuses operations with tensors of the processor
and has no numpy arrays, so code that would fail on a machine with a GPU fails here too. The numbers stay the same.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

NAME = "cuda"
# A GPU's tensor may be indexed with the processor's, and filled from it.
MIXING = {torch.Tensor.__getitem__, torch.Tensor.copy_, torch.Tensor.data.__set__}
# Products of whole numbers are not there on a GPU.
PRODUCTS = {torch.matmul, torch.mm, torch.bmm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__}
# These take a device's name, and make no tensor.
SAYINGS = {torch.device, torch._C._nn._parse_to}


class Remote(torch.Tensor):
    """A tensor on the pretended accelerator."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class PretendedAccelerator(TorchFunctionMode):
    """While it is on, the device "cuda" exists."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, given))[0] if isinstance(leaf, torch.Tensor)]
        remote = any(isinstance(tensor, Remote) for tensor in tensors)
        if func == torch.Tensor.device.__get__:
            return torch.device(NAME) if remote else func(*args)
        if func in SAYINGS:
            return func(*args, **given)
        if func == torch.Tensor.is_cuda.__get__:
            return remote
        if func in {torch.Tensor.numpy, torch.Tensor.__array__} and remote:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        wanted = _device_asked_for(func, args, given)
        if wanted is None:
            self._refuse(func, args, tensors, remote=remote)
        self.operations += remote
        plain_args, plain_kwargs = tree_map(_plain, (args, given))
        result = func(*plain_args, **plain_kwargs)
        if not (remote if wanted is None else wanted == NAME):
            return result
        if func is torch.Tensor.__iter__:
            return iter([_on_accelerator(each) for each in result])
        return tree_map(_on_accelerator, result)

    def _refuse(
        self, func: Callable[..., Any], args: tuple[Any, ...], tensors: list[torch.Tensor], *, remote: bool
    ) -> None:
        """Raise for what a GPU can't do."""
        # Parameters of a module are wherever it was sent; single numbers may be anywhere.
        local = [t for t in tensors if not isinstance(t, (Remote, torch.nn.Parameter)) and t.dim() > 0]
        if remote and local and not _may_mix(func, args):
            name = getattr(func, "__name__", func)
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")
        if remote and func in PRODUCTS and not tensors[0].dtype.is_floating_point:
            raise RuntimeError(f"product of {tensors[0].dtype} is not implemented on cuda")


def _may_mix(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a GPU's tensor takes indices or values of the processor."""
    if func is torch.Tensor.__setitem__ and isinstance(args[0], Remote):
        chosen = any(isinstance(leaf, torch.Tensor) and leaf.dim() for leaf in tree_flatten(args[1])[0])
        # Slices are filled by a copy, chosen elements by an operation.
        return not chosen or not isinstance(args[2], torch.Tensor) or isinstance(args[2], Remote)
    return func in MIXING and isinstance(args[0], Remote)


def _device_asked_for(func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> str | None:
    """Type of the device that a call names, None if it names none."""
    if func is torch.Tensor.cpu:
        return "cpu"
    if func is torch.Tensor.cuda:
        return NAME
    named = [given.get("device")]
    if func is torch.Tensor.to:
        named += [*args[1:2], given.get("other")]
    for device in named:
        if isinstance(device, torch.Tensor):
            return NAME if isinstance(device, Remote) else "cpu"
        if isinstance(device, (str, torch.device)):
            return torch.device(device).type
    # Factories make what they are not told about on the processor.
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Remote):
        return value.as_subclass(torch.Tensor)
    if isinstance(value, torch.device) or (isinstance(value, str) and value.startswith(NAME)):
        return torch.device("cpu")
    return value


def _on_accelerator(value: Any) -> Any:
    return value.as_subclass(Remote) if isinstance(value, torch.Tensor) else value


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedAccelerator]:
    """The pretended accelerator, switched on."""
    generator = torch.Generator
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator("cpu"))
    with PretendedAccelerator() as pretended:
        yield pretended
