"""A fixed part of the fuzzing, and that it notices what it is there to notice."""

import dataclasses
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from latentjax import artbreeder, latents
from latentjax.errors import InputError
from tests import damaged_latents, fuzz_latents

READ = latents.read


@pytest.fixture(autouse=True)
def made_here_only(monkeypatch):
    monkeypatch.delenv("LATENTJAX_REFERENCE", raising=False)


def fuzzed(aside, form, count, seed=0, first=0):
    return fuzz_latents.fuzz(seed, [(form, index) for index in range(first, first + count)], aside)


@pytest.mark.parametrize(("form", "count"), [("bytes", 1000), ("structured", 60)])
def test_damaged_latents_are_read_rightly_or_refused(tmp_path, form, count):
    outcomes, failures = fuzzed(tmp_path, form, count)
    assert not failures
    assert not list(tmp_path.iterdir())
    assert outcomes.total() == count
    assert outcomes[form, "refused"] > count / 4
    assert outcomes[form, "read"] > count / 20


def test_a_seed_makes_the_same_mutants_again():
    one, other = damaged_latents.originals(), damaged_latents.originals()
    assert one == other
    for form in damaged_latents.FORMS:
        mutants = [damaged_latents.mutant(one, 3, form, index) for index in range(40)]
        assert mutants == [damaged_latents.mutant(other, 3, form, index) for index in range(40)]
        assert mutants != [damaged_latents.mutant(one, 4, form, index) for index in range(40)]


def test_mutants_are_of_many_kinds():
    valid = damaged_latents.originals()
    mutants = [damaged_latents.mutant(valid, 0, "structured", index).data for index in range(300)]
    assert len(set(mutants)) > 270
    for text in (b"NaN", b"Infinity", b"1e400", b"5e-324", b"[[[[[[", b"9" * 4000, b"x" * 120, b'"classes":[]', b"-0"):
        assert any(text in data for data in mutants), text
    assert any(len(data) > damaged_latents.MIB for data in mutants)
    assert any(data.count(b'"latent"') > 1000 for data in mutants)
    assert any(data.startswith(damaged_latents.BOM) for data in mutants)


def test_the_plain_reading_takes_all_valid_files_and_the_reader_too(tmp_path):
    path = tmp_path / "mutant.json"
    for original in damaged_latents.originals():
        path.write_bytes(original.data)
        points, sure = fuzz_latents.plain(original.data, original.latent_dim, original.num_classes)
        assert sure
        assert points == fuzz_latents.found(path, original.latent_dim, original.num_classes)


GOOD = {"latent": [1, -0.25], "classes": [[2, 0.1], [0, -3]], "truncation": 0.5}


def written(**changes):
    return json.dumps(GOOD | changes).encode()


def test_the_plain_reading_gives_what_is_written():
    ((point,), sure) = fuzz_latents.plain(written(name="a\nb"), 2, 3)
    assert sure
    assert (point.name, point.truncation) == ("a_b", 0.5)
    assert point.z == np.array([1, -0.25], np.float32).tobytes()
    assert point.y == np.array([-3, 0, 0.1], np.float32).tobytes()


@pytest.mark.parametrize(
    "data",
    [
        written(latent=[1]),
        written(latent=[1, True]),
        written(latent=[1, 1e39]),
        written(latent=[0, 0]),
        written(latent=[1e20, 0]),
        written(latent=[float("nan"), 1]),
        written(classes=[]),
        written(classes=[[3, 1]]),
        written(classes=[[1.0, 1]]),
        written(classes=[[1, 1], [1, 1]]),
        written(truncation=1.5),
        written(truncation=None),
        written(name=""),
        written()[:-1] + b', "truncation": 0.5}',
        b"[]",
        b"[" + b", ".join([written(name="a/b"), written(name="a?b")]) + b"]",
        b"[" * 100_000,
        written().ljust(2**20 + 1),
        written().decode().encode("utf-16"),
    ],
)
def test_the_plain_reading_refuses_what_the_rules_do(data):
    with pytest.raises(ValueError):  # noqa: PT011, as every sort of it counts
        fuzz_latents.plain(data, 2, 3)


def test_the_plain_reading_takes_no_side_where_rounding_and_the_stack_decide():
    assert not fuzz_latents.plain(written(extra=json.loads("[" * 250 + "]" * 250)), 2, 3)[1]
    assert not fuzz_latents.plain(written(latent=[float(np.finfo(np.float32).max) ** 0.5, 0]), 2, 3)[1]


# ---- a reader with faults


def passing_on(error):
    """Another exception where a file is refused."""

    def read(*arguments):
        try:
            return READ(*arguments)
        except InputError:
            raise error from None

    return read


def swallowing(*arguments):
    """A refusal that is lost."""
    try:
        return READ(*arguments)
    except InputError:
        return []


def refusing(path, *sizes):
    raise InputError(path, "is bad", "mend it")


def hanging(*arguments):
    begin = time.process_time()
    while time.process_time() < begin + 20:
        pass
    return READ(*arguments)


def changing(**changes):
    """Other values in each latent."""

    def read(*arguments):
        points = READ(*arguments)
        return [
            dataclasses.replace(point, **{key: change(point) for key, change in changes.items()}) for point in points
        ]

    return read


def next_z(point):
    """The last number is another by one bit."""
    z = point.z.copy()
    z[-1] = np.nextafter(z[-1], np.float32(np.inf))
    return z


FAULTS = {
    "another exception": (passing_on(KeyError("latent")), "KeyError: 'latent'"),
    "no memory": (passing_on(MemoryError("all gone")), "MemoryError: all gone"),
    "too deep": (passing_on(RecursionError("deep")), "RecursionError: deep"),
    "several lines": (passing_on(InputError("a", "b\nc", "d")), "not one printable line"),
    "a long line": (passing_on(InputError("a", "b" * 3000, "d")), "the message is long"),
    "a swallowed error": (swallowing, "a bad file is read"),
    "all refused": (refusing, "a good file is refused"),
    "none returned": (lambda *arguments: READ(*arguments)[1:], "other latents"),
    "a wrong number": (changing(z=next_z), "other latents"),
    "a wrong weight": (changing(y=lambda point: point.y + np.float32(1)), "other latents"),
    "float64": (changing(z=lambda point: point.z.astype(np.float64)), "not float32"),
    "another shape": (changing(y=lambda point: point.y[None]), "another shape"),
    "another name": (changing(name=lambda point: point.name + "_"), "other latents"),
    "a truncation made up": (changing(truncation=lambda point: point.truncation or 1.0), "other latents"),
    "another source": (changing(source=lambda point: {"file": "mutant.json"}), "other latents"),
    "time": (hanging, "seconds of the processor"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_is_noticed_and_kept(tmp_path, monkeypatch, fault):
    read, said = FAULTS[fault]
    monkeypatch.setattr(latents, "read", read)
    if read is hanging:
        monkeypatch.setattr(fuzz_latents, "SECONDS", 0.1)
    outcomes, failures = fuzzed(tmp_path, "bytes", 3 if read is hanging else 60, seed=1, first=100)
    assert failures
    assert outcomes["bytes", "failed"] == len(failures)
    valid = damaged_latents.originals()
    for failure in failures:
        assert said in failure.what
        assert failure.path.endswith(f"-bytes-1-{failure.index}")
        kept = pathlib.Path(failure.path).read_bytes()
        assert kept == damaged_latents.mutant(valid, 1, "bytes", failure.index).data


LENIENT = {
    "doubled keys": ({"_parse": lambda data, where: json.loads(data.decode("utf-8-sig"))}, "other_key"),
    "numbers of any type": ({"_number": lambda value, label, where: float(value)}, "other_truncation"),
    "infinite numbers": ({"_TO_INFINITY": np.inf, "_FLOAT32_MAX": np.inf}, "other_number"),
    "a mebibyte": ({"MAX_BYTES": 2**23}, "other_name"),
    "names that are one": ({"_claims": lambda found, where, taken: {}}, "other_name"),
    "too long vectors": ({"_FLOAT32_MAX": np.inf}, "other_scale"),
    "too short vectors": ({"_FLOAT32_MIN": 0.0}, "other_scale"),
}


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("rule", LENIENT)
def test_a_rule_that_the_reader_forgets_is_noticed(tmp_path, monkeypatch, rule):
    forgotten, change = LENIENT[rule]
    monkeypatch.setattr(damaged_latents, "CHANGES", [getattr(damaged_latents, change)])
    for name, value in forgotten.items():
        monkeypatch.setattr(artbreeder, name, value)
    _, failures = fuzzed(tmp_path, "structured", 60)
    assert any("a bad file is read" in failure.what for failure in failures)


# ---- the command


def test_the_time_ends_the_fuzzing():
    counts = {"structured": 2, "bytes": 10**12}
    assert list(fuzz_latents.numbered(5, counts, -1)) == []
    assert list(itertools.islice(fuzz_latents.numbered(5, counts, np.inf), 4)) == [
        ("structured", 5), ("structured", 6), ("bytes", 5), ("bytes", 6),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_tells_the_counts_and_ends_with_0():
    arguments = [sys.executable, "-m", "tests.fuzz_latents", "--mutants=30", "--structured=5", "--seed=5"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(
        r"35 mutants of seed 5, \d+ a second: bytes \d+ refused, .*; structured .* 0 failed\n$", done.stdout
    )


HUNGRY = """
import sys, numpy
from tests import fuzz_latents
from latentjax import latents
latents.read = lambda *_: numpy.empty(2**30, numpy.uint8)
sys.exit(fuzz_latents.main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="needs Linux to limit memory")
def test_the_command_limits_memory_and_tells_how_failures_are_made_again(tmp_path):
    arguments = [sys.executable, "-c", HUNGRY, "--mutants=1", "--structured=1", "--seed=5", "--first=7"]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (1, "")
    *lines, last = done.stdout.splitlines()
    for form, again, line in zip(
        ("structured", "bytes"), ("--mutants=0 --structured=1", "--mutants=1 --structured=0"), lines, strict=True
    ):
        assert re.fullmatch(rf"\S+-{form}-5-7: .*MemoryError.*; again: {again} --seed=5 --first=7", line)
        assert pathlib.Path(line.split(": ")[0]).is_relative_to(tmp_path)
    assert last.startswith("2 mutants of seed 5, ")
