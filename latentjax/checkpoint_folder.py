"""Where checkpoints are kept: local or on gs://, and whether they can be."""

import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from latentjax import distributed, locks, remote
from latentjax.errors import InputError, first_line
from latentjax.files import told

FIELD = "--config.checkpoints.folder"
OWN = "checkpoints"  # within the workdir
# these pass, and say nothing of what is in a file; a disk that cannot read (EIO) has lost it
PASSING = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
REFUSING = ("PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED")  # as TensorStore's errors begin


def folder_of(named: str, workdir: pathlib.Path) -> str:
    """The folder that a config names, or the run's own."""
    return named or str(workdir / OWN)


def check(named: str, workdir: pathlib.Path) -> None:
    """Refuses, before a run is bound to it, a folder that cannot hold checkpoints.

    Args:
        named: as the config names it; empty: the run's own.
        workdir: the run folder, which need not be there.

    Raises:
        InputError: it cannot be written, another process is writing into it, or it is neither local nor on gs://.
    """
    folder = folder_of(named, workdir)
    if remote.is_remote(folder):
        remote.check_writable(folder)
    elif "://" in folder:
        raise InputError("config.checkpoints.folder", f"is {folder!r}", "give a local folder or gs://BUCKET/FOLDER")
    elif named or os.path.lexists(folder):  # a new run's own is made with its workdir
        # a run cannot name another folder once it has one
        with opening(folder) if named else told(pathlib.Path(folder)):
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            if distributed.is_primary():
                locks.refuse_taken(_locked(folder), FIELD)


def take(folder: str) -> None:
    """Locks a local folder for the primary process: another run may name it too, or be where it lies.

    Raises:
        InputError: another process is writing into it, or it cannot be written.
    """
    if distributed.is_primary() and not remote.is_remote(folder):
        with opening(folder):
            os.makedirs(folder, exist_ok=True)
            locks.hold(_locked(folder), FIELD)


def _locked(folder: str) -> pathlib.Path:
    """What is locked for a folder: the run folder whose own it is, or itself."""
    path = pathlib.Path(folder).resolve()
    return path.parent if path.name == OWN and (path.parent / "config.json").is_file() else path


@contextmanager
def opening(folder: str) -> Iterator[None]:
    """A folder that cannot be used is told in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        what = f"cannot hold checkpoints ({first_line(error)})"
        raise InputError(folder, what, f"set {FIELD} to a folder you can write") from error


def unreadable(folder: str, error: BaseException | None) -> InputError | None:
    """Why a checkpoint cannot be read now, whatever is in it; None: it is damaged."""
    while isinstance(error, Exception):
        number = re.search(r"os_error_code='(\d+)'", str(error))  # TensorStore's
        code = int(number[1]) if number else getattr(error, "errno", None)
        refused = remote.refused(folder, error) if remote.is_remote(folder) else None
        if refused or code in PASSING or str(error).startswith(REFUSING):
            todo = "mend that, and run the same command again to go on"
            return refused or InputError(folder, f"cannot be read ({first_line(error)})", todo)
        error = error.__cause__ or error.__context__
    return None
