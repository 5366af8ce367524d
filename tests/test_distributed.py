"""Devices: none is taken for another, and however many there are, the run is the same."""

import json
import pathlib

import jax
import numpy as np
import pytest

from latentjax import distributed
from latentjax.errors import InputError
from latentjax.jobs import train, workbench
from tests import tiny_runs

# on two devices the mean over a batch adds up in another order; 20 steps of RAdam pass that on
ROUNDING = 1e-5


def everything(folder: str, name: str) -> None:
    """Trains 20 steps and evaluates on all devices of this process, and writes down what two processes can compare.

    The first process also begins a run that the second ends.
    """
    workdir, moved = (pathlib.Path(folder) / part for part in (name, "moved"))
    generator = str(pathlib.Path(folder) / "generator")
    c = tiny_runs.config(
        generator, train__num_steps=20, evaluate__after_train=True, evaluate__batch_size=3, evaluate__count=5
    )
    train.run(c, str(workdir))
    train.run(tiny_runs.config(generator, train__num_steps=20 if moved.exists() else 10), str(moved))
    bench = workbench.prepare(c, str(workdir))
    draw = jax.jit(train.draws_of(bench, workbench.new_transformer(bench)))
    draws = {f"{name} {step}": array for step in (0, 7) for name, array in draw(step).items()}
    np.savez(workdir / "draws.npz", **draws)
    facts = {"devices": jax.device_count(), "rows on": len(draws["z 0"].sharding.device_set)}
    try:
        distributed.check_divisible(3, bench.mesh, "config.train.batch_size")
    except InputError as error:
        facts["uneven"] = str(error)
    (workdir / "facts.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run on one and on two devices, and one that was begun on one and ended on two."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_runs.save_generator(folder / "generator")
    code = "import sys; from tests.test_distributed import everything; everything(*sys.argv[1:])"
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        for name, devices in {"one": 1, "two": 2}.items():
            ended = tiny_runs.python(code, str(folder), name, devices=devices)
            assert ended.returncode == 0, ended.stderr
    return folder


def facts(workdir: pathlib.Path) -> dict:
    return json.loads((workdir / "facts.json").read_text())


# ---- one device and two


def test_the_rows_of_a_batch_are_on_both(runs):
    assert (facts(runs / "one")["devices"], facts(runs / "two")["devices"]) == (1, 2)
    assert (facts(runs / "one")["rows on"], facts(runs / "two")["rows on"]) == (1, 2)


def test_the_draws_are_the_same_bits(runs):
    with np.load(runs / "one" / "draws.npz") as one, np.load(runs / "two" / "draws.npz") as two:
        assert {name.split()[0] for name in one} == {"z", "y", "alpha", "noise_z", "noise_y", "direction"}
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        assert not np.array_equal(one["z 0"], one["z 7"])


def test_losses_and_parameters_agree(runs):
    losses = [[line["loss"] for line in tiny_runs.metrics(runs / name)] for name in ("one", "two")]
    assert len(losses[0]) == 2
    np.testing.assert_allclose(*losses, rtol=ROUNDING)
    one, two = (tiny_runs.exported(runs / name) for name in ("one", "two"))
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=ROUNDING, err_msg=name)


def test_a_run_moves_from_one_to_two(runs):
    assert [line["step"] for line in tiny_runs.metrics(runs / "moved")] == [10, 20]
    one, moved = (tiny_runs.exported(runs / name) for name in ("one", "moved"))
    for name in one:
        np.testing.assert_allclose(one[name], moved[name], atol=ROUNDING, err_msg=name)


def test_evaluations_agree(runs):
    one, two = (
        np.genfromtxt(runs / name / "evaluation" / "sampled-20" / "scores.csv", delimiter=",", names=True, dtype=None)
        for name in ("one", "two")
    )
    assert len(one) == 5 * 5
    np.testing.assert_array_equal(one["name"], two["name"])
    # the parameters differ by rounding, and so do images and scores
    np.testing.assert_allclose(one["score"], two["score"], atol=10 * ROUNDING)
    summaries = [
        json.loads((runs / name / "evaluation" / "sampled-20" / "summary.json").read_text()) for name in ("one", "two")
    ]
    np.testing.assert_allclose(*(summary["score"]["mean"] for summary in summaries), atol=10 * ROUNDING)


def test_a_batch_that_two_cannot_share_is_refused(runs):
    assert "uneven" not in facts(runs / "one")
    assert facts(runs / "two")["uneven"] == "config.train.batch_size: 3 is not divisible by the 2 devices; use 2"


# ---- in this process


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_a_platform_that_is_not_there_is_refused(platform):
    if jax.default_backend() == platform:
        pytest.skip(f"there is a {platform}")
    with pytest.raises(InputError, match=rf"^config\.platform: .*{platform}.*; .*use any$"):
        distributed.start(platform)


def test_a_platform_that_is_there_but_not_in_use_is_refused(monkeypatch):
    # jax.config has no say once something has run on the accelerator
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(InputError, match=r"^config\.platform: is cpu, but JAX runs on gpu; use any$"):
        distributed.start("cpu")


def test_platforms_that_are_there_are_taken():
    assert distributed.start("any") == jax.devices()
    assert distributed.start(jax.default_backend()) == jax.devices()


def test_requirements_that_a_message_names_are_there():
    words = " ".join(distributed.MEND.values()).replace(",", "").split()
    files = [word for word in words if word.endswith(".txt")]
    assert len(files) == 2
    assert all((tiny_runs.ROOT / file).is_file() for file in files)


@pytest.mark.parametrize(("batch", "use"), [(1, 4), (3, 4), (5, 4), (7, 4), (9, 8)])
def test_an_uneven_batch_is_refused_with_one_that_fits(batch, use):
    class Mesh:
        size = 4

    with pytest.raises(InputError, match=f"^field: {batch} is not divisible by the 4 devices; use {use}$"):
        distributed.check_divisible(batch, Mesh(), "field")
    distributed.check_divisible(use, Mesh(), "field")


def test_padding_repeats_the_last_row():
    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(distributed.padded(rows, 5), [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]])
    assert distributed.padded(rows, 3) is rows


def test_constrain_leaves_values_and_missing_arrays_alone():
    tree = {"z": np.ones((2, 3), np.float32), "noise": None}
    mesh = distributed.data_mesh()
    placed = jax.jit(lambda t: distributed.constrain(t, distributed.by_row(mesh)))(tree)
    np.testing.assert_array_equal(placed["z"], tree["z"])
    assert placed["noise"] is None
