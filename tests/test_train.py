"""Training: stopped and gone on with it is bit for bit the same, it moves the transformer alone, and it learns."""

import json
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import latentjax
from latentjax import config as configs
from latentjax import networks, objective
from latentjax.checkpoints import Checkpoints
from latentjax.errors import InputError
from latentjax.jobs import train, workbench
from latentjax.radam import radam
from tests import tiny_runs

LAUNCH = "import sys, launch; sys.exit(launch.main())"
# the process kills itself as a step begins: nothing that Python would do at its end is done
KILLED = """
import os, signal, sys
import launch
from latentjax.jobs import train
steps, add = 0, train.Log.add
def add_or_die(log, metrics):
    global steps
    steps += 1
    if steps == 35:
        log._checkpoints._manager.wait_until_finished()
    if steps == 42:
        log._file.write('{"step": 41, "lo')
        log._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    add(log, metrics)
train.Log.add = add_or_die
launch.main()
"""


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.mktemp("cache")):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def in_one_go(generator, tmp_path_factory):
    """60 steps without a stop, in this process."""
    workdir = tmp_path_factory.mktemp("one")
    train.run(tiny_runs.config(generator), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def in_two_starts(generator, tmp_path_factory):
    """30 steps in a process of their own, then up to 60 in this one."""
    workdir = tmp_path_factory.mktemp("two")
    first = tiny_runs.config(generator, train__num_steps=30)
    started = tiny_runs.python(LAUNCH, *tiny_runs.arguments(first, workdir))
    assert started.returncode == 0, started.stderr
    train.run(tiny_runs.config(generator), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def killed(generator, tmp_path_factory):
    """A run killed in its 42nd step: step 20 is saved whole, step 40 perhaps not."""
    workdir = tmp_path_factory.mktemp("killed")
    ended = tiny_runs.python(KILLED, *tiny_runs.arguments(tiny_runs.config(generator), workdir))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return workdir


def launched(monkeypatch, c, workdir) -> int:
    """The exit code of launch.py with this config, in this process."""
    import launch

    monkeypatch.setattr(sys, "argv", ["launch.py", *tiny_runs.arguments(c, workdir)])
    return launch.main()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Asserts equal names, dtypes and bits."""
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# ---- stopped and gone on with


def test_sixty_steps_are_thirty_and_thirty(in_one_go, in_two_starts):
    one, two = (tiny_runs.saved_state(workdir, 60) for workdir in (in_one_go, in_two_starts))
    assert one["step"] == 60
    assert {name.split(".")[0] for name in one} == {"step", "params", "opt_state"}
    assert any(name.startswith("opt_state.0.mu.") for name in one)
    same(one, two)
    one, two = ({m["step"]: m["loss"] for m in tiny_runs.metrics(workdir)} for workdir in (in_one_go, in_two_starts))
    assert one == two


def test_what_is_saved_is_that_step_and_not_a_later_one(in_one_go, generator, tmp_path):
    # the step after a save may overwrite the buffers that are still being written
    train.run(tiny_runs.config(generator, train__num_steps=40), str(tmp_path / "run"))
    same(tiny_runs.saved_state(in_one_go, 40), tiny_runs.saved_state(tmp_path / "run", 40))


def test_a_killed_run_goes_on_from_its_last_checkpoint(in_one_go, killed, generator, caplog):
    assert not (killed / "transformer").exists()
    found = sorted(int(path.name) for path in (killed / "checkpoints").iterdir() if path.name.isdigit())
    assert found in ([20], [20, 40])
    train.run(tiny_runs.config(generator), str(killed))
    assert f"going on from step {found[-1]} of 60" in caplog.text
    same(tiny_runs.saved_state(in_one_go, 60), tiny_runs.saved_state(killed, 60))
    # the lines that were written after the checkpoint, the last of them cut off, are not there twice
    one, other = ([(m["step"], m["loss"]) for m in tiny_runs.metrics(workdir)] for workdir in (in_one_go, killed))
    assert one == other


def test_a_finished_run_started_again_does_nothing(in_one_go, generator, monkeypatch):
    def times():
        parts = [*(in_one_go / "checkpoints").rglob("*"), in_one_go / "metrics.jsonl"]
        return {path: path.stat().st_mtime_ns for path in parts if path.is_file()}

    before, transformer = times(), tiny_runs.exported(in_one_go)
    # exactly as with a finished run on disk, a step would be an error
    monkeypatch.setattr(train, "make_step", lambda *_, **__: pytest.fail("a step was compiled"))
    assert launched(monkeypatch, tiny_runs.config(generator), in_one_go) == 0
    assert times() == before
    same(tiny_runs.exported(in_one_go), transformer)


# ---- what a run leaves


def test_metrics_are_finite_and_rise_in_step(in_one_go):
    lines = tiny_runs.metrics(in_one_go)
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 50, 60]
    wanted = {"step", "loss", "grad_norm", "score", "edited_score", "samples_per_second"}
    assert all(line.keys() >= wanted for line in lines)
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert list((in_one_go / "tensorboard").glob("events*"))


def test_logged_losses_are_the_means_of_their_steps(in_one_go, generator, tmp_path):
    train.run(tiny_runs.config(generator, train__num_steps=10, train__log_every=1), str(tmp_path / "run"))
    each = [line["loss"] for line in tiny_runs.metrics(tmp_path / "run")]
    assert len(each) == 10
    # the mean of ten float32 losses is taken in float32 and in float64
    np.testing.assert_allclose(tiny_runs.metrics(in_one_go)[0]["loss"], np.mean(each), rtol=1e-6)


def test_the_exported_transformer_is_the_final_parameters(in_one_go):
    state = tiny_runs.saved_state(in_one_go, 60)
    arrays = tiny_runs.exported(in_one_go)
    final = {name: array for name, array in state.items() if name.startswith("params.")}
    same({f"params.{name.replace('/', '.')}.value": array for name, array in arrays.items()}, final)
    transformer = latentjax.load_transformer(in_one_go / "transformer")
    assert transformer.source["step"] == 60
    z, y = jnp.ones((2, 6)), jax.nn.one_hot(jnp.array([0, 2]), 3)
    moved_z, moved_y = transformer(z, y, 0.3, transformer.sample_noise(jax.random.key(0), 2))
    assert moved_z.shape == (2, 6)
    assert moved_y.shape == (2, 3)
    assert not np.array_equal(moved_z, z)
    assert not np.array_equal(moved_y, y)


def test_a_run_folder_says_what_it_was_made_on(in_one_go):
    record = json.loads((in_one_go / "run.json").read_text())
    assert len(record["generator_sha256"]) == 64
    assert record["devices"]
    assert record["packages"]["jax"] == jax.__version__
    assert "config" in json.loads((in_one_go / "config.json").read_text())


def test_training_ends_with_previews_and_an_evaluation(generator, tmp_path):
    c = tiny_runs.config(
        generator,
        train__num_steps=4,
        train__samples_every=2,
        evaluate__before_train=True,
        evaluate__after_train=True,
        evaluate__name="mine",
    )
    train.run(c, str(tmp_path / "run"))
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [
        "step00000002.png",
        "step00000004.png",
    ]
    # the untrained transformer has a name of its own, or its folder would be in the way of the learned one's
    names = sorted(path.name for path in (tmp_path / "run" / "evaluation").iterdir())
    assert names == ["mine", "mine-untrained"]


# ---- divergence


def test_a_diverged_run_keeps_the_checkpoint_before(generator, tmp_path):
    # the warm-up's first rate is 0 and its second 1e34, whose update has no finite norm
    wild = {"train__learning_rate": 1e35, "train__warmup_steps": 10, "train__checkpoint_every": 1}
    for _ in range(2):  # and started again, it goes on from there, to the same end
        with pytest.raises(InputError, match=r"^training: diverged before step 2 \(loss 0\..*; step 1 is kept$"):
            train.run(tiny_runs.config(generator, **wild), str(tmp_path / "run"))
        assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()] == ["1"]
        state = tiny_runs.saved_state(tmp_path / "run", 1)
        assert state["step"] == 1
        assert all(np.isfinite(array).all() for array in state.values())


def test_a_generator_that_makes_no_pictures_stops_at_once(tmp_path, monkeypatch, capsys):
    broken = tiny_runs.save_generator(tmp_path / "generator", scale=float("nan"))
    assert launched(monkeypatch, tiny_runs.config(broken), tmp_path / "run") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: training: diverged before step 10 (loss nan)")
    assert not (tmp_path / "run" / "transformer").exists()
