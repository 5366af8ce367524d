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


def scikit_learn(module: str) -> Any:
    """A module of scikit-learn, such as "metrics"; a job that needs it later asks for it before it starts.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        importlib.import_module("sklearn")
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise InputError("scikit-learn", "is not installed", "pip install -r requirements-report.txt") from error


def imported_tfds() -> Any:
    """TFDS, whose files array_record reads and writes.

    Raises:
        InputError: one of the two is missing, or cannot be imported.
    """
    imported("array_record.python.array_record_module")
    return imported("tensorflow_datasets")
