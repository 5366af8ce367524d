"""An evaluation that is killed at random moments goes on: every strip is there once, and those that were are kept."""

import os
import random
import subprocess
import sys

import pytest

from latentjax.jobs import evaluate
from tests import tiny_runs
from tests.test_evaluate import times


@pytest.mark.slow
def test_killed_at_random_moments_every_strip_is_made_once(tmp_path):
    with tiny_runs.shared_compilations(tmp_path / "cache"):
        generator = tiny_runs.save_generator(tmp_path / "generator")
        fields = {"evaluate__count": 150, "evaluate__noise_seeds": (0, 1), "evaluate__name": "mine"}
        config = tiny_runs.config(
            generator, transformer__weights=tiny_runs.save_transformer(tmp_path / "moves"), **fields
        )
        evaluate.run(config, str(tmp_path / "whole"))
        whole, folder = (tmp_path / name / "evaluation" / "mine" for name in ("whole", "run"))
        command = [sys.executable, "launch.py", *tiny_runs.arguments(config, tmp_path / "run", "evaluate")]
        log, end = folder / "strips.jsonl", tiny_runs.size(whole / "strips.jsonl")
        moments, midway, made_again = random.Random(0), 0, 0
        for written in sorted(moments.randrange(end * 3 // 4) for _ in range(4)):
            before = times(folder) if folder.exists() else {}
            tiny_runs.kill(command, lambda _, written=written: tiny_runs.size(log) > written)
            midway += 0 < tiny_runs.size(log) < end
            after = times(folder)
            made_again += sum(after[name] != time for name, time in before.items())
        assert midway >= 2  # on a busy machine one may come too late
        before = times(folder)
        subprocess.run(command, cwd=tiny_runs.ROOT, capture_output=True, check=True)
    after = times(folder)
    made_again += sum(after[name] != time for name, time in before.items())
    # a picture of each of some threads may be there and not yet be logged
    assert made_again <= 5 * max(4, os.cpu_count() or 0)
    assert len(after) == 300
    for name in ("summary.json", "manifest.jsonl", "scores.csv", "strips.jsonl"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    for part in ("grids", "sprites"):
        assert not [path for path in (folder / part).iterdir() if path.name.startswith(".")]
