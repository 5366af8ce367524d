"""What users say about pictures: ancestors, scores, users; which entry is whose, and which split a key is in."""

import csv
import hashlib
import json
import math
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from latentjax.errors import InputError

Value = TypeVar("Value", int, float, str)


class Entry(NamedTuple, Generic[Value]):
    """What a list says of one name, and where it says so."""

    name: str
    value: Value
    where: str


def ancestors(paths: Sequence[str]) -> dict[str, Entry[int]]:
    """The numbers of ancestors in several lists, by key.

    A list has a line "key ancestors" for each key. One that ends in .csv has the columns "key" and "ancestors",
    one that ends in .jsonl an object with these two in each line.

    Raises:
        InputError: naming the file and line: no such file, no whole number from 0 up, or another one for the same key.
    """
    kinds = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    return _by_name(
        Entry(name, _count(value, where), where)
        for path in paths
        for name, value, where in kinds.get(pathlib.Path(path).suffix.lower(), _spaced_rows)(path)
    )


def scores(path: str) -> dict[str, Entry[float]]:
    """The numbers of a CSV "name,value" by name; its header may be left out.

    Raises:
        InputError: naming the file and line: no finite number, or another one for the same name.
    """
    return _by_name(Entry(name, _finite(value, where), where) for name, value, where in _pairs(path, "name", "value"))


def users(path: str) -> dict[str, Entry[str]]:
    """The users of a CSV "name,user" by name; its header may be left out.

    Raises:
        InputError: naming the file and line: not two columns, or another user of the same name.
    """
    return _by_name(Entry(*row) for row in _pairs(path, "name", "user"))


def fraction(key: str, purpose: str) -> float:
    """A number in [0, 1) that the key alone decides, another one for each purpose."""
    digest = hashlib.sha256(f"{purpose}:{key}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def split_of(key: str, validation: float) -> str:
    """ "validation" for this share of all keys, else "train", whatever other keys there are."""
    return "validation" if fraction(key, "split") < validation else "train"


def match(entries: dict[str, Entry[Value]], keys: Iterable[str]) -> tuple[dict[str, Entry[Value]], list[Entry[Value]]]:
    """Finds the entry of each key.

    An entry names a key, which is a relative path, by the path or the file name, either with or without its ending.

    Returns:
        Key to entry, and the entries that name no key.

    Raises:
        InputError: an entry fits several keys, or two entries of one key differ.
    """
    tables: list[dict[str, list[str]]] = [{}, {}, {}, {}]
    for key in keys:
        for table, alias in zip(tables, _aliases(key), strict=True):
            table.setdefault(alias, []).append(key)
    found: dict[str, Entry[Value]] = {}
    unused: list[Entry[Value]] = []
    for entry in entries.values():
        name = _normal(entry.name)
        fitting = next((table[name] for table in tables if name in table), None)
        if fitting is None:
            unused.append(entry)
        elif len(fitting) > 1:
            what = f"{entry.name!r} fits {fitting[0]} and {fitting[1]}"
            raise InputError(entry.where, what, "write the path from the folder of pictures")
        else:
            _refuse_other(found.setdefault(fitting[0], entry), entry)
    return found, unused


def _aliases(key: str) -> tuple[str, str, str, str]:
    """What a key may be called, the most exact first."""
    key = _normal(key)
    folder, name = os.path.split(key)
    stem = os.path.splitext(name)[0]
    return key, os.path.join(folder, stem), name, stem


def _normal(name: str) -> str:
    """File systems differ in how they write accented letters."""
    return unicodedata.normalize("NFC", name.removeprefix("./"))


def _by_name(entries: Iterable[Entry[Value]]) -> dict[str, Entry[Value]]:
    found: dict[str, Entry[Value]] = {}
    for entry in entries:
        _refuse_other(found.setdefault(entry.name, entry), entry)
    return found


def _refuse_other(first: Entry[Value], entry: Entry[Value]) -> None:
    if first.value != entry.value:
        what = f"{entry.name!r} has {entry.value!r} here and {first.value!r} in {first.where}"
        raise InputError(entry.where, what, "keep one of the two")


def _count(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InputError(where, f"{text[:40]!r} is no number of ancestors", "write a whole number from 0 up")
    return int(text)


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(where, f"{text[:40]!r} is no finite number", "write a number such as 0.25")
    return value


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """The text and place of each line that is not blank."""
    try:
        # only line feeds end lines: a key may hold the other characters that splitlines() splits at
        text = pathlib.Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "name a file that is there") from None
    except UnicodeDecodeError:
        raise InputError(path, "is not UTF-8 text", "save it as UTF-8") from None
    lines = [(line.strip(), f"{path}, line {number}") for number, line in enumerate(text.split("\n"), 1)]
    if not any(line for line, _ in lines):
        raise InputError(path, "is empty", "name a list with entries")
    return ((line, where) for line, where in lines if line)


def _spaced_rows(path: str) -> Iterator[tuple[str, str, str]]:
    for line, where in _lines(path):
        words = line.rsplit(None, 1)
        if len(words) < 2:
            todo = "write a key, a space and its number of ancestors (a file of commas must end in .csv)"
            raise InputError(where, f"{line[:40]!r} is not a key and a number", todo)
        yield words[0], words[1], where


def _jsonl_rows(path: str) -> Iterator[tuple[str, str, str]]:
    for line, where in _lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or "ancestors" not in entry:
            what = 'is no object with a "key" and its "ancestors"'
            raise InputError(where, what, 'write {"key": "a", "ancestors": 1}')
        yield entry["key"], json.dumps(entry["ancestors"]), where


def _csv_rows(path: str, columns: tuple[str, str] = ("key", "ancestors")) -> Iterator[tuple[str, str, str]]:
    rows = _cells(path)
    header, where = next(rows)
    if any(header.count(column) != 1 for column in columns):
        what = f"has the columns {', '.join(header)[:80]!r}, not {' and '.join(columns)}"
        raise InputError(where, what, f"write {','.join(columns)} into the first line")
    name, value = (header.index(column) for column in columns)
    for cells, where in rows:
        if len(cells) != len(header):
            raise InputError(where, f"has {len(cells)} columns, the header {len(header)}", "mend the line")
        yield cells[name], cells[value], where


def _pairs(path: str, name: str, value: str) -> Iterator[tuple[str, str, str]]:
    """Rows of a CSV of two columns, with or without a header."""
    header, _ = next(_cells(path))
    if name in header and value in header:
        yield from _csv_rows(path, (name, value))
        return
    for cells, where in _cells(path):
        if len(cells) != 2:
            raise InputError(where, f"has {len(cells)} columns, not {name},{value}", "mend the line")
        yield cells[0], cells[1], where


def _cells(path: str) -> Iterator[tuple[list[str], str]]:
    """The stripped cells and place of each row that is not blank."""
    for line, where in _lines(path):
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise InputError(where, f"is no line of a CSV ({error})", "mend the line") from None
        yield [cell.strip() for cell in cells], where
