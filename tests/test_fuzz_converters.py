"""A fixed part of the fuzzing, and that it notices what it is there to notice."""

import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import converters
from converters import kinds, torch_file
from latentjax.errors import InputError
from tests import damaged_files, fuzz_converters, valid_files

READ = torch_file.read


def fuzzed(tmp_path, count, seed=0, first=0):
    return fuzz_converters.fuzz(seed, first, iter(range(count)), tmp_path)


def test_damaged_files_are_read_rightly_or_refused(tmp_path):
    outcomes, failures = fuzzed(tmp_path, 500)
    assert not failures
    assert not list(tmp_path.iterdir())
    assert outcomes.total() == 500
    for form in damaged_files.OF_FORM:
        assert outcomes[form, "refused"] > 20
    assert outcomes["zip", "same"] > 5
    assert outcomes["zip", "other"] == 0
    assert all(outcomes[form, "other"] for form in ("legacy", "safetensors", "resealed"))


def test_a_seed_makes_the_same_mutants_again(tmp_path):
    def some():
        return valid_files.originals(tmp_path, lambda path: torch_file.state_dict(torch_file.read(path)))

    one, other = some(), some()
    assert [(each.name, each.form, each.data) for each in one] == [(each.name, each.form, each.data) for each in other]
    mutants = [damaged_files.mutant(one, 3, index).data for index in range(60)]
    assert mutants == [damaged_files.mutant(other, 3, index).data for index in range(60)]
    assert mutants != [damaged_files.mutant(one, 4, index).data for index in range(60)]


def test_valid_files_of_every_cheap_kind_are_converted(tmp_path):
    found = set()
    for original in valid_files.originals(tmp_path, lambda path: {}):
        (tmp_path / "valid").write_bytes(original.data)
        file, state, prefix = converters.opened(tmp_path / "valid")
        if kinds.recognised(state):
            converters.network_in(file, state, prefix, None, fuzz_converters.OPTIONS)
            found.add((kinds.infer_kind(state, "valid"), original.form))
    forms = ("zip", "legacy", "safetensors")
    kinds_made = ("biggan", "biggan_deep", "biggan_pytorch", "dcgan", "transformer")
    assert found == {(kind, form) for kind in kinds_made for form in forms}


def raising(error):
    """A reader that passes on what it should turn into an InputError."""

    def read(path):
        try:
            return READ(path)
        except InputError:
            raise error from None

    return read


def wrong(path):
    """A reader to which checksums mean nothing."""
    file = READ(path)
    if path.name == "mutant" and isinstance(file.root, dict):
        file.root["more"] = np.zeros(1)
    return file


def slow(path):
    """A reader that hangs."""
    begin = time.process_time()
    while path.name == "mutant" and time.process_time() < begin + 20:
        pass
    return READ(path)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (raising(ValueError("odd")), "ValueError: odd"),
        (raising(InputError("a", "b\nc", "d")), "several lines"),
        (raising(InputError("a", "does not fit into memory", "d")), "does not fit into memory"),
        (wrong, "in spite of the checksums"),
        (slow, "seconds of the processor"),
    ],
    ids=["exception", "lines", "memory", "values", "time"],
)
def test_what_goes_wrong_is_noticed_and_kept(tmp_path, monkeypatch, read, said):
    monkeypatch.setattr(torch_file, "read", read)
    if read is slow:
        monkeypatch.setattr(fuzz_converters, "SECONDS", 0.2)
    outcomes, failures = fuzzed(tmp_path, {slow: 3, wrong: 300}.get(read, 20), seed=1, first=100)
    valid = valid_files.originals(tmp_path, lambda path: {})
    assert failures
    assert sum(count for (_, found), count in outcomes.items() if found == "failed") == len(failures)
    for failure in failures:
        assert said in failure.what
        assert 100 <= failure.index < 400
        with open(failure.path, "rb") as kept:
            assert failure.path.endswith(f"-1-{failure.index}")
            assert kept.read() == damaged_files.mutant(valid, 1, failure.index).data


@pytest.mark.slow
def test_the_command_tells_the_counts_and_ends_with_0():
    arguments = [sys.executable, "-m", "tests.fuzz_converters", "--count=30", "--seed=5", "--minutes=2"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"30 mutants of seed 5, \d+ a second: zip \d+ refused, .*; resealed .*, 0 failed\n$", done.stdout)


HUNGRY = """
import sys, numpy
from converters import torch_file
from tests import fuzz_converters
read = torch_file.read
def hungry(path):
    try:
        numpy.empty(10**9 if path.name == "mutant" else 1, numpy.uint8)
    except MemoryError:
        raise torch_file.InputError(path, "does not fit into memory", "") from None
    return read(path)
torch_file.read = hungry
sys.exit(fuzz_converters.main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="needs Linux to limit memory")
def test_the_command_limits_memory_and_tells_failures(tmp_path):
    arguments = [sys.executable, "-c", HUNGRY, "--count=2", "--seed=5", "--first=7", "--minutes=2"]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "")
    *lines, last = done.stdout.splitlines()
    for index, line in zip((7, 8), lines, strict=True):
        assert re.fullmatch(rf"\S+-5-{index}: .*does not fit into memory.* \(.*, seed 5, index {index}\)", line)
        assert pathlib.Path(line.split(": ")[0]).is_relative_to(tmp_path)
    assert last.startswith("2 mutants of seed 5, ")
