"""Files that are whole or not there: staged beside their place, then renamed."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentjax.errors import InputError


def sha256_of(path: os.PathLike | str) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_existing(path: os.PathLike | str, kind: str = "folder") -> None:
    """Refuses a place that is taken; where a folder is to be made, an empty one is not.

    Raises:
        InputError: something is there.
    """
    path = pathlib.Path(path)
    try:
        taken = path.is_symlink() or path.exists()
        free = kind == "folder" and path.is_dir() and not path.is_symlink() and not any(path.iterdir())
        if taken and not free:
            raise InputError(path, "is there already", f"name another {kind}, or move it away")
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", f"name another {kind}") from error


@contextmanager
def staged(path: os.PathLike | str, *, replace: bool = False) -> Iterator[pathlib.Path]:
    """A temporary folder beside `path` that takes its name when the block ends well and vanishes otherwise.

    Raises:
        InputError: `path` is there already and is not to be replaced, or cannot be written.
    """
    path = pathlib.Path(path)
    if not replace:
        refuse_existing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "name a folder you can write") from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        if not replace:
            refuse_existing(path)  # another process may have been faster
        if path.exists():
            old = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.rename(path, old / path.name)  # a process killed here leaves it to `recover`
            os.rename(temporary, path)
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "free space or name another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover(path: pathlib.Path) -> None:
    """Puts back what a killed process was replacing by `staged`, and clears away what it left of a new one.

    Only for a place that no other process is writing to.
    """
    for old in path.parent.glob(f".{path.name}.old.*"):
        if not path.exists() and (old / path.name).exists():
            os.rename(old / path.name, path)
    for left in path.parent.glob(f".{path.name}.*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _umask() -> int:
    """The process's umask; mkdtemp ignores it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def told(folder: pathlib.Path) -> Iterator[None]:
    """A full disk, or a folder that cannot be written, is told in one line.

    Raises:
        InputError: in place of an OSError within the block.
    """
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise InputError(folder, what, "mend that, and run the same command again to go on") from error


def write_text(path: os.PathLike | str, text: str) -> None:
    """Writes or replaces a text file by one rename."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: os.PathLike | str, data: bytes) -> None:
    """Writes or replaces a file by one rename."""
    path = pathlib.Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_json(path: os.PathLike | str) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no JSON object in UTF-8, or one that is nested too deeply.
    """
    return _object(pathlib.Path(path).read_bytes())


def read_lines(path: os.PathLike | str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a log, one a line; lines that were cut off or damaged are left out, no file is no lines.

    Raises:
        OSError: the file cannot be read.
    """
    path = pathlib.Path(path)
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield _object(line)
        except ValueError:
            continue


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error)) from error  # that of bytes that are no UTF-8 would repeat all of them
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def write_json(path: os.PathLike | str, value: Any) -> None:
    """Writes or replaces a JSON file by one rename."""
    write_text(path, json.dumps(value, indent=2) + "\n")
