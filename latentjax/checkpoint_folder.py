"""Where checkpoints are kept: local or on gs://, and whether they can be."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from latentjax import remote
from latentjax.errors import InputError


def check(folder: str) -> None:
    """Refuses, before a run is bound to it, a config's folder that cannot hold checkpoints.

    Args:
        folder: as the config names it; empty: the run's own, which is looked at when it is made.

    Raises:
        InputError: it cannot be written, or is neither local nor on gs://.
    """
    if remote.is_remote(folder):
        remote.check_writable(folder)
    elif "://" in folder:
        raise InputError("config.checkpoints.folder", f"is {folder!r}", "give a local folder or gs://BUCKET/FOLDER")
    elif folder:
        with opening(folder), tempfile.TemporaryFile(dir=made(folder)):
            pass


def made(folder: str) -> str:
    """The folder, made where it is missing."""
    os.makedirs(folder, exist_ok=True)
    return folder


@contextmanager
def opening(folder: str) -> Iterator[None]:
    """A folder that cannot be used is told in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        what = f"cannot hold checkpoints ({first_line(error)})"
        raise InputError(folder, what, "set --config.checkpoints.folder to a folder you can write") from error


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
