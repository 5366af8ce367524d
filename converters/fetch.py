"""Brings published files from their authors' servers into the user's cache.

A download lies in FILE.part and goes on where it stopped; only a whole file gets its name. `fetched.json` beside the
files remembers the sha256 of each, which a later copy must have, and what it takes to go on with a part.
"""

import contextlib
import http.client
import json
import os
import pathlib
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from tqdm import tqdm

from latentjax import embedded
from latentjax.errors import InputError
from latentjax.files import sha256_of, write_json

NOTES = "fetched.json"
ATTEMPTS, TIMEOUT, CHUNK = 4, 60, 2**16


class File(NamedTuple):
    """A file on its authors' server; its sha256 where they publish one."""

    url: str
    name: str
    sha256: str | None = None


class Entry(NamedTuple):
    """The files of one folder, the weights first, and what their licence is."""

    files: tuple[File, ...]
    licence: str


class Fetched(NamedTuple):
    """Where the weights are, the sha256 of each file, and what the user has to know."""

    weights: pathlib.Path
    sha256: dict[pathlib.Path, str]
    remarks: list[str]


class Unavailable(InputError):
    """A file that its server does not give; it may be had in another way."""


GANALYZE = "http://ganalyze.csail.mit.edu/models"
CREATIVE = "https://raw.githubusercontent.com/catlab-team/latentcreative/main/CreativeClassifier/models"
DEEP = "https://s3.amazonaws.com/models.huggingface.co/biggan"
BARE = "no licence comes with these weights: latentjax never redistributes them"
UNLICENSED = "the repository of best.pth has no licence: latentjax never redistributes it"
SIZES = (128, 256, 512)
PUBLISHED = {
    **{f"biggan-{n}": Entry((File(f"{GANALYZE}/biggan-{n}.pth", f"biggan-{n}.pth"),), BARE) for n in SIZES},
    "creative": Entry((File(f"{CREATIVE}/best.pth", "best.pth"),), UNLICENSED),
    **{
        f"biggan-deep-{n}": Entry(
            tuple(File(f"{DEEP}/biggan-deep-{n}-{name}", name) for name in ("pytorch_model.bin", "config.json")),
            BARE,
        )
        for n in SIZES
    },
}


def fetch(name: str, destination: object = None) -> Fetched:
    """Downloads what is not in the cache yet, and checks what is.

    Args:
        name: of `PUBLISHED`.
        destination: the model folder that the weights are to become; only messages name it.

    Raises:
        InputError: an unknown name, a file that cannot be had whole or is not what its name says, one that has
            another sha256 than the published or remembered one, or a cache that cannot be written.
    """
    if name not in PUBLISHED:
        raise InputError("--fetch", f"{name!r} is unknown", f"use one of {', '.join(PUBLISHED)}")
    entry, folder = PUBLISHED[name], folder_of(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            notes = _read_notes(folder / NOTES)
            found = {folder / file.name: _settle(file, folder, notes) for file in entry.files}
    except Unavailable as error:
        raise InputError(error.where, error.what, f"{error.todo}, or {by_hand(name, destination)}") from error
    except OSError as error:
        todo = f"free space or set LATENTJAX_CACHE to a folder you can write, or {by_hand(name, destination)}"
        raise InputError(folder, f"cannot be used ({error.strerror or error})", todo) from error
    remarks = [entry.licence]
    for file in entry.files:
        if file.sha256 is None:
            way = "came over plain http and has" if file.url.startswith("http:") else "has"
            remarks.append(f"{file.name} {way} no published checksum: latentjax can only tell if it changes")
    return Fetched(folder / entry.files[0].name, found, remarks)


def folder_of(name: str) -> pathlib.Path:
    """Where the files of a name are kept."""
    return embedded.cache_folder() / "downloads" / name


def command(name: str, destination: object = None) -> str:
    """What converts the files of a name, once they are there."""
    weights = folder_of(name) / PUBLISHED[name].files[0].name
    folder = destination or f"weights/{name.replace('-', '')}"
    return shlex.join(["python", "-m", "converters", str(weights), str(folder)])


def by_hand(name: str, destination: object = None) -> str:
    """What to do where the download does not work."""
    places = {folder_of(name) / file.name: file.url for file in PUBLISHED[name].files}
    # behind a closed folder this is False, and pathlib's own an error
    missing = [f"{url} as {place}" for place, url in places.items() if not os.path.exists(place)]
    save = f"save {' and '.join(missing)}, then " if missing else ""
    return f"by hand: {save}run: {command(name, destination)}"


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Keeps out a second process, which would write into the same part; Windows has nothing to do that with."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(folder, "is being written by another process", "wait until it is done") from None
        yield


def _read_notes(file: pathlib.Path) -> dict[str, dict[str, Any]]:
    try:
        notes = json.loads(file.read_bytes()) if file.exists() else {}
    except (ValueError, RecursionError):
        notes = None
    types = {"url": str, "sha256": str, "size": int, "validator": str | None}
    if not isinstance(notes, dict) or not all(
        isinstance(note, dict) and all(isinstance(value, types.get(name, object)) for name, value in note.items())
        for note in notes.values()
    ):
        raise InputError(file, "is damaged", "delete it; no file is downloaded again for that")
    return notes


def _settle(file: File, folder: pathlib.Path, notes: dict[str, dict[str, Any]]) -> str:
    """Downloads a file that is not in its place, and gives the sha256 that it has to have."""
    place, part = folder / file.name, folder / f"{file.name}.part"
    missing = not place.exists()
    if missing:
        _download(file.url, part, notes)
    digest = sha256_of(part if missing else place)
    known = file.sha256 or notes.get(file.name, {}).get("sha256", digest)
    if digest != known:
        if missing:
            place = part.replace(folder / f"{file.name}.bad")
        todo = "run the command again" if missing else "move it away and run the command again"
        if file.sha256 is None:
            todo = f"{todo}, or delete {folder / NOTES} if its authors did replace it"
        whose = "that was remembered" if file.sha256 is None else "that is published"
        raise InputError(place, f"has sha256 {digest}, not {known} {whose}", todo)
    if missing:
        part.rename(place)
    notes.pop(part.name, None)
    notes[file.name] = {"url": file.url, "sha256": digest}
    write_json(folder / NOTES, notes)
    return digest


def _download(url: str, part: pathlib.Path, notes: dict[str, dict[str, Any]]) -> None:
    """Makes the part whole, in a few attempts."""
    for _ in range(ATTEMPTS):
        problem = _receive(url, part, notes)
        if not problem:
            break
    else:
        raise Unavailable(url, problem, "run the command again to go on")
    with open(part, "rb") as opened:
        head = opened.read(64).lstrip()
    # what a server may give in place of a file while it calls that a success
    kinds = {b"<": "a web page", b"version https://git-lfs": "a Git LFS pointer"}
    kind = next((kind for start, kind in kinds.items() if head.startswith(start)), None if head else "nothing")
    if kind:
        part.unlink()
        raise Unavailable(url, f"gives {kind}, not the file", "look at it in a browser")


def _receive(url: str, part: pathlib.Path, notes: dict[str, dict[str, Any]]) -> str:
    """Asks once for what the part lacks, and tells why it is not whole yet ("": it is)."""
    begun = notes.get(part.name, {})
    size, validator = begun.get("size", 0), begun.get("validator")
    # without a validator nothing would tell that the rest belongs to another file
    offset = part.stat().st_size if part.exists() and validator and begun.get("url") == url else 0
    if offset and offset == size:
        return ""  # stopped between the last byte and the rename
    wanted = {"Range": f"bytes={offset}-", "If-Range": validator} if offset else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=wanted), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
            return "does not go on where it stopped"
        raise Unavailable(url, f"cannot be had (HTTP {error.code} {error.reason})", "try again later") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # an address it leads to may be none
        reason = getattr(error, "reason", None) or error
        raise Unavailable(url, f"cannot be reached ({reason})", "check the network") from error
    with response:
        if url.startswith("https:") and not response.url.startswith("https:"):
            raise Unavailable(url, "leads to an address without https", "try another network")
        if response.headers.get_content_type() == "text/html":
            raise Unavailable(url, "gives a web page, not the file", "look at it in a browser")
        if response.status != 206:
            offset, size = 0, response.length
            if size is None:
                raise Unavailable(url, "comes without its length, so that a cut would go unseen", "try another network")
        elif not offset or response.headers["Content-Range"] != f"bytes {offset}-{size - 1}/{size}":
            part.unlink(missing_ok=True)
            return "does not go on where it stopped"
        with (
            open(part, "ab" if offset else "wb") as opened,
            tqdm(total=size, initial=offset, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            if not offset:
                etag = response.headers["ETag"]
                # a weak ETag does not vouch for the bytes
                validator = etag if etag and not etag.startswith("W/") else response.headers["Last-Modified"]
                notes[part.name] = {"url": url, "size": size, "validator": validator}
                write_json(part.with_name(NOTES), notes)
            for chunk in _body(response):
                opened.write(chunk)
                bar.update(len(chunk))
            received = opened.tell()
    return "" if received == size else f"broke off after {received:,} of {size:,} bytes"


def _body(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The chunks up to where the connection breaks off, if it does; errors of the disk pass."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while chunk := response.read(CHUNK):
            yield chunk
