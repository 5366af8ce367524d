"""Reads PyTorch checkpoint files without PyTorch and without running anything that is inside them.

What a file is, is told by its content and not by its name. `containers` reads the formats; `contents` finds the network
within.
"""

import hashlib
import os
import pathlib

from converters.containers import read_legacy, read_safetensors, read_zip, sniff
from converters.contents import WRAPPERS, TorchFile, modules, state_dict, without_prefix
from converters.torch_names import AGAIN, Stub, refusal
from latentjax.errors import InputError

__all__ = ["WRAPPERS", "Stub", "TorchFile", "modules", "read", "state_dict", "without_prefix"]

_IN_FOLDERS = ("pytorch_model.bin", "model.safetensors")  # of the models on Hugging Face


def read(path: str | os.PathLike) -> TorchFile:
    """Reads a file written by `torch.save`, or a safetensors file; nothing in it is run.

    Args:
        path: the file, or a folder with one of the names that weights have on Hugging Face in it.

    Raises:
        InputError: for anything that keeps the file from being read: it is missing, a folder without weights, no
            PyTorch file, cut short, damaged, or of a kind that is not supported. Nothing else leaves this function.
    """
    where = str(path)
    try:
        if os.path.isdir(path):
            where = str(_weights_in(pathlib.Path(path)))
        if os.path.exists(where) and not os.path.isfile(where):
            raise refusal("is not a regular file", "copy it to one")
        with open(where, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            kind = sniff(file.read(512))
            file.seek(0)
            if kind == "safetensors":
                root = read_safetensors(where)
            else:
                root = read_zip(file, size) if kind == "zip" else read_legacy(file, size)
            file.seek(0)
            return TorchFile(where, hashlib.file_digest(file, "sha256").hexdigest(), size, kind, root)
    except InputError as error:
        raise InputError(where, error.what, error.todo) from error
    except FileNotFoundError as error:
        raise InputError(where, "does not exist", "check the path") from error
    except OSError as error:
        raise InputError(where, f"cannot be read ({error.strerror or error})", "check the file") from error
    except MemoryError as error:
        raise InputError(where, "does not fit into memory", "read it on a larger machine") from error
    except EOFError as error:
        raise InputError(where, "is cut short", AGAIN) from error
    except Exception as error:  # a damaged pickle, zip directory or header can raise any type
        detail = ascii(f"{type(error).__name__}: {error}")[1:-1][:200]
        raise InputError(where, f"is damaged ({detail})", AGAIN) from error


def _weights_in(folder: pathlib.Path) -> pathlib.Path:
    """The file of weights in a folder from Hugging Face."""
    found = [folder / name for name in _IN_FOLDERS if (folder / name).exists()]
    if len(found) == 1:
        return found[0]
    if found:
        raise refusal(f"is a folder with {' and '.join(_IN_FOLDERS)}", "name the one you mean")
    if parts := sorted(folder.glob("*.index.json")):
        raise refusal(f"is a folder whose weights are in several files ({parts[0].name})", "save them in one file")
    raise refusal(f"is a folder without {' or '.join(_IN_FOLDERS)}", "name the PyTorch file in it")
