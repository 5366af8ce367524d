"""Files made to do harm end in one line, within a second and without a gigabyte."""

import copy
import json
import pathlib
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import pytest
import torch
from torch import nn

from converters import convert, dcgan, torch_file
from converters.oracles.dcgan import DCGAN
from converters.torch_pickle import MAX_PICKLE
from tests.torch_files import ClaimedTensor, claimed, refused, save, write_legacy, write_safetensors, write_zip

ROOT = pathlib.Path(__file__).parent.parent
GIGABYTES = 1 << 31  # two
TEN_THOUSAND = 10_000
MODULE = (
    b"ca\nM\n)\x81}(X\x0b\0\0\0_parameters}X\x08\0\0\0_buffers}X\x08\0\0\0_modules}%bub"  # its children in the hole
)


def deflated(path):
    """A hundred megabytes in a hundred kilobytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", claimed(ClaimedTensor(1 << 24, 0, (1 << 24,), (1,))))
        archive.writestr("archive/data/0", bytes(100 << 20))


def overlapping(path):
    """One member, found under a thousand names."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(100_000))
        for number in range(1, 1000):
            again = copy.copy(archive.getinfo("archive/data/0"))
            again.filename = f"archive/data/{number}"
            archive.filelist.append(again)


def patched(path, signature, offset, value=b"\xff\xff\xff\x7f"):
    """A zip file in whose first record of a kind one field claims two gigabytes."""
    data = bytearray(write_zip(path, claimed(ClaimedTensor(24, 0, (24,), (1,))), [bytes(96)]).read_bytes())
    begin = data.index(signature) + offset
    data[begin : begin + len(value)] = value
    path.write_bytes(data)


def pickled(program):
    """The same pickle in a zip and in a legacy file."""
    return {
        "zip": lambda path: write_zip(path, b"\x80\x04" + program),
        "legacy": lambda path: write_legacy(path, b"\x80\x04" + program),
    }


def expanded(new):
    """Three hundred tensors of sixteen megabytes, all of one number."""
    tensors = [ClaimedTensor(24, 0, (1 << 22,), (0,), () if new else (None,)) for _ in range(300)]
    if new:
        return lambda path: write_zip(path, claimed(*tensors), [bytes(96)])
    return lambda path: write_legacy(path, claimed(*tensors), storages=[bytes(96)])


def by_many_names(path):
    """One tensor of sixteen megabytes, all of one number, under two hundred names: gigabytes once it is converted."""
    tensor = torch.zeros(1, 1).expand(1, 1 << 22)
    save(path, {f"directions.{n}": tensor for n in range(200)})


def shaped(shape, stride=(1,)):
    """A tensor of impossible sizes."""
    return lambda path: write_zip(path, claimed(ClaimedTensor(24, 0, shape, stride)), [bytes(96)])


def tower(path, doubled=False, height=40):
    """Modules in modules; doubled, each holds the next one twice."""
    module = nn.Module()
    for _ in range(height):
        outer = nn.Module()
        outer._modules = {"a": module, "b": module} if doubled else {"a": module}
        module = outer
    save(path, module)


def in_itself(path):
    """A module that is its own part."""
    module = nn.Module()
    module._modules["again"] = module
    save(path, module)


def many_holes(path):
    """A thousand modules, each with the same hundred thousand absent parameters."""
    inner = nn.Module()
    inner._parameters = {f"{number:x}": None for number in range(100_000)}
    outer = nn.Module()
    for number in range(1000):
        module = nn.Module()
        module._parameters = inner._parameters
        outer._modules[str(number)] = module
    save(path, outer)


def long_names(path):
    """A name of a hundred kilobytes, at every level of a tower."""
    module = nn.Module()
    for _ in range(30):
        outer = nn.Module()
        outer._modules = {"a" * 100_000: module}
        module = outer
    save(path, module)


def program(text):
    """A zip file with this pickle."""
    return lambda path: write_zip(path, b"\x80\x02" + text)


def nested_json(path):
    """A header of lists in lists, well inside the length that it states."""
    write_safetensors(path, b'{"a":' + b"[" * TEN_THOUSAND)


def tensors_of_safetensors(**claims):
    """One tensor of eight bytes that claims something else."""
    return lambda path: write_safetensors(path, {"a": ENTRY | claims}, bytes(8))


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
MODEL = b"X\x05\0\0\0model"
CALL = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00"
LONG = b"\x8b" + struct.pack("<i", 100_000) + b"\x01" * 100_000

HOSTILE = {
    "bomb": (deflated, "compressed members"),
    "overlapping members": (overlapping, "members overlap"),
    "unsafe name": (lambda path: write_zip(path, b"\x80\x02}.", extra=[("archive/../../x", b"")]), "unsafe name"),
    "absolute name": (lambda path: write_zip(path, b"\x80\x02}.", extra=[("/etc/x", b"")]), "unsafe name"),
    # two gigabytes claimed in a kilobyte
    "member": (lambda path: patched(path, b"PK\x01\x02", 20, b"\xff\xff\xff\x7f" * 2), "members overlap or are cut"),
    "directory": (lambda path: patched(path, b"PK\x05\x06", 12), "damaged"),
    "directory's place": (lambda path: patched(path, b"PK\x05\x06", 16), "damaged directory"),
    "member's place": (lambda path: patched(path, b"PK\x01\x02", 42), "damaged directory"),
    "member's name": (lambda path: patched(path, b"PK\x03\x04", 26, b"\xff\xff"), "damaged"),
    "storage": (program(claimed(ClaimedTensor(1 << 29, 0, (1 << 29,), (1,)))[2:]), "lacks its member"),
    "storage, legacy": (
        lambda path: write_legacy(path, claimed(ClaimedTensor(1 << 29, 0, (4,), (1,), (None,))), storages=[bytes(96)]),
        "larger than the file",
    ),
    "stride of 0": (shaped((1 << 29,), (0,)), "expanded far beyond"),
    "one tensor by many names": (by_many_names, "names the same tensors again and again"),
    "three hundred strides of 0": (expanded(True), "expanded far beyond"),
    "three hundred strides of 0, legacy": (expanded(False), "expanded far beyond"),
    **{
        f"{name}, {form}": (write, "cut short|damaged")
        for name, text in {
            "text": b"X\xff\xff\xff\x7f",
            "long text": b"\x8d" + struct.pack("<Q", GIGABYTES),
            "bytes": b"B\xff\xff\xff\x7f",
            "long bytes": b"\x8e" + struct.pack("<Q", GIGABYTES),
            "integer": b"\x8b\xff\xff\xff\x7f",
            "frame": b"\x95" + struct.pack("<Q", GIGABYTES),
            "endless line": b"S" + b"'" * 1000,
        }.items()
        for form, write in pickled(text).items()
    },
    "header": (lambda path: write_safetensors(path, b"{}", bytes(1000), GIGABYTES), "header of more"),
    "header beyond all": (lambda path: write_safetensors(path, b"{}", bytes(1000), (1 << 64) - 1), "header of more"),
    "header beyond the file": (lambda path: write_safetensors(path, b"{}", bytes(1000), 5000), "damaged"),
    "tensor": (tensors_of_safetensors(shape=[1 << 29], data_offsets=[0, GIGABYTES]), "damaged"),
    "tensor's shape": (tensors_of_safetensors(shape=[1 << 29]), "damaged"),
    # storages and strides
    "overrun": (shaped((25,)), "overruns its storage"),
    "negative stride": (shaped((4,), (-1,)), "impossible sizes"),
    "negative size": (shaped((-4,)), "impossible sizes"),
    "integers of megabits": (shaped((1 << 10**5,) * 64, (1 << 10**5,) * 64), "impossible sizes"),
    "a hundred thousand dimensions": (shaped((1,) * 100_000, (1,) * 100_000), "impossible sizes"),
    "sizes without end": (shaped((0, *(1 << 62,) * 60), (1,) * 61), "damaged"),
    "overlapping tensors": (
        lambda path: write_safetensors(path, dict.fromkeys("ab", ENTRY), bytes(8)),
        "invalid offset",
    ),
    # cycles
    "list in itself": (program(b"]q\x00h\x00a."), "type list"),
    "dict in itself": (program(b"}q\x00" + MODEL + b"h\x00s."), "something of type dict at 'model'"),
    "stub in itself": (program(b"ca\nb\n)\x81q\x00h\x00b."), "type a.b"),
    "module in itself": (in_itself, "nested without end"),
    # depth
    "lists in lists": (program(b"]" * TEN_THOUSAND + b"a" * (TEN_THOUSAND - 1) + b"."), "type list"),
    "tuples in tuples": (program(b")" + b"\x85" * TEN_THOUSAND + b"."), "type tuple"),
    "dicts in dicts": (program((b"}" + MODEL) * TEN_THOUSAND + b"}" + b"s" * TEN_THOUSAND + b"."), "dict at 'model'"),
    "stubs in stubs": (program(b"ca\nb\n" * TEN_THOUSAND + b")" + b"\x85R" * TEN_THOUSAND + b"."), "type a.b"),
    "a key of tuples": (program(b"})" + b"\x85" * TEN_THOUSAND + b"Ns."), "a key that is not"),
    "calls in calls": (
        program(CALL + b"(h\x00N" * TEN_THOUSAND + b")" + b"Nt" * TEN_THOUSAND + b"R."),
        "damaged .RecursionError",
    ),
    "modules in modules": (lambda path: tower(path, height=60), "nested without end"),
    "modules in pairs": (lambda path: tower(path, doubled=True), "nested without end"),
    "lists in a header": (nested_json, "damaged"),
    # what a small file could repeat
    "many absent parameters": (many_holes, "more than 20000 tensors"),
    "long names in a tower": (long_names, "impossible name"),
    "a number as a name": (
        program(b"ca\nM\n)\x81}(X\x0b\0\0\0_parameters}" + LONG + b"NsX\x08\0\0\0_buffers}X\x08\0\0\0_modules}ub."),
        "not a name or a number|impossible name",
    ),
    "a long integer as a key": (program(b"}" + LONG + b"Ns."), "not a name or a number"),
    "a million digits": (program(b"L" + b"9" * 1_000_000 + b"L\n."), "damaged"),
    "a large pickle": (program(b"]" * (MAX_PICKLE + 1) + b"."), "MB of pickles"),
    "a large pickle, legacy": (
        lambda path: write_legacy(path, b"\x80\x02" + b"N0" * (MAX_PICKLE // 2) + b"}."),
        "MB of pickles",
    ),
    "an optimiser": (lambda path: save(path, {"state": {}, "param_groups": []}), "optimiser's state"),
}
# at the limit of size, and so slower than the others
STUFFED = {"sets": b"\x8f", "lists": b"]", "memo": b"N\x94", "marks": b"("}


def tensors(path):
    """All that a conversion reads of a file before it knows its architecture."""
    return torch_file.state_dict(torch_file.read(path))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_within_a_second_and_without_its_memory(tmp_path, name):
    write, match = HOSTILE[name]
    path = tmp_path / "a.pth"
    write(path)
    begin = time.process_time()
    line = refused(path, match, tensors)
    seconds = time.process_time() - begin
    tracemalloc.start()  # makes it some times slower
    try:
        refused(path, match, tensors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(line) < 600
    assert "fit into memory" not in line
    assert seconds < 1
    assert peak < 100_000_000


def test_a_dcgan_of_thousands_of_layers_is_refused_within_a_second(tmp_path):
    state = {f"main.{2 * n}.weight": torch.zeros(2, 2, 4, 4) for n in range(2000)}
    state |= {f"main.{2 * n + 1}.running_mean": torch.zeros(2) for n in range(1999)}
    path = save(tmp_path / "a.pth", state)
    begin = time.process_time()
    refused(path, "has 2000 convolutions, more than", lambda path: convert(path, tmp_path / "model", num_classes=1))
    assert time.process_time() - begin < 2


def test_thousands_of_directions_are_refused_within_a_second(tmp_path):
    path = save(tmp_path / "a.pth", {f"directions.{n}": torch.zeros(1, 4) for n in range(2000)})
    begin = time.process_time()
    refused(path, "has more than 1,000 directions", lambda path: convert(path, tmp_path / "model"))
    assert time.process_time() - begin < 2


def test_a_dcgan_of_as_many_layers_as_it_may_have_is_converted(tmp_path):
    largest = DCGAN(2, 1, [1] * (dcgan.MAX_CONVS - 1))
    save(tmp_path / "a.pth", largest.state_dict())
    assert len(convert(tmp_path / "a.pth", tmp_path / "model", num_classes=1)["config"]["widths"]) == 11


COMMAND = """
import json, resource, sys, time
from converters import __main__ as command
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = int(status["VmSize"].split()[0]) * 1024 + 10**9
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.stdin.read().splitlines():
    begin = time.process_time()
    sys.argv = ["converters", path, path + ".model"]
    code = command.main()
    print(json.dumps([path, code, time.process_time() - begin]), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux to limit memory")
def test_the_command_refuses_all_of_them_with_exit_code_2_and_less_than_a_gigabyte(tmp_path):
    for name, (write, _) in HOSTILE.items():
        write(tmp_path / name)
    for name, byte in STUFFED.items():
        write_zip(tmp_path / f"many {name}", b"\x80\x04" + byte * ((MAX_PICKLE - 3) // len(byte)) + b".")
    files = sorted(path for path in tmp_path.iterdir())
    names = "\n".join(map(str, files))
    done = subprocess.run([sys.executable, "-c", COMMAND], input=names, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(files)
    for path, line, record in zip(files, lines[::2], lines[1::2], strict=True):
        assert line.startswith(f"error: {path}: "), line
        assert "fit into memory" not in line, line
        assert json.loads(record)[:2] == [str(path), 2]
        assert json.loads(record)[2] < (15 if path.name.startswith("many ") else 2), record
    assert sorted(tmp_path.iterdir()) == files
