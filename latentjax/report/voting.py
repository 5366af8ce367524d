"""The votes of a study as its page gives them: read, checked line by line and joined with the key."""

import csv
import io
import json
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from latentjax.errors import InputError
from latentjax.report.study import KEY

COLUMNS = ["study", "voter", "pair", "repeat", "left", "right", "chosen", "milliseconds", "time"]
AGAIN = "give the file as the study's page made it"


class Vote(NamedTuple):
    """One choice of one voter.

    Attributes:
        voter: name.
        pair: of the key.
        repeat: whether the voter met the pair before.
        chose_a, chose_left: what was chosen.
        milliseconds: how long it took.
    """

    voter: str
    pair: str
    repeat: bool
    chose_a: bool
    chose_left: bool
    milliseconds: float


class Key(NamedTuple):
    """A study's facts, and pair -> (a, b), the names of its pictures."""

    facts: dict[str, Any]
    pairs: dict[str, tuple[str, str]]


def key_of(folder: pathlib.Path) -> Key:
    """What a study's folder says of its pairs.

    Raises:
        InputError: no study there, or a damaged one.
    """
    try:
        facts = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        texts = [str(facts[name]) for name in ("study", "question", "a", "b")]
        rows = list(csv.DictReader(io.StringIO((folder / "key.csv").read_text(encoding="utf-8"), newline="")))
        pairs = {row["pair"]: (row["a"], row["b"]) for row in rows}
    except (OSError, ValueError, TypeError, LookupError, csv.Error) as error:
        what = f"is no study ({error!r:.200})"
        raise InputError(folder, what, "give a folder that python -m latentjax.report study made") from error
    if len(pairs) != facts.get("pairs") or not all(texts) or tuple(rows[0]) != KEY:
        raise InputError(
            folder / "key.csv", "is not whole", "restore it; without it nobody knows which picture is which"
        )
    return Key(facts, pairs)


def read(key: Key, files: Sequence[pathlib.Path]) -> list[Vote]:
    """The votes of several files, in any order.

    Raises:
        InputError: naming the file and line: of another study, an unknown pair or picture, a second vote of a voter on
            a pair, a repeat without a first vote, or no vote at all.
    """
    found: dict[tuple[str, str, bool], tuple[Vote, str]] = {}
    for file in files:
        for where, row in _rows(file):
            vote = _vote(key, row, where)
            place = vote[:3]
            if place in found:
                what = f"{vote.voter!r} has voted on {vote.pair} before, in {found[place][1]}"
                raise InputError(where, what, "give each file once, and the newest of a voter only")
            found[place] = vote, where
    for (voter, pair, repeat), (_, where) in found.items():
        if repeat and (voter, pair, False) not in found:
            raise InputError(where, f"is a repeat of {pair}, on which {voter!r} has not voted", AGAIN)
    if not found:
        raise InputError(", ".join(map(str, files)) or "votes", "has no votes", "give files of people who voted")
    return [vote for vote, _ in found.values()]


def _rows(file: pathlib.Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place ("FILE:LINE") and cells of each line."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(file, f"cannot be read ({error.strerror})", "give another file") from error
    except UnicodeDecodeError as error:
        raise InputError(file, "is not UTF-8 text", AGAIN) from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        if header != COLUMNS:
            what = f"has the columns {','.join(header)[:120]!r}, not {','.join(COLUMNS)}"
            raise InputError(f"{file}:1", what, AGAIN)
        for cells in filter(None, lines):
            where = f"{file}:{lines.line_num}"
            if len(cells) != len(COLUMNS):
                raise InputError(where, f"has {len(cells)} cells, not {len(COLUMNS)}", AGAIN)
            yield where, dict(zip(COLUMNS, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{file}:{lines.line_num}", f"is no CSV ({error})", AGAIN) from error


def _vote(key: Key, row: dict[str, str], where: str) -> Vote:
    """A line, checked and joined with the key."""
    study, pair, sides = key.facts["study"], row["pair"], (row["left"], row["right"])
    # browsers and spreadsheets differ in how they write accented letters
    voter = unicodedata.normalize("NFC", row["voter"]).strip()
    if row["study"] != study:
        raise InputError(where, f"is of the study {row['study'][:40]!r}, not {study}", "give votes of this study")
    if not voter:
        raise InputError(where, "has no voter", AGAIN)
    if pair not in key.pairs:
        raise InputError(where, f"has the pair {pair[:40]!r}, which key.csv does not know", AGAIN)
    if sorted(sides) != sorted(key.pairs[pair]):
        what = f"has the pictures {', '.join(sides)[:80]!r}, and {pair} is {' and '.join(key.pairs[pair])}"
        raise InputError(where, what, AGAIN)
    if row["chosen"] not in sides:
        raise InputError(where, f"has chosen {row['chosen'][:40]!r}, which is neither left nor right", AGAIN)
    if row["repeat"] not in ("0", "1"):
        raise InputError(where, f"has the repeat {row['repeat'][:40]!r}, not 0 or 1", AGAIN)
    if not (row["milliseconds"].isascii() and row["milliseconds"].isdigit()):
        raise InputError(where, f"has the milliseconds {row['milliseconds'][:40]!r}, no whole number", AGAIN)
    chosen, (a, _) = row["chosen"], key.pairs[pair]
    return Vote(voter, pair, row["repeat"] == "1", chosen == a, chosen == row["left"], float(row["milliseconds"]))
