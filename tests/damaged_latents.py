"""Valid files of latents and damage to them, each by a number."""

import json
import os
import pathlib
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.damaged_files import ANYWHERE, span

BOM = b"\xef\xbb\xbf"
MIB = 2**20
RAW, AGAIN = "\x02", "\x01"  # before a text that is written as it is, with ' for "; after a key that is written twice
COMPACT = (",", ":")
FORMS = ("structured", "bytes")

NUMBERS = ["0", "-0", "0.0", "-0.0", "1", "-1", "1E0", "0.7", "1e-7", "1.0000000001", "16777217", "9007199254740993"]
NUMBERS += ["5e-324", "1e-400", "1e-46", "7e-46", "1e-45", "1.17549435e-38", "1e-38", "1e-20", "1e18", "1e19", "2e19"]
NUMBERS += ["1e38", "3.4028234663852886e38", "3.4028235e38", "3.40282356e38", "3.40282357e38", "-3.4028236e38", "1e39"]
NUMBERS += ["1e400", "-1e400", "1e99999999999", "NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "4294967296"]
NUMBERS += ["9223372036854775808", "9" * 20, "01", "+1", ".5", "1.", "1e", "0x10", "1_0", "--1", "１", "1,2"]
NUMBERS += ["9" * 300, "9" * 4301, "-" + "9" * 100_000, "0." + "0" * 5000 + "1", "1." + "0" * 50_000 + "1"]
NUMBERS += ["0." + "0" * 9000 + "7e9000", "7" + "0" * 9000 + "e-9000"]
DEPTHS = (1, 2, 20, 150, 198, 300, 900, 980, 1000, 3000, 5000, 100_000)
PAIRS = "[" + ",".join(f"[{i},0]" for i in range(90_000)) + "]"
OTHERS = ["null", "true", "false", "0", "1", "-1", "0.5", '""', '"1"', '"NaN"', '"ab"', '"' + "x" * 3000 + '"']
OTHERS += ["[]", "{}", "[1]", "[[]]", "[[0, 1]]", '{"a": 1}', "[null]"]
NAMES = ["a", "A", "", " ", ".", "..", ".hidden", "../../etc/passwd", "/", "a/b\\c\0d", "a\nb", "\r\n\t", "\x1b[31m"]
NAMES += ["ä", "😀", "ab\u0301", "\u2028", "\u202eabc", "\ud800", "\ufeff", "\x7f", "mutant", "mutant-00000"]
NAMES += ["x" * 120, "x" * 121, "/" * 5000, "\n" * 300_000, "é" * 400_000, "NUL", "con.json", 3, None, ["a"], {}, True]


class Original(NamedTuple):
    """A valid file."""

    name: str
    data: bytes
    latent_dim: int
    num_classes: int


class Mutant(NamedTuple):
    """A damaged file."""

    original: Original
    form: str
    data: bytes


Content = Any  # what JSON holds
Change = Callable[[random.Random, Content, Original], Content]


def originals() -> list[Original]:
    """Files made here, and the published ones where LATENTJAX_REFERENCE has them."""
    rng = random.Random(0)

    def entry(latent_dim: int, classes: int, of: int, **more: Any) -> dict[str, Any]:
        pairs = [[index, rng.gauss(0, 0.3)] for index in rng.sample(range(of), classes)]
        return {"latent": [rng.gauss(0, 1) for _ in range(latent_dim)], "classes": pairs} | more

    def compact(content: Content) -> bytes:
        return json.dumps(content, separators=COMPACT).encode()

    nested = {"name": "ä b", "seen": {"by": [1, {"two": None}, "]}"], "at": 1.5e9}, "truncation": 1}
    spaced = json.dumps(entry(6, 2, 5, truncation=0.7), indent=2).replace("\n", "\r\n").encode()
    three = [entry(6, 1, 5), entry(6, 5, 5, name="mine"), entry(6, 2, 5, truncation=0.05)]
    made = [
        Original("plain", compact(entry(6, 2, 5, truncation=0.7)), 6, 5),
        Original("nested", json.dumps(entry(6, 3, 5, **nested), ensure_ascii=False).encode(), 6, 5),
        Original("spaced", BOM + spaced, 6, 5),
        Original("three", compact(three), 6, 5),
        Original("short", compact(entry(1, 1, 1)), 1, 1),
        Original("no-classes", compact(entry(4, 0, 0)), 4, 0),
        Original("large", compact(entry(128, 1000, 1000)), 128, 1000),
    ]
    if folder := os.environ.get("LATENTJAX_REFERENCE"):
        files = sorted((pathlib.Path(folder) / "artbreeder" / "latents").iterdir())
        made += [Original("published", file.read_bytes(), 128, 1000) for file in files]
    return made


# ---- bytes


def spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def with_junk(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Something before or after the file."""
    junk = rng.choice([b"\0", b"\n", b" \t\r\n", b"\xa0", b"]", b"}", b",", b"//", b"{}", BOM, rng.randbytes(9), other])
    return data + junk if rng.random() < 0.7 else junk + data


def marked(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One byte order mark or several, of UTF-8 or of others, more often than not where they belong."""
    mark = rng.choice([BOM, BOM, BOM * 2, b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", BOM[:2]])
    at = rng.choice([0, 0, rng.randrange(len(data) + 1)])
    return data[:at] + mark + data[at:]


def encoded(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """In another encoding."""
    encoding = rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "latin-1", "utf-8-sig"])
    return data.decode(errors="replace").encode(encoding, errors="replace")


def at_random(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Nothing but noise, of bytes or of JSON's own signs."""
    count = rng.randrange(200)
    return rng.choice([rng.randbytes(count), bytes(rng.choices(b'[]{}:,"0123456789.-eE \\utrfalsn', k=count))])


def other_sign(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A sign of JSON in the place of a byte, or a block of another file."""
    begin, count = span(rng, other)
    new = rng.choice([bytes([rng.choice(b'[]{}:,"0123456789.-eE')]), other[begin : begin + count]])
    at = rng.randrange(len(data))
    return data[:at] + new + data[at + 1 :]


WITH_OTHERS = [spliced, spliced, with_junk, marked, encoded, other_sign, other_sign, other_sign]


def damaged(rng: random.Random, data: bytes, valid: list[Original]) -> bytes:
    """The data after one to three mutations."""
    if rng.random() < 0.02:
        return at_random(rng, data, data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if data and rng.random() < 0.5:
            data = rng.choice(ANYWHERE)(rng, data)
        elif data:
            data = rng.choice(WITH_OTHERS)(rng, data, rng.choice(valid).data)
    return data


# ---- structure


def places(node: Content) -> Iterator[tuple[Any, Any]]:
    """(container, key) of all that is in a container."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)


def entries(content: Content) -> list[dict[str, Any]]:
    """The objects, or a new one if none is left."""
    every = content if isinstance(content, list) else [content]
    return [entry for entry in every if isinstance(entry, dict)] or [{}]


def deep(rng: random.Random) -> str:
    """Arrays or objects within each other, which may lack their ends."""
    depth = rng.choice(DEPTHS)
    begin, inner, end = rng.choice([("[", "", "]"), ("{'a':", "1", "}"), ("[1,{'latent':", "[]", "}]")])
    return RAW + begin * depth + inner + end * (depth - (rng.random() < 0.1))


def other_number(rng: random.Random, content: Content, original: Original) -> Content:
    """One of the numbers is another, unusual or none at all."""
    numbers = [(node, key) for node, key in places(content) if type(node[key]) in (int, float)]
    if numbers:
        node, key = rng.choice(numbers)
        node[key] = RAW + rng.choice(NUMBERS)
    return content


def other_value(rng: random.Random, content: Content, original: Original) -> Content:
    """Anything is something else, or within more brackets than before."""
    root = [content]
    node, key = rng.choice([*places(root)][0 if rng.random() < 0.1 else 1 :] or [(root, 0)])
    other = json.loads(rng.choice(OTHERS))
    node[key] = rng.choice([other, other, [node[key]], {"latent": node[key]}, deep(rng), RAW + rng.choice(NUMBERS)])
    return root[0]


def other_length(rng: random.Random, content: Content, original: Original) -> Content:
    """One of the arrays is longer, shorter, or in another order."""
    root = [content]
    node, key = rng.choice([(node, key) for node, key in places(root) if isinstance(node[key], list)] or [(root, 0)])
    array = list(node[key])
    copied = json.loads(json.dumps(array[:1]))
    others = [array[:-1], array * 2, array[:1] * 5000, array[::-1], array[1:] + array[:1], [], [*array, 0]]
    node[key] = rng.choice([*others, [*array, *copied], rng.sample(array, len(array))])
    return root[0]


def other_key(rng: random.Random, content: Content, original: Original) -> Content:
    """A key twice, missing, or too many."""
    entry = rng.choice(entries(content))
    key = rng.choice([*entry, "latent", "classes", "truncation", "name", "extra"])
    value = rng.choice([entry.get(key, 0), json.loads(rng.choice(OTHERS)), deep(rng), RAW + rng.choice(NUMBERS)])
    way = rng.randrange(4)
    if way == 0:
        entry[key + AGAIN] = value
    elif way == 1:
        entry.pop(key, None)
    elif way == 2:
        entry[rng.choice([key.upper(), key + " ", "", *(name for name in NAMES if type(name) is str)])] = value
    else:
        entry["extra"] = rng.choice([value, {"a": 1, "a" + AGAIN: value}])
    return content


def other_name(rng: random.Random, content: Content, original: Original) -> Content:
    """A name, long, empty, unprintable or like a path; sometimes that of all."""
    name, every = rng.choice(NAMES), entries(content)
    for entry in every if rng.random() < 0.3 else [rng.choice(every)]:
        entry["name"] = name
    return content


def other_truncation(rng: random.Random, content: Content, original: Original) -> Content:
    """A truncation like no other."""
    rng.choice(entries(content))["truncation"] = rng.choice([RAW + rng.choice(NUMBERS), json.loads(rng.choice(OTHERS))])
    return content


def other_classes(rng: random.Random, content: Content, original: Original) -> Content:
    """Class indices at the edges, beyond them, twice, or no integers; all classes; more than there are."""
    count = original.num_classes
    index = rng.choice([0, count - 1, count, -1, 2**31, 2**63, 10**19, 10**30, 0.0, "0", True, None, [0], RAW + "-0"])
    weight = RAW + rng.choice(NUMBERS)
    every = [[i, -i / 3] for i in range(count)]
    pairs = [[[index, 1]], [[index, weight]], [[0, weight]], every, [*every, [index, 0]], [[0, 1], [0, 1]], [["0", 1]]]
    pairs += [RAW + PAIRS, [[0]], [[0, 1, 2]], [{"0": 1}], ["01"], [], [[]]]
    rng.choice(entries(content))["classes"] = rng.choice(pairs)
    return content


def other_scale(rng: random.Random, content: Content, original: Original) -> Content:
    """A latent much longer or shorter than it was, down to zero."""
    entry = rng.choice(entries(content))
    scale = rng.choice([0, 10 ** rng.uniform(-23, -15), 10 ** rng.uniform(15, 22), 10 ** rng.uniform(-60, 60), 1e-160])
    if isinstance(entry.get("latent"), list):
        entry["latent"] = [x * scale if type(x) in (int, float) else x for x in entry["latent"]]
    return content


def many(rng: random.Random, content: Content, original: Original) -> Content:
    """An array of copies, as many as a file may hold among others; with names of their own, or with one name."""
    entry = rng.choice(entries(content))
    if rng.random() < 0.5:
        entry.pop("name", None)
    text = json.dumps(entry, separators=COMPACT)
    room = (MIB - 2) // (len(text) + 1)
    copies = json.loads("[" + ",".join([text] * min(room, rng.choice([2, 10, 300, room, room]))) + "]")
    if "name" in entry and rng.random() < 0.5:
        for i, copied in enumerate(copies):
            copied["name"] = f"n{i}"
    return copies


CHANGES: list[Change] = [
    *(other_number, other_number, other_value, other_value, other_length, other_key, other_key),
    *(other_name, other_truncation, other_classes, other_scale),
]


def structured(rng: random.Random, original: Original) -> bytes:
    """A file that says something else, in JSON for the most part."""
    content = json.loads(original.data.decode("utf-8-sig"))
    changes = [many] if rng.random() < 0.07 else []
    changes += rng.choices(CHANGES, k=rng.choice([1, 1, 1, 2, 3] if not changes else [0, 0, 1]))
    for change in changes:
        if isinstance(content, dict | list):
            content = change(rng, content, original)
    data = as_written(rng, content)
    if rng.random() < 0.05:
        data = data.ljust(MIB + rng.choice([-1, 0, 0, 1, MIB]), rng.choice([b" ", b"\n", b"1"]))
    return BOM + data if rng.random() < 0.1 else data


def as_written(rng: random.Random, content: Content) -> bytes:
    """JSON, but for what RAW and AGAIN stand before and after."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5, separators=rng.choice([None, COMPACT, COMPACT]))
    text = re.sub(r'"\\u0002([^"]*)"', lambda match: json.loads(f'"{match[1]}"').replace("'", '"'), text)
    return text.replace(r"\u0001", "").encode(errors="surrogatepass")


def mutant(valid: list[Original], seed: int, form: str, index: int) -> Mutant:
    """The mutant of this form and number; the same for the same seed and the same valid files."""
    rng = random.Random(f"{seed} {form} {index}")
    made = [each for each in valid if each.name != "published"]
    original = rng.choice(made if rng.random() < 0.7 else valid)
    if form == "structured":
        return Mutant(original, form, structured(rng, original))
    return Mutant(original, form, damaged(rng, original.data, valid))
