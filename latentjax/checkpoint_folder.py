"""Where checkpoints are kept: local or on gs://, and whether they can be."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from latentjax import remote
from latentjax.errors import InputError, first_line

# these pass, and say nothing of what is in a file; a disk that cannot read (EIO) has lost it
PASSING = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
REFUSING = ("PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED")  # as TensorStore's errors begin


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
        with opening(folder):
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass


@contextmanager
def opening(folder: str) -> Iterator[None]:
    """A folder that cannot be used is told in one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        what = f"cannot hold checkpoints ({first_line(error)})"
        raise InputError(folder, what, "set --config.checkpoints.folder to a folder you can write") from error


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
