"""The pickles inside PyTorch files, read as data.

A pickle is a program. Here the names it may call are looked up in tables of our own functions, and all other
names become an inert `Stub` (both in `torch_names`): no module is imported, no foreign callable is called, and
nothing that a small file can repeat at will (memory, hashing, recursion) may grow out of proportion to it.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from converters.torch_names import (
    RESAVE,
    Marker,
    Room,
    Storage,
    Stub,
    assign,
    checked_key,
    construct,
    extend,
    meaning,
    refusal,
)

# of all pickles of a file; a byte may become an object of a hundred, and the largest EfficientNet has 0.3 million
MAX_PICKLE = 3 << 20

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
        size: of the whole file in bytes; its tensors may not claim numbers out of proportion to it.

    Raises:
        InputError: from `load`, without a file name, for what is refused. Damage raises any exception.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, load_storage: Callable[[str, np.dtype, int], np.ndarray], size: int):
        super().__init__(file, encoding="latin1")  # str of Python 2: names, or bytes of any value
        self.load_storage, self.room = load_storage, Room(size)

    def find_class(self, module: str, name: str) -> Stub:
        """What the name stands for; nothing is imported."""
        return meaning(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """The storage, or in legacy files the class, that a persistent id names."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # beside the source code of the class, which is not looked at
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise refusal("has a damaged pickle: an unknown persistent id")
        marker, key, _, count, view = (*pid[1:], None)[:5]
        if not isinstance(marker, Marker):
            raise refusal(f"holds a {getattr(marker, 'cls', 'storage')}, which is not supported", RESAVE)
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise refusal("has a damaged pickle: an impossible storage")
        data = self.load_storage(key, marker.dtype, count)
        if view is not None:
            _, start, length = view
            if not 0 <= start <= start + length <= count:
                raise refusal("has a view that overruns its storage")
            data = data[start * marker.dtype.itemsize : (start + length) * marker.dtype.itemsize]
        return Storage(marker, data, self.room)

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = construct(self.stack[-1], args)

    def _new_with_keywords(self) -> None:
        keywords, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = construct(self.stack[-1], (args, keywords))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Stub):
            target.state = state
        elif not isinstance(target, OrderedDict):  # whose state, _metadata, is of no use here
            raise refusal("has a damaged pickle: it sets the state of what has none")

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        assign(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        assign(self.stack[-1], items)

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(assign({}, items))

    def _append_item(self) -> None:
        value = self.stack.pop()
        extend(self.stack[-1], [value])

    def _append_items(self) -> None:
        items = self.pop_mark()
        extend(self.stack[-1], items)

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(checked_key(item) for item in items))

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
