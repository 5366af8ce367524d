"""Logs of a run that goes on: what a kill cut off and a disk damaged is dropped, and nothing else."""

import errno
import json
import types

import jax
import jax.numpy as jnp
import pytest

from latentjax import metrics
from latentjax.errors import InputError
from latentjax.jobs import assessor_report
from latentjax.metrics import Validations, drop_after

LINES = [{"step": step, "loss": 0.1 * step, "score": float("nan")} for step in (10, 20, 30)]
DAMAGED = [
    *(b"", b"{", b'{"step": 20', b"[]", b"3", b"\xff", b'{"step": 20, "loss": 0.2, "\xff": 1}', b"[" * 100_000),
    *(b"{}", b'{"step": "20", "loss": 1.0}', b'{"step": 20}', b'{"step": 20, "loss": "1.0"}', b'{"loss": 1.0}'),
]


def written(lines):
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (10, 1), (25, 2), (30, 3)])
def test_lines_up_to_the_step_stay_to_the_letter(tmp_path, step, kept):
    (tmp_path / "log").write_text(written(LINES))
    drop_after(tmp_path / "log", step, "loss")
    assert (tmp_path / "log").read_text() == written(LINES[:kept])


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_dropped_and_no_other(tmp_path, line):
    (tmp_path / "log").write_bytes(written(LINES[:1]).encode() + line + b"\n" + written(LINES[2:]).encode())
    drop_after(tmp_path / "log", 30, "loss")
    assert (tmp_path / "log").read_text() == written([LINES[0], LINES[2]])


@pytest.mark.parametrize("line", [line.replace(b"loss", b"selection") for line in DAMAGED])
def test_validations_go_on_without_a_damaged_line(tmp_path, line):
    file, scores = tmp_path / "validation.jsonl", (0.1, 0.5, 0.4)
    validations = Validations(file, 0)
    for step, score in enumerate(scores, 1):
        validations.add(10 * step, {}, score)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))
    again = Validations(file, 30)
    assert file.read_bytes() == b"\n".join([lines[0], lines[2], b""])
    assert validations.stale(1)
    assert not again.stale(1)  # it no longer knows of the 0.5


@pytest.mark.parametrize("line", DAMAGED)
def test_curves_are_drawn_without_a_damaged_line(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(written(LINES[:1]).encode() + line + b"\n" + written(LINES[2:]).encode())
    (tmp_path / "validation.jsonl").write_text(written([{"step": 20, "selection": 0.5}]))
    curves = assessor_report.curves_of(tmp_path, 20)
    assert curves[:2] == ([(10, LINES[0]["loss"]), (30, LINES[2]["loss"])], [(20, 0.5)])


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    def fails(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(metrics, "write_text", fails)
    with pytest.raises(InputError, match=r"validation\.jsonl: cannot be written \(No space left on device\); "):
        Validations(tmp_path / "validation.jsonl", 0)


def test_steps_are_queued_one_ahead_and_no_further(tmp_path):
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 15, lambda _, y: jnp.sin(y @ y), x))
    log = metrics.Log(tmp_path, types.SimpleNamespace(), 1, 0)
    x, steps = jnp.ones((600, 600)), []
    for _ in range(4):
        x = slow(x)
        steps.append(x)
        log.add(x)
        assert all(step.is_ready() for step in steps[:-1])
