"""Folders on gs://, through gcsfs: model folders come into the user's cache, verified; what fails is one line."""

import hashlib
import logging
import os
import pathlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentjax.errors import InputError
from latentjax.files import sha256_of, staged

SCHEME = "gs://"
WAIT = 60  # seconds for a small file; gcsfs alone tries for minutes where a network swallows packets
SHOWN = 32 * 2**20  # bytes from which a download shows its progress
LOG_IN = "log in with an account that may: gcloud auth application-default login"


def is_remote(folder: object) -> bool:
    """Whether a folder's name is an address on gs://."""
    return str(folder).startswith(SCHEME)


def within(folder: os.PathLike | str, name: str) -> Any:
    """A file or folder within a folder: a path, or an address, which pathlib would spoil."""
    if is_remote(folder):
        return f"{SCHEME}{str(folder).removeprefix(SCHEME).rstrip('/')}/{name}"
    return pathlib.Path(folder) / name


def read(address: str) -> bytes:
    """A small file, as it is there now.

    Raises:
        FileNotFoundError: the bucket has none of this name.
        InputError: gcsfs is missing, or the file cannot be had.
    """
    with told(address):
        return filesystem().cat_file(address, timeout=WAIT)


def exists(address: str) -> bool:
    """Whether there is such a file or folder.

    Raises:
        InputError: gcsfs is missing, or that cannot be learned.
    """
    with told(address):
        return filesystem().exists(address, timeout=WAIT)


def fetched(folder: os.PathLike | str, model_json: bytes, sha256: str) -> pathlib.Path:
    """The copy of a model folder in the cache, brought there where it is not yet.

    Args:
        folder: its address.
        model_json: what its model.json is now; a changed one is another model.
        sha256: what the weights must have.

    Raises:
        InputError: the weights cannot be had, are not those of model.json, or the cache cannot be written.
    """
    from latentjax.embedded import cache_folder  # it imports what imports this

    address = within(folder, "weights.safetensors")
    kept = cache_folder() / "remote" / hashlib.sha256(f"{address}\n".encode() + model_json).hexdigest()
    if kept.is_dir():
        return kept
    try:
        with staged(kept) as temporary:
            _download(address, temporary / "weights.safetensors", sha256)
            (temporary / "model.json").write_bytes(model_json)
    except InputError as error:
        if kept.is_dir():  # another process was faster
            return kept
        if error.where == str(kept):
            todo = "free space, or set LATENTJAX_CACHE to a folder you can write"
            raise InputError(kept, error.what, todo) from error
        raise
    return kept


def check_writable(folder: str) -> None:
    """Writes a small file into a folder and removes it, so that a job learns at its start that it may.

    Raises:
        InputError: gcsfs is missing, or that cannot be done.
    """
    trial = within(folder, f".writable-{uuid.uuid4().hex}")
    try:
        with told(folder):
            filesystem().pipe_file(trial, b"", timeout=WAIT)
            filesystem().rm_file(trial, timeout=WAIT)
    except FileNotFoundError as error:
        raise InputError(folder, "cannot be written", "check the address") from error


def filesystem() -> Any:
    """What reads and writes gs://; it keeps no listings, which would be of how things were.

    Raises:
        ImportError: gcsfs is not installed.
    """
    import fsspec

    for name in ("gcsfs", "google.auth"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they log tracebacks of what is told in one line
    return fsspec.filesystem("gs", use_listings_cache=False)


@contextmanager
def told(address: str) -> Iterator[None]:
    """What goes wrong with gs:// in the block is told in one line, but for a file that is not there.

    Raises:
        FileNotFoundError: the bucket has none of this name.
        InputError: gcsfs is missing; there is no such bucket; it may not be used, or cannot be reached.
        OSError: of this machine's disk.
    """
    bucket = address.removeprefix(SCHEME).partition("/")[0]
    if not bucket:
        raise InputError(address, "names no bucket", "write gs://BUCKET/FOLDER")
    try:
        yield
    except ImportError as error:
        raise InputError(address, f"needs gcsfs ({_line(error)})", "pip install gcsfs") from error
    except FileNotFoundError as error:
        if not _has_bucket(bucket):
            raise InputError(f"{SCHEME}{bucket}", "is no bucket", "check its name") from error
        raise
    except (InputError, RuntimeError):
        raise
    except Exception as error:
        if refusal := refused(address, error):
            raise refusal from error
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(address, f"cannot be used ({_line(error)})", "check it, or try again later") from error


def refused(address: str, error: Exception) -> InputError | None:
    """An error that says nothing of the data: an address may not be used, or cannot be reached; None: another one."""
    import aiohttp  # gcsfs passes on the errors of several packages
    import requests
    from google.auth.exceptions import GoogleAuthError

    if getattr(error, "code", None) in (401, 403) or str(error).startswith("Forbidden"):
        return InputError(address, f"may not be used ({_line(error)})", LOG_IN)
    if isinstance(error, GoogleAuthError):
        return InputError(address, f"cannot be used without credentials ({_line(error)})", LOG_IN)
    if isinstance(error, aiohttp.ClientError | requests.RequestException | TimeoutError):
        return InputError(address, f"cannot be reached ({_line(error)})", "check the network")
    return None


def _line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]


def _has_bucket(bucket: str) -> bool:
    """False only where that is known: an account may read what is in a bucket and know nothing of the bucket."""
    try:
        return filesystem().exists(f"{SCHEME}{bucket}", timeout=WAIT)
    except Exception:
        return True


def _download(address: str, file: pathlib.Path, sha256: str) -> None:
    from fsspec.callbacks import TqdmCallback

    try:
        with told(address):
            size = filesystem().info(address, timeout=WAIT)["size"]
            bar = {"unit": "B", "unit_scale": True, "desc": address, "disable": size < SHOWN}
            with TqdmCallback(tqdm_kwargs=bar) as progress:
                filesystem().get_file(address, str(file), callback=progress)
    except FileNotFoundError as error:
        raise InputError(address, "is not there", "copy the model there again") from error
    if sha256_of(file) != sha256:
        raise InputError(address, "does not match the checksum in model.json", "copy the model there again")
