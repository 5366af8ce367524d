"""Packages that are imported where they are needed, because that takes seconds."""

import importlib
from typing import Any

from latentjax.errors import InputError


def imported(module: str) -> Any:
    """A module of a package in requirements.txt.

    Raises:
        InputError: it is missing, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        what = f"cannot be imported ({' '.join(str(error).split())})"
        raise InputError(module.partition(".")[0], what, "pip install -r requirements.txt") from error


def imported_tfds() -> Any:
    """TFDS, whose files array_record reads and writes.

    Raises:
        InputError: one of the two is missing, or cannot be imported.
    """
    imported("array_record.python.array_record_module")
    return imported("tensorflow_datasets")
