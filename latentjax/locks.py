"""One writer: a run folder, and one of checkpoints, is locked by the process that writes into it until that ends."""

import contextlib
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from absl import logging

from latentjax.errors import InputError

NAME = ".lock"

_held: dict[str, int] = {}  # folders that this process has locked, and the open files


def hold(folder: pathlib.Path, field: str = "--workdir") -> None:
    """Locks a folder until the end of `released` or the end of the process; again by the same process is nothing.

    The kernel gives up the lock of a process that dies: a lock file that is left over locks nothing.

    Args:
        folder: it is there.
        field: where the user names it.

    Raises:
        InputError: another process has it.
        OSError: the file cannot be written.
    """
    name = os.path.realpath(folder)
    if name in _held:
        return
    file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(file, folder, field)
        if left := os.pread(file, 200, 0).decode(errors="replace").strip():
            logging.info("%s: %s ended without a word; going on in its place", folder, left)
        os.ftruncate(file, 0)
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {began}\n".encode())
    except BaseException:
        os.close(file)
        raise
    _held[name] = file


def refuse_taken(folder: pathlib.Path, field: str = "--workdir") -> None:
    """Tells early, before anything is loaded, that another process has the lock.

    Args:
        folder, field: see `hold`.

    Raises:
        InputError: it has.
    """
    if os.path.realpath(folder) in _held or not (folder / NAME).is_file():
        return
    try:
        file = os.open(folder / NAME, os.O_RDWR)  # NFS locks what may be written only
    except OSError:
        return  # `hold` tells of a folder that may not be written
    try:
        _lock(file, folder, field)
    finally:
        os.close(file)


def _lock(file: int, folder: pathlib.Path, field: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
        what, todo = f"is being written by {owner}", f"wait until it is done, stop it, or name another {field}"
        raise InputError(folder, what, todo) from None
    except OSError as error:
        logging.warning("%s: its file system has no locks (%s); start one process only", folder, error.strerror)


@contextlib.contextmanager
def released() -> Iterator[None]:
    """A block that gives up, at its end, the locks that were taken in it."""
    before = set(_held)
    try:
        yield
    finally:
        for name in _held.keys() - before:
            file = _held.pop(name)
            os.ftruncate(file, 0)  # whose text is left did not come to its end
            os.close(file)
