"""Evaluation latents from files: Artbreeder's JSON, checked before anything runs.

A file holds an object ``{"latent": [numbers], "classes": [[index, weight], ...], "truncation": t}``, or an
array of such objects. "truncation" is optional, and so is a "name", else made from the file's. Artbreeder's
latents are already scaled by their truncation, so z is used as it is. Class weights are any real numbers:
negative ones and sums far from 1 are ordinary there.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from latentjax.errors import InputError

MAX_BYTES = 2**20
# z's length in BigGAN's three sizes (128 is also every BigGAN-deep)
_GENERATORS = {120: "BigGAN 128", 140: "BigGAN 256", 128: "BigGAN 512 or BigGAN-deep"}
_FLOAT32_MIN, _FLOAT32_MAX = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
# rounds to infinity in float32; 3.4028235e38, as the largest float32 is often written, does not
_TO_INFINITY = 2.0**128 - 2.0**103
_MEND = "mend or remove it, or leave bad files out (--config.evaluate.skip_bad=true, class_vectors --skip-bad)"


@dataclasses.dataclass(frozen=True, eq=False)
class Latent:
    """One point to start strips from.

    Attributes:
        name: printable name, not yet fit for a file name (see `safe_name`).
        z: [Z] float32, already scaled by its truncation, never zero.
        y: [K] float32 class weights.
        source: ``{"file": basename, "sha256": of the file}`` or ``{"seed": s, "index": i}``.
        truncation: as its file tells; None where none does.
    """

    name: str
    z: np.ndarray
    y: np.ndarray
    source: dict
    truncation: float | None = None

    @property
    def key(self) -> str:
        """What identifies the point, by content."""
        return hashlib.sha256(self.z.tobytes() + self.y.tobytes()).hexdigest()


def stacked(points: Sequence[Latent]) -> tuple[np.ndarray, np.ndarray]:
    """z [N, Z] and y [N, K] of some points."""
    return np.stack([point.z for point in points]), np.stack([point.y for point in points])


def safe_name(name: str) -> str:
    """A file name from a latent's name: 1 to 120 of [A-Za-z0-9._-], "_" for others and for a leading dot."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:120]
    return "_" + name[1:] if not name or name[0] == "." else name


def read(path: str | os.PathLike[str], latent_dim: int, num_classes: int, *, skip_bad: bool = False) -> list[Latent]:
    """Reads latents from one file, or from all files of a folder in the order of their names.

    All are checked before anything is returned. A folder's hidden files and sub-folders are ignored; anything else
    in it that is no regular file, such as a broken link, counts as a bad file.

    Args:
        path: a JSON file or a folder of them (at most 1 MiB a file).
        latent_dim: Z, the numbers that each "latent" must have.
        num_classes: K; class indices are 0 to K - 1.
        skip_bad: leave bad files out with a warning; at least one good file must remain.

    Returns:
        The latents, whose names stay distinct under `safe_name`.

    Raises:
        InputError: for the first bad file, saying how many others are bad.
    """
    latents: list[Latent] = []
    bad: list[InputError] = []
    taken: dict[str, str] = {}
    files = files_of(path)
    for file in files:
        try:
            found = _read_file(file, latent_dim, num_classes)
            taken |= _claims(found, _shown(file), taken)
        except InputError as error:
            bad.append(error)
        else:
            latents += found
    if bad and not (skip_bad and latents):
        first, others = bad[0], len(bad) - 1
        more = f" (and {others} more bad file{'s' if others > 1 else ''})" if others else ""
        raise InputError(first.where, first.what + more, first.todo)
    if bad:
        logging.warning(
            "%d of %d latent files are bad and left out; the first: %s: %s",
            len(bad), len(files), bad[0].where, bad[0].what,
        )  # fmt: skip
    return latents


def files_of(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The files that `path` stands for."""
    where, todo = _shown(path), "give a JSON file or a folder of them"
    if not os.fspath(path):
        raise InputError("latents", "the path is empty", todo)
    if not os.path.exists(path):
        raise InputError(where, _broken_link(path) or "does not exist", todo)
    if os.path.isfile(path):
        return [pathlib.Path(path)]
    if not os.path.isdir(path):
        raise InputError(where, "is neither a regular file nor a folder", todo)
    try:
        inside = sorted(pathlib.Path(path).iterdir(), key=lambda file: file.name)
    except OSError as error:
        raise InputError(where, f"cannot be listed ({error.strerror})", "check its permissions") from None
    # os.path's isdir, unlike pathlib's, says no to what may not be looked at
    files = [file for file in inside if not file.name.startswith(".") and not os.path.isdir(file)]
    if not files:
        raise InputError(where, "has no files", todo)
    return files


def _broken_link(path: str | os.PathLike[str]) -> str:
    """What is wrong with a link that leads to nothing or to itself; "" for anything else."""
    if not os.path.islink(path):
        return ""
    try:
        os.stat(path)
    except OSError as error:
        return f"is a link that cannot be followed ({error.strerror})"
    return ""


def _read_file(file: pathlib.Path, latent_dim: int, num_classes: int) -> list[Latent]:
    """All latents of one file."""
    where = _shown(file)
    if broken := _broken_link(file):
        raise InputError(where, broken, _MEND)
    # opening a pipe would wait for its other end
    if os.path.exists(file) and not os.path.isfile(file):
        raise InputError(where, "is not a regular file", _MEND)
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(where, f"cannot be read ({error.strerror})", "check its permissions") from None
    if len(data) > MAX_BYTES:
        raise InputError(where, "is over 1 MiB", "give a folder with one latent in each file")
    content = _parse(data, where)
    if not isinstance(content, dict | list):
        raise InputError(where, f"holds {_value(content)}, not an object or an array of objects", _MEND)
    if not content:
        raise InputError(where, "holds no latents", _MEND)
    source = {"file": _printable(file.name), "sha256": hashlib.sha256(data).hexdigest()}
    stem = file.name.removesuffix(".json")
    if isinstance(content, dict):
        return [_latent(content, stem, source, where, latent_dim, num_classes)]
    return [
        _latent(entry, f"{stem}-{i:05d}", source, f"{where}[{i}]", latent_dim, num_classes)
        for i, entry in enumerate(content)
    ]


def _parse(data: bytes, where: str) -> object:
    """JSON with a UTF-8 byte order mark allowed; NaN, Infinity and doubled keys refused."""

    def no_constant(text: str) -> float:
        raise InputError(where, f"holds {text}, which JSON does not have", _MEND)

    def no_doubled_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
        entry: dict[str, object] = {}
        for key, value in pairs:
            if key in entry:
                raise InputError(where, f"has the key {_value(key)} twice in one object", _MEND)
            entry[key] = value
        return entry

    def integer(digits: str) -> int | float:
        # int() refuses very long digit strings with an error of its own; float() makes them infinite
        return int(digits) if len(digits) < 20 else float(digits)

    try:
        text = data.decode("utf-8-sig")
        if not text.strip():
            raise InputError(where, "is empty", _MEND)
        return json.loads(text, parse_constant=no_constant, parse_int=integer, object_pairs_hook=no_doubled_keys)
    except UnicodeDecodeError:
        raise InputError(where, "is not UTF-8 text", _MEND) from None
    except json.JSONDecodeError as error:
        raise InputError(where, f"is not JSON (line {error.lineno}: {error.msg})", _MEND) from None
    except RecursionError:
        raise InputError(where, "is nested too deeply", _MEND) from None


def _latent(entry: object, name: object, source: dict, where: str, latent_dim: int, num_classes: int) -> Latent:
    """Checks one object; `name` is what it is called unless it has a "name" of its own."""
    if not isinstance(entry, dict):
        raise InputError(where, f"is {_value(entry)}, not an object", _MEND)
    for key in ("latent", "classes"):
        if key not in entry:
            raise InputError(where, f'has no "{key}"', _MEND)
        if not isinstance(entry[key], list):
            raise InputError(where, f'"{key}" is {_value(entry[key])}, not an array', _MEND)
    truncation = _number(entry.get("truncation", 1), '"truncation"', where)
    if not 0 < truncation <= 1:
        raise InputError(where, f'"truncation" is {_value(entry["truncation"])}, outside (0, 1]', _MEND)
    name = entry.get("name", name)
    if not isinstance(name, str) or not name:
        raise InputError(where, f'"name" is {_value(name)}, not a name', _MEND)
    z, y = _z(entry["latent"], where, latent_dim), _y(entry["classes"], where, num_classes)
    return Latent(_printable(name), z, y, dict(source), truncation if "truncation" in entry else None)


def _z(numbers: list, where: str, latent_dim: int) -> np.ndarray:
    """[Z] float32, as given."""
    if len(numbers) != latent_dim:
        fits = f" (which fits {_GENERATORS[len(numbers)]})" if len(numbers) in _GENERATORS else ""
        what = f'has {len(numbers)} numbers in "latent"{fits}, expected {latent_dim}'
        raise InputError(where, what, "use latents made for this generator")
    z = np.array([_number(x, f'"latent"[{i}]', where) for i, x in enumerate(numbers)], np.float32)
    with np.errstate(over="ignore", under="ignore"):
        square = float(np.sum(z * z))
    # rescaling z' to the norm of z divides by it: that must exist in float32, where devices flush subnormals
    if not square >= _FLOAT32_MIN:
        raise InputError(where, '"latent" is all zeros', _MEND)
    if not square <= _FLOAT32_MAX:
        raise InputError(where, '"latent" is too long a vector for float32', _MEND)
    return z


def _y(pairs: list, where: str, num_classes: int) -> np.ndarray:
    """[K] float32 from [index, weight] pairs."""
    if not pairs and num_classes:
        raise InputError(where, '"classes" is empty', "list at least one [index, weight]")
    if pairs and not num_classes:
        raise InputError(where, '"classes" lists some, but this generator has none', 'write "classes": []')
    y = np.zeros(num_classes, np.float32)
    seen = set()
    for i, pair in enumerate(pairs):
        label = f'"classes"[{i}]'
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(where, f"{label} is {_value(pair)}, not [index, weight]", _MEND)
        index = pair[0]
        if type(index) is not int:
            raise InputError(where, f"{label} has the class index {_value(index)}, not an integer", _MEND)
        if not 0 <= index < num_classes:
            what = f"{label} has the class index {index}, outside 0 to {num_classes - 1}"
            raise InputError(where, what, "use latents made for this generator")
        if index in seen:
            raise InputError(where, f'"classes" lists the class {index} twice', _MEND)
        seen.add(index)
        y[index] = _number(pair[1], f"the weight of {label}", where)
    return y


def _number(value: object, label: str, where: str) -> float:
    """A finite float32's worth of number; True, null and "1" are none."""
    if type(value) is not int and type(value) is not float:
        raise InputError(where, f"{label} is {_value(value)}, not a number", _MEND)
    if not abs(value) < _TO_INFINITY:
        raise InputError(where, f"{label} is too large for float32", _MEND)
    return float(value)


def _claims(found: list[Latent], where: str, taken: dict[str, str]) -> dict[str, str]:
    """File names that the latents of one file take, with their owners; refuses names already taken."""
    claims: dict[str, str] = {}
    for latent in found:
        name = safe_name(latent.name)
        if owner := taken.get(name) or claims.get(name):
            raise InputError(where, f"its name {name} is taken by {owner}", "rename one of the two")
        claims[name] = where
    return claims


def _value(value: object) -> str:
    """A parsed JSON value in a message: short, on one line."""
    if isinstance(value, dict | list):
        size = f"{len(value)} element{'' if len(value) == 1 else 's'}"
        return f"an {'array' if isinstance(value, list) else 'object'} of {size}"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _shown(path: str | os.PathLike[str]) -> str:
    return _printable(os.fspath(path))


def _printable(text: str) -> str:
    """File names may hold line breaks and stray bytes; messages and tables may not."""
    return "".join(char if char.isprintable() else "_" for char in text)
