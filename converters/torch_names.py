"""What the names in a PyTorch pickle stand for: dtypes, storages, a few builders of ours; a `Stub` for all else."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from latentjax.errors import InputError

AGAIN = "download or copy it again"
RESAVE = "load it with PyTorch where you trust it, and save its state_dict() again"

MAX_NAME = 500  # characters, of a class as of a tensor
_MAX_DIMENSIONS = 64  # NumPy's own limit
_NUMBERS_PER_BYTE = 4  # of the file: tied tensors share a storage
_EXPANDED_NUMBERS = 1 << 22  # whatever the file's size: a stride of 0 lets four stored bytes claim any number

_NUMBERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
_DTYPES = {
    "bool": np.dtype("?"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{name: np.dtype(name).newbyteorder("<") for name in _NUMBERS.split()},
}
_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}


def refusal(what: str, todo: str = AGAIN) -> InputError:
    """An InputError for where the file's name is not known; `torch_file.read` adds it."""
    return InputError("", what, todo)


def most_numbers(size: int) -> int:
    """How many numbers the tensors of a file of so many bytes may have: expanded or shared ones have more than it."""
    return _EXPANDED_NUMBERS + _NUMBERS_PER_BYTE * size


class Stub:
    """An inert stand-in for anything in a file that is not data.

    Attributes:
        cls: the dotted name that the file gives, e.g. "efficientnet_pytorch.model.EfficientNet".
        args: the arguments it was to be constructed with; None for a bare reference to the name.
        state: what the object was to be restored from, for most classes the dict of its attributes.
        contents: what was to be put in by append or add or, as (key, value) pairs, by item assignment.
    """

    __slots__ = ("args", "cls", "contents", "state")

    def __init__(self, cls: str, args: tuple | None = None):
        self.cls, self.args = cls, args
        self.state: Any = None
        self.contents: list = []

    def __repr__(self) -> str:
        return f"Stub({self.cls})"


class Marker(Stub):
    """A dtype, or a storage class, which stands for its elements' dtype."""

    def __init__(self, cls: str, dtype: np.dtype):
        super().__init__(cls)
        self.dtype = dtype


class Room:
    """How many numbers the tensors of a file may still claim: what is stored once can be named again and again."""

    def __init__(self, size: int):
        self.numbers = most_numbers(size)

    def take(self, numbers: int) -> None:
        """Takes so many.

        Raises:
            InputError: there are not so many.
        """
        if numbers > self.numbers:
            raise refusal("has tensors expanded far beyond their storages", RESAVE)
        self.numbers -= numbers


class Storage(Stub):
    """The bytes of one storage, [n] uint8, and the room that its tensors share with all others."""

    def __init__(self, marker: Marker, data: np.ndarray, room: Room):
        super().__init__(marker.cls)
        self.dtype, self.data, self.room = marker.dtype, data, room


class _Builder(Stub):
    """A name that a pickle may call: it stands for one of the functions below."""

    def __init__(self, cls: str, build: Callable[..., Any]):
        super().__init__(cls)
        self.build = build


def _tensor(storage: Any, dtype: np.dtype, offset: Any, shape: Any, steps: Any) -> np.ndarray:
    """A view of the storage, after checking that all of it lies inside; offset and strides count elements."""
    if not isinstance(storage, Storage):
        raise refusal("has a tensor without a storage")
    if not isinstance(shape, tuple) or not isinstance(steps, tuple) or not len(shape) == len(steps) <= _MAX_DIMENSIONS:
        raise refusal("describes a tensor by impossible sizes")
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in (offset, *shape, *steps)):
        raise refusal("describes a tensor by impossible sizes")
    if 0 in shape:
        return np.empty(shape, dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if (last + 1) * dtype.itemsize > storage.data.size:
        raise refusal("has a tensor that overruns its storage")
    storage.room.take(math.prod(shape))
    # A view even if it is not contiguous: nothing is copied, and a legacy file's storages are filled later.
    start, strides = offset * dtype.itemsize, [step * dtype.itemsize for step in steps]
    tensor: np.ndarray = np.ndarray(shape, dtype, storage.data, start, strides)
    tensor.flags.writeable = False
    return tensor


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    """For torch's _rebuild_tensor and _rebuild_tensor_v2, whose rest is requires_grad, hooks and metadata."""
    if any(rest[2:]):
        raise refusal("has a tensor with a pending negation or conjugation", RESAVE)
    return _tensor(storage, getattr(storage, "dtype", _DTYPES["uint8"]), offset, size, stride)


def _rebuild_tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    """For dtypes without a storage class of their own: rest is requires_grad, hooks, dtype and metadata."""
    if not isinstance(rest[2], Marker) or any(rest[3:]):
        raise refusal("has a tensor of a kind that is not supported", RESAVE)
    return _tensor(storage, rest[2].dtype, offset, size, stride)


def _rebuild_from_type(func: Any, cls: Any, args: Any, state: Any) -> Any:
    """For tensors that carry extra Python attributes, which are dropped."""
    return construct(func, args)


def _take(items: list | None) -> list:
    """Copies a list and empties it: built from again and again, it would let a small file fill the memory."""
    taken = [] if items is None else items.copy()
    if items:
        items.clear()
    return taken


def _ordered_dict(items: Any = None) -> OrderedDict:
    return assign(OrderedDict(), [part for pair in _take(items) for part in pair[:2]])


def _set(items: Any = None) -> set:
    return {checked_key(item) for item in _take(items)}


def _size(items: Any = ()) -> tuple:
    return items if isinstance(items, tuple) else ()


def _device(*args: Any) -> str:
    return ":".join(str(arg)[:20] for arg in args[:2] if isinstance(arg, str | int))


_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
}


def meaning(module: str, name: str) -> Stub:
    """The marker, the builder or the stub for a name; nothing is imported.

    Raises:
        InputError: no class has such a name.
    """
    if len(module) + len(name) > MAX_NAME or not (module + name).isprintable():
        raise refusal("has a damaged pickle: an impossible name")
    cls = f"{module}.{name}"
    if cls in _BUILDERS:
        return _Builder(cls, _BUILDERS[cls])
    dtype = _DTYPES.get(_STORAGES.get(name, name)) if module in ("torch", "torch.storage") else None
    return Stub(cls) if dtype is None else Marker(cls, dtype)


def construct(func: Any, args: Any) -> Any:
    """What a call gives: a builder's value, or a stub that remembers the arguments.

    Raises:
        InputError: a number is called, or the arguments are no tuple.
    """
    if not isinstance(func, Stub) or not isinstance(args, tuple):
        raise refusal("has a damaged pickle: it calls what is not a name")
    return func.build(*args) if isinstance(func, _Builder) else Stub(func.cls, args)


def checked_key(key: Any) -> Any:
    """The key of a dict or set.

    Raises:
        InputError: its hash may overflow the C stack (tuples in tuples) or take long (wide ones, long integers).
    """
    parts = key if isinstance(key, tuple) and len(key) <= 16 else (key,)
    for part in parts:
        if isinstance(part, int) and part.bit_length() > 64:
            raise refusal("has a key that is not a name or a number", RESAVE)
        if part is not None and not isinstance(part, str | bytes | int | float | Stub):
            raise refusal("has a key that is not a name or a number", RESAVE)
    return key


def assign(target: Any, items: list) -> Any:
    """Puts alternating keys and values into a dict or a stub, and returns it.

    Raises:
        InputError: it is neither, or a key cannot be one.
    """
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if isinstance(target, Stub):
        target.contents.extend(pairs)
    elif isinstance(target, dict):
        for key, value in pairs:
            target[checked_key(key)] = value
    else:
        raise refusal("has a damaged pickle: it assigns items to what is no dict")
    return target


def extend(target: Any, items: list) -> None:
    """Puts items into a list, a set or a stub.

    Raises:
        InputError: it is none of them, or an item cannot be in a set.
    """
    if isinstance(target, Stub):
        target.contents.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    elif isinstance(target, set):
        target.update(checked_key(item) for item in items)
    else:
        raise refusal("has a damaged pickle: it appends to what is no list")
