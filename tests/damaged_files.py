"""Damage to valid files, each by a number."""

import functools
import io
import json
import pickletools
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.valid_files import Original

NUMBERS = [*(0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 4095, 65535, 65536), *((1 << n) - 1 for n in (31, 32, 63, 64))]
NUMBERS += [1 << n for n in (20, 24, 29, 30, 31, 32, 40, 62, 63)]
OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
DTYPES = b"F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL F8_E4M3 C64 F4 X".split()
RECORDS = {b"PK\x03\x04": 30, b"PK\x01\x02": 46, b"PK\x05\x06": 22}  # a zip file's, with the sizes of their fields

Mutation = Callable[[random.Random, bytes], bytes]


class Mutant(NamedTuple):
    """A damaged file."""

    original: Original
    form: str  # the original's, or "resealed"
    data: bytes


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Some bits turned over."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    """Some bytes in a row replaced."""
    begin, count = span(rng, data)
    filling = rng.choice([bytes(count), b"\xff" * count, rng.randbytes(count)])
    return data[:begin] + filling + data[begin + count :]


def cut(rng: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def removed(rng: random.Random, data: bytes) -> bytes:
    """A block is missing."""
    begin, count = span(rng, data)
    return data[:begin] + data[begin + count :]


def inserted(rng: random.Random, data: bytes) -> bytes:
    """A block too many."""
    begin, count = span(rng, data)
    return data[:begin] + rng.randbytes(count) + data[begin:]


def duplicated(rng: random.Random, data: bytes) -> bytes:
    """A block twice, one after the other or one over another."""
    begin, count = span(rng, data)
    to = rng.choice([begin, rng.randrange(len(data))])
    return data[:to] + data[begin : begin + count] + data[to + rng.choice([0, count]) :]


def swapped(rng: random.Random, data: bytes) -> bytes:
    """Two blocks of one size in each other's place."""
    begin, count = span(rng, data)
    other = rng.randrange(len(data))
    (a, b), count = sorted((begin, other)), min(count, abs(begin - other), len(data) - max(begin, other))
    return data[:a] + data[b : b + count] + data[a + count : b] + data[a : a + count] + data[b + count :]


def span(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Begin and length of a block, short more often than long."""
    begin = rng.randrange(len(data))
    return begin, min(len(data) - begin, int(2 ** rng.uniform(0, 9)))


def other_operation(rng: random.Random, data: bytes) -> bytes:
    """One operation of the pickles changed: its code, its place, its number."""
    found = operations(data)
    if len(found) < 3:
        return flipped(rng, data)
    at = rng.randrange(len(found) - 1)
    (opcode, arg, begin), (_, _, end) = found[at], found[at + 1]
    way = rng.randrange(6)
    if type(arg) is int and way < 3 and opcode.name.startswith(("BININT", "LONG")):
        number = rng.choice([*NUMBERS, -1, arg + 1, arg - 1, 2 * arg, -arg])
        return data[:begin] + written(number) + data[end:]
    if way < 3:
        return data[:begin] + rng.choice(OPCODES) + data[begin + 1 :]
    if way == 3:
        return data[:begin] + data[end:]
    other = rng.randrange(len(found) - 1)
    piece = data[found[other][2] : found[other + 1][2]]
    return data[:begin] + piece + data[begin if way == 4 else end :]


def written(number: int) -> bytes:
    """An integer as a pickle has it."""
    size = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


@functools.lru_cache(100)
def operations(data: bytes) -> list[tuple[Any, Any, int]]:
    """(opcode, argument, position) of a row of pickles, as far as they can be read."""
    found, stream = [], io.BytesIO(data)
    try:
        while data[stream.tell() : stream.tell() + 1] == b"\x80":
            found += pickletools.genops(stream)
    except ValueError:
        pass
    return found


def other_size(rng: random.Random, data: bytes) -> bytes:
    """One field of the zip's records, or the length at the beginning, says another number."""
    found = [(match.start(), match[0]) for match in re.finditer(b"PK(\x03\x04|\x01\x02|\x05\x06)", data)]
    begin, width = 0, 8
    if found:
        record, signature = rng.choice(found)
        begin, width = record + rng.randrange(4, RECORDS[signature] - 1), rng.choice([2, 4, 4, 8])
    number = rng.choice([*NUMBERS, int.from_bytes(data[begin : begin + width], "little") + rng.choice([-8, -1, 1, 8])])
    return data[:begin] + (number % (1 << 8 * width)).to_bytes(width, "little") + data[begin + width :]


def other_count(rng: random.Random, data: bytes) -> bytes:
    """A legacy file's count before some numbers says another one."""
    found = operations(data)
    end = found[-1][2] + 1 if found else 0
    if len(data) - end < 8:
        return flipped(rng, data)
    begin = end + 4 * rng.randrange((len(data) - end) // 4)
    return data[:begin] + rng.choice(NUMBERS).to_bytes(8, "little") + data[begin + 8 :]


def other_entry(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file one tensor of which has another name, shape or dtype that fits its bytes."""
    try:
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        name, entry = rng.choice(list(header.items()))
        widths = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}
        size = entry["data_offsets"][1] - entry["data_offsets"][0]
        dtype = rng.choice([each for each, width in widths.items() if size % width == 0])
        count = size // widths[dtype]
        shape = rng.choice([entry["shape"][::-1], [count], [1, count], [count, 1], [0, count]])
        entry |= rng.choice([{"dtype": dtype, "shape": [count]}, {"shape": shape}])
        header[rng.choice([name, name, name + "x", *header])] = header.pop(name)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return flipped(rng, data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def other_header(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file's header says something else, and its length is right again more often than not."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end]
    pattern, choices = rng.choice(
        [
            (rb"-?\d+", [b"%d" % rng.choice([*NUMBERS, -1])]),
            (rb'(?<="dtype":")\w+', DTYPES),
            (rb'"[^"]*"', re.findall(rb'"[^"]*"', header)),
            (rb'[{}\[\]:,"]', [b"{", b"}", b"[", b"]", b":", b",", b'"', b"[" * 5000, b'"a":']),
        ]
    )
    found = [match.span() for match in re.finditer(pattern, header)]
    if not found:
        return flipped(rng, data)
    begin, stop = rng.choice(found)
    header = header[:begin] + rng.choice(choices) + header[stop:]
    return (len(header).to_bytes(8, "little") if rng.random() < 0.8 else data[:8]) + header + data[end:]


ANYWHERE: list[Mutation] = [flipped, flipped, overwritten, cut, removed, inserted, duplicated, swapped]
OF_FORM: dict[str, list[Mutation]] = {
    "zip": [*ANYWHERE, other_size, other_size],
    "legacy": [*ANYWHERE, *[other_operation] * 6, other_count],
    "safetensors": [*ANYWHERE, *[other_header] * 4, *[other_entry] * 4, other_size],
    "resealed": [flipped, overwritten, removed, duplicated, swapped, *[other_operation] * 12],
}


def damaged(rng: random.Random, form: str, data: bytes) -> bytes:
    """The data after one to three mutations."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if data:
            data = rng.choice(OF_FORM[form])(rng, data)
    return data


def resealed(rng: random.Random, data: bytes) -> bytes:
    """A zip file one member of which is damaged, with a checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    pickled = next(name for name in members if name.endswith("/data.pkl"))
    name = pickled if rng.random() < 0.9 else rng.choice(list(members))
    members[name] = damaged(rng, "resealed", members[name])
    if rng.random() < 0.05:
        members[damaged(rng, "resealed", name.encode()).decode("latin-1").replace("\0", "_")] = members.pop(name)
    sealed = io.BytesIO()
    with zipfile.ZipFile(sealed, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return sealed.getvalue()


def mutant(valid: list[Original], seed: int, index: int) -> Mutant:
    """The mutant of this number; the same for the same seed."""
    rng = random.Random(f"{seed} {index}")
    # a large file takes ten times as long
    (original,) = rng.choices(valid, [1 if len(each.data) < 100_000 else 0.25 for each in valid])
    form = "resealed" if original.form == "zip" and rng.random() < 0.6 else original.form
    data = resealed(rng, original.data) if form == "resealed" else damaged(rng, form, original.data)
    return Mutant(original, form, data)
