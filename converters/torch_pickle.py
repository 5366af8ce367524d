"""The pickles inside PyTorch files, read as data.

A pickle is a program. Here the names it may call are looked up in tables of this module's own functions, and
all other names become an inert `Stub`: no module is imported, no foreign callable is called, and nothing that
a small file can repeat at will (memory, hashing, recursion) may grow out of proportion to it.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from latentjax.errors import InputError

AGAIN = "download or copy it again"
RESAVE = "load it with PyTorch where you trust it, and save its state_dict() again"

_MAX_EXPANDED = 1 << 24  # bytes; a stride of 0 lets four stored bytes claim any size
_MAX_NAME = 1000  # characters

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


class Stub:
    """An inert stand-in for anything in a file that is not data.

    Attributes:
        cls: the dotted name that the file gives, e.g. "efficientnet_pytorch.model.EfficientNet".
        args: the arguments it was to be constructed with; None for a bare reference to the name.
        state: what the object was to be restored from, for most classes the dict of its attributes.
        contents: what was to be put in by append or add or, as (key, value) pairs, by item assignment.
    """

    def __init__(self, cls: str, args: tuple | None = None):
        self.cls, self.args = cls, args
        self.state: Any = None
        self.contents: list = []

    def __repr__(self) -> str:
        return f"Stub({self.cls})"


class _Marker(Stub):
    """A dtype, or a storage class, which stands for its elements' dtype."""

    def __init__(self, cls: str, dtype: np.dtype):
        super().__init__(cls)
        self.dtype = dtype


class _Storage(Stub):
    """The bytes of one storage, [n] uint8."""

    def __init__(self, marker: _Marker, data: np.ndarray):
        super().__init__(marker.cls)
        self.dtype, self.data = marker.dtype, data


class _Builder(Stub):
    """A name that a pickle may call: it stands for one of the functions below."""

    def __init__(self, cls: str, build: Callable[..., Any]):
        super().__init__(cls)
        self.build = build


def _tensor(storage: Any, dtype: np.dtype, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A view of the storage, after checking that all of it lies inside; offset and strides count elements."""
    if not isinstance(storage, _Storage):
        raise refusal("has a tensor without a storage")
    shape, steps = tuple(size), tuple(stride)
    if len(shape) != len(steps) or not all(type(n) is int and n >= 0 for n in (offset, *shape, *steps)):
        raise refusal("describes a tensor by impossible sizes")
    if 0 in shape:
        return np.empty(shape, dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if (last + 1) * dtype.itemsize > storage.data.size:
        raise refusal("has a tensor that overruns its storage")
    if math.prod(shape) * dtype.itemsize > max(storage.data.size, _MAX_EXPANDED):
        raise refusal("has a tensor expanded far beyond its storage", RESAVE)
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
    if not isinstance(rest[2], _Marker) or any(rest[3:]):
        raise refusal("has a tensor of a kind that is not supported", RESAVE)
    return _tensor(storage, rest[2].dtype, offset, size, stride)


def _rebuild_from_type(func: Any, cls: Any, args: Any, state: Any) -> Any:
    """For tensors that carry extra Python attributes, which are dropped."""
    return _construct(func, args)


def _take(items: list | None) -> list:
    """Copies a list and empties it: built from again and again, it would let a small file fill the memory."""
    taken = [] if items is None else items.copy()
    if items:
        items.clear()
    return taken


def _ordered_dict(items: Any = None) -> OrderedDict:
    return _assign(OrderedDict(), [part for pair in _take(items) for part in pair[:2]])


def _set(items: Any = None) -> set:
    return {_checked_key(item) for item in _take(items)}


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


def _construct(func: Any, args: Any) -> Any:
    if not isinstance(func, Stub) or not isinstance(args, tuple):
        raise refusal("has a damaged pickle: it calls what is not a name")
    return func.build(*args) if isinstance(func, _Builder) else Stub(func.cls, args)


def _checked_key(key: Any) -> Any:
    """Refuses keys whose hash may overflow the C stack (tuples in tuples) or take long (wide ones)."""
    parts = key if isinstance(key, tuple) and len(key) <= 16 else (key,)
    if not all(part is None or isinstance(part, str | bytes | int | float | Stub) for part in parts):
        raise refusal("has a key that is not a name or a number", RESAVE)
    return key


def _assign(target: Any, items: list) -> Any:
    """Puts alternating keys and values into a dict or a stub."""
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if isinstance(target, Stub):
        target.contents.extend(pairs)
    elif isinstance(target, dict):
        for key, value in pairs:
            target[_checked_key(key)] = value
    else:
        raise refusal("has a damaged pickle: it assigns items to what is no dict")
    return target


def _extend(target: Any, items: list) -> None:
    if isinstance(target, Stub):
        target.contents.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    elif isinstance(target, set):
        target.update(_checked_key(item) for item in items)
    else:
        raise refusal("has a damaged pickle: it appends to what is no list")


_LEFT_OUT = (  # classes of Python 1, a registry of this process, and the buffers of protocol 5
    *(pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


# The Python unpickler and not the C one, because its opcodes can be replaced: those that call, set state or
# fill a container here know our types only. The C one also allocates any size that a pickle claims.
class Unpickler(pickle._Unpickler):
    """Reads one pickle; `load` returns its tree of dicts, lists, scalars, numpy arrays and stubs.

    Args:
        file: has read(n) and readline(); a read past the end raises EOFError or returns less, unallocated.
        load_storage: (key, dtype, count) -> [at least count * itemsize] uint8, the bytes of a storage.

    Raises:
        InputError: from `load`, without a file name, for what is refused. Damage raises any exception.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, load_storage: Callable[[str, np.dtype, int], np.ndarray]):
        super().__init__(file, encoding="latin1")  # str of Python 2: names, or bytes of any value
        self.load_storage = load_storage

    def find_class(self, module: str, name: str) -> Stub:
        """The marker, the builder or the stub for a name; nothing is imported."""
        if len(module) + len(name) > _MAX_NAME or not (module + name).isprintable():
            raise refusal("has a damaged pickle: an impossible name")
        cls = f"{module}.{name}"
        if cls in _BUILDERS:
            return _Builder(cls, _BUILDERS[cls])
        dtype = _DTYPES.get(_STORAGES.get(name, name)) if module in ("torch", "torch.storage") else None
        return Stub(cls) if dtype is None else _Marker(cls, dtype)

    def persistent_load(self, pid: Any) -> Any:
        """The storage, or in legacy files the class, that a persistent id names."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # beside the source code of the class, which is not looked at
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise refusal("has a damaged pickle: an unknown persistent id")
        marker, key, _, count, view = (*pid[1:], None)[:5]
        if not isinstance(marker, _Marker):
            raise refusal(f"holds a {getattr(marker, 'cls', 'storage')}, which is not supported", RESAVE)
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise refusal("has a damaged pickle: an impossible storage")
        data = self.load_storage(key, marker.dtype, count)
        if view is not None:
            _, start, length = view
            if not 0 <= start <= start + length <= count:
                raise refusal("has a view that overruns its storage")
            data = data[start * marker.dtype.itemsize : (start + length) * marker.dtype.itemsize]
        return _Storage(marker, data)

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _construct(self.stack[-1], args)

    def _new_with_keywords(self) -> None:
        keywords, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = _construct(self.stack[-1], (args, keywords))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Stub):
            target.state = state
        elif not isinstance(target, OrderedDict):  # whose state, _metadata, is of no use here
            raise refusal("has a damaged pickle: it sets the state of what has none")

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _assign(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        _assign(self.stack[-1], items)

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(_assign({}, items))

    def _append_item(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def _append_items(self) -> None:
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(_checked_key(item) for item in items))

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **{code: method for code, method in pickle._Unpickler.dispatch.items() if bytes([code]) not in _LEFT_OUT},
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.DICT[0]: _dict,
        pickle.APPEND[0]: _append_item,
        pickle.APPENDS[0]: _append_items,
        pickle.ADDITEMS[0]: _append_items,
        pickle.FROZENSET[0]: _frozenset,
    }
