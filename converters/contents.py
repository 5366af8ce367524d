"""The network within what a PyTorch file holds: state dicts and whole modules, with what was put around them."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.containers import Format
from converters.torch_names import MAX_NAME, RESAVE, Stub, most_numbers
from latentjax.errors import InputError

WRAPPERS = ("state_dict", "model", "netG_state_dict", "generator", "params", "state_dict_ema", "model_ema")
PREFIXES = ("module", "model", "_orig_mod")  # of DataParallel, of Lightning and of torch.compile

_MAX_DEPTH, _MAX_NAMES = 50, 20_000  # a module that holds itself has no end


@dataclass(frozen=True, eq=False)
class TorchFile:
    """What a PyTorch or safetensors file holds.

    Attributes:
        path: the file, as it was given, or as it was found in the folder given.
        sha256: of the whole file, in hexadecimal.
        size: of the file, bytes.
        format: "zip", "legacy" or "safetensors".
        root: dicts, lists, tuples, sets, scalars, strings; tensors as read-only numpy arrays in torch's order
            of dimensions (a transposed or expanded tensor is a strided view); a `Stub` for anything else.
    """

    path: str
    sha256: str
    size: int
    format: Format
    root: Any = field(repr=False)


def state_dict(file_or_root: Any) -> dict[str, np.ndarray]:
    """The tensors by torch's dotted names, in torch's order: of a state dict, or of a whole pickled network.

    A dict that holds one of these under a single key of `WRAPPERS` is unwrapped, whatever stands beside it.

    Args:
        file_or_root: what `torch_file.read` returned, or its `root`.

    Raises:
        InputError: if it is neither.
    """
    where, root = _unwrap(file_or_root)
    is_network = bool(_parts(root))
    if is_network:
        named = _network_tensors(where, root)
    elif isinstance(root, dict):
        named = root.items()
    else:
        raise InputError(where, f"holds {_describe(root)}, not a state dict or a network", RESAVE)
    tensors = {}
    for count, (name, value) in enumerate(named):
        if count >= _MAX_NAMES:
            raise InputError(where, f"holds more than {_MAX_NAMES} tensors", RESAVE)
        if value is None and is_network:
            continue
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise InputError(where, f"holds {_describe(value)} at {_shorten(name)}, not a tensor", RESAVE)
        tensors[_joined(where, "", name)] = value
    # one tensor can have thousands of names, each of which is converted
    if isinstance(file_or_root, TorchFile) and sum(a.size for a in tensors.values()) > most_numbers(file_or_root.size):
        raise InputError(where, "names the same tensors again and again", RESAVE)
    if not tensors:
        raise InputError(where, "holds no tensors", "name a file that holds a network's weights")
    return tensors


def without_prefix(
    state: dict[str, np.ndarray], recognised: Callable[[dict[str, np.ndarray]], bool]
) -> tuple[dict[str, np.ndarray], str]:
    """The state dict without the prefixes that wrappers of networks put before every name, and what they were.

    Args:
        state: the state dict.
        recognised: whether a state dict's names are known; those that are stay.
    """
    removed = ""
    for _ in range(len(PREFIXES) + 1):
        prefix = next((f"{each}." for each in PREFIXES if all(name.startswith(f"{each}.") for name in state)), None)
        if prefix is None or recognised(state):
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        removed += prefix
    return state, removed


def modules(file_or_root: Any) -> Iterator[tuple[str, Stub]]:
    """Dotted name and stub of a pickled network (name "") and of each of its sub-modules, parents first.

    Unlike torch's `named_modules`, a module that is shared appears under each of its names. Nothing is
    yielded for a state dict.

    Raises:
        InputError: if the modules do not form a tree of a reasonable size.
    """
    where, root = _unwrap(file_or_root)
    return _modules(where, root)


def _modules(where: str, root: Any) -> Iterator[tuple[str, Stub]]:
    pending = [("", 0, root)] if _parts(root) else []
    seen = 0
    while pending:
        name, depth, module = pending.pop()
        children = module.state["_modules"]
        seen += 1 + len(children)
        if depth > _MAX_DEPTH or seen > _MAX_NAMES:
            raise InputError(where, "has modules nested without end", RESAVE)
        yield name, module
        for key, child in reversed(children.items()):
            child_name = _joined(where, name, key)
            if child is not None and not _parts(child):
                raise InputError(where, f"holds {_describe(child)} at {_shorten(child_name)}, not a module", RESAVE)
            if child is not None:
                pending.append((child_name, depth + 1, child))


def _network_tensors(where: str, root: Stub) -> Iterator[tuple[str, Any]]:
    """Name and value of all that a network could hold in its state dict; None for what it does not."""
    for prefix, module in _modules(where, root):
        parameters, buffers, unsaved = _parts(module)
        kept = ((name, None if name in unsaved else value) for name, value in buffers.items())
        for name, value in itertools.chain(parameters.items(), kept):
            yield _joined(where, prefix, name), value


def _parts(module: Any) -> tuple:
    """Parameters, buffers and the names of the unsaved buffers of a pickled module; () for all else."""
    state = module.state if isinstance(module, Stub) else None
    if not isinstance(state, dict):
        return ()
    if not all(isinstance(state.get(key), dict) for key in ("_parameters", "_buffers", "_modules")):
        return ()
    unsaved = state.get("_non_persistent_buffers_set")  # PyTorch before 1.6 has none
    return state["_parameters"], state["_buffers"], unsaved if isinstance(unsaved, set) else set()


def _unwrap(file_or_root: Any) -> tuple[str, Any]:
    where, root = "the checkpoint", file_or_root
    if isinstance(root, TorchFile):
        where, root = root.path, root.root
    for _ in WRAPPERS:  # a dict may hold itself
        inner = root if isinstance(root, dict) else {}
        found = [key for key in WRAPPERS if isinstance(inner.get(key), dict) or _parts(inner.get(key))]
        if len(found) > 1:
            raise InputError(where, f"holds several networks ({', '.join(found)})", "save the one you mean alone")
        if found:
            root = inner[found[0]]
    attributes = root.state if isinstance(root, Stub) else root
    if isinstance(attributes, dict) and {"state", "param_groups"} <= attributes.keys():
        raise InputError(where, "is an optimiser's state, not a network", "give the file of the network's state_dict()")
    return where, root


def _joined(where: str, prefix: str, name: Any) -> str:
    """The dotted name of a part."""
    if not isinstance(name, str) or len(prefix) + len(name) >= MAX_NAME:
        raise InputError(where, f"has an impossible name, {_shorten(name)}", RESAVE)
    return f"{prefix}.{name}" if prefix else name


def _describe(value: Any) -> str:
    return f"something of type {value.cls if isinstance(value, Stub) else type(value).__name__:.60}"


def _shorten(name: Any) -> str:
    if isinstance(name, str):
        return repr(name[:60])
    return str(name) if type(name) is int and abs(name) < 1 << 64 else f"a key of type {type(name).__name__}"
