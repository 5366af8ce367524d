"""The table of what a prepared set was made from, and whether that is what a config names now."""

import csv
import io
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from latentjax.errors import InputError
from latentjax.files import write_text

FILE = "manifest.csv"


class Row(NamedTuple):
    """One picture or latent.

    Attributes:
        key: which.
        split: empty where it is left out.
        label: as text.
        group: what it is counted as; of a latent, its user.
        bytes: of its file.
        modified: when its file was changed, in nanoseconds.
        sha256: of its content; empty where nobody has looked at it.
    """

    key: str
    split: str
    label: str
    group: str
    bytes: int
    modified: int
    sha256: str


def write(folder: pathlib.Path, rows: Iterable[Row]) -> None:
    """Writes manifest.csv."""
    write_text(folder / FILE, table(Row._fields, rows))


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def read(folder: pathlib.Path) -> dict[str, Row]:
    """The rows by key.

    Raises:
        InputError: the file is missing or damaged.
    """
    file = folder / FILE
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            _, *lines = csv.reader(stream)
        rows = [
            Row(key, split, label, group, int(size), int(modified), digest)
            for key, split, label, group, size, modified, digest in lines
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(file, f"is damaged ({error})", "prepare the set anew in another folder") from error
    return {row.key: row for row in rows}


def refuse_other(folder: pathlib.Path, rows: Iterable[Row], digest: Callable[[str], str]) -> None:
    """Refuses a set that was made from others than `rows`.

    Args:
        folder: the set's.
        rows: what the config names now; one without sha256 is looked at only where its file was written since.
        digest: gives the sha256 of a key.

    Raises:
        InputError: saying what differs.
    """
    known, now = read(folder), {row.key: row for row in rows}
    common = [(known[key], row) for key, row in now.items() if key in known]
    differing = {
        "new": [key for key in now if key not in known],
        "missing": [key for key in known if key not in now],
        "of another label": [row.key for old, row in common if (old.label, old.group) != (row.label, row.group)],
        "changed": [row.key for old, row in common if _changed(old, row, digest)],
    }
    examples = {how: keys[0] + (", ..." if len(keys) > 1 else "") for how, keys in differing.items() if keys}
    if examples:
        told = [f"{len(differing[how])} {how} ({example})" for how, example in examples.items()]
        todo = "name another config.data.folder, or give the same sources"
        raise InputError(folder, f"was prepared from other sources: {'; '.join(told)}", todo)


def _changed(old: Row, row: Row, digest: Callable[[str], str]) -> bool:
    if row.sha256 or old.bytes != row.bytes:
        return (old.bytes, old.sha256) != (row.bytes, row.sha256)
    # a bad picture, which has no sha256, is only known by its size and time
    return old.modified != row.modified and old.sha256 != (digest(row.key) if old.sha256 else "-")
