"""What our reader finds in a file beside what PyTorch itself reads of it."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch

from converters import rules, torch_file
from converters.torch_file import Stub, TorchFile


class Reading(NamedTuple):
    """A note for the certificate, and whether nothing speaks against our reader."""

    note: str
    same: bool


def beside_pytorch(file: TorchFile) -> Reading:
    """Compares every tensor of a file bit for bit; PyTorch's safe loading takes no more than plain data."""
    ours = torch_file.state_dict(file)
    try:
        theirs = tensors_in(root_of(file), set(ours))
    except pickle.UnpicklingError:
        kept = "a whole pickled module" if isinstance(file.root, Stub) else "more than tensors, which PyTorch refuses"
        return Reading(f"by our reader only ({kept})", True)
    except (RuntimeError, ValueError) as error:  # such as a zip that another program wrote again
        return Reading(f"by our reader only (PyTorch: {str(error).splitlines()[0]:.100})", True)
    unlike = sorted(key for key in {*ours, *theirs} if not same(ours.get(key), theirs.get(key)))
    return Reading(f"unlike PyTorch ({rules.listed(unlike)})" if unlike else "as PyTorch reads it", not unlike)


def root_of(file: TorchFile) -> Any:
    """All that PyTorch reads.

    Raises:
        UnpicklingError: it holds what PyTorch does not read without executing it.
    """
    if file.format == "safetensors":
        return safetensors.torch.load_file(file.path)
    return torch.load(file.path, map_location="cpu", weights_only=True)


def tensors_in(root: Any, names: set[str]) -> dict[str, Any]:
    """The tensors by name: of the root, or of what a checkpoint has under one of the known keys."""
    for _ in torch_file.WRAPPERS:
        if names <= root.keys():
            break
        root = next((root[key] for key in torch_file.WRAPPERS if isinstance(root.get(key), dict)), root)
    return root


def same(ours: np.ndarray | None, theirs: Any) -> bool:
    """Whether dtype, shape and all bits are equal."""
    if ours is None or not isinstance(theirs, torch.Tensor):
        return False
    if (f"torch.{ours.dtype}", ours.shape) != (str(theirs.dtype), tuple(theirs.shape)):
        return False
    bits = theirs.detach().reshape(-1).contiguous().view(torch.uint8).numpy()
    return np.array_equal(np.frombuffer(ours.tobytes(), np.uint8), bits)
