"""The soak in small, and that it sees memory that grows."""

import sys

import pytest

from tests import soak, tiny_runs
from tests.soak import Start

FLAT = [(i, 100.0) for i in range(41)]


@pytest.mark.slow
def test_a_short_soak_comes_to_its_end(generator, tmp_path, monkeypatch, capsys):
    arguments = tiny_runs.arguments(tiny_runs.config(generator), tmp_path)
    words = [word for word in arguments if not word.startswith(("--workdir", "--config.train.num_steps"))]
    steps = ["--steps=3000", "--every=1000", f"--workdir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["soak", *steps, *words])
    assert soak.main() == 0, capsys.readouterr().out
    last = capsys.readouterr().out.splitlines()[-1]
    assert " starts, " in last
    assert "goodput " in last


def test_growing_memory_is_seen():
    steady = Start(0, 40, 75, 1.0, FLAT)
    last = steady._replace(code=0)
    assert soak.wrong([steady, steady, last], 40) == []
    grown = steady._replace(seen=[(i, 100.0 + max(0, i - 20)) for i in range(41)])
    assert soak.wrong([steady, grown, last], 40) == []  # one start is chance
    assert soak.wrong([grown, grown, last], 40) == ["the median start took 1.20 times as much memory at its end"]
    more = steady._replace(seen=[(i, 110.0) for i in range(41)])
    assert soak.wrong([more, steady, steady, last], 40) == []  # the first compiles
    assert soak.wrong([steady, steady, steady, more, more._replace(code=0)], 40) == [
        "the later starts took more memory than the earlier"
    ]


def test_an_end_too_early_is_seen():
    assert soak.wrong([Start(0, 7, 1, 1.0, FLAT)], 40) == ["ended with exit code 1 at step 7"]
