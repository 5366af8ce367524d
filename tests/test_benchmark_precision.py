"""The benchmark of bfloat16 measures what it says, on networks in miniature; nothing here is a measurement."""

import json

import numpy as np
import pytest

from benchmarks import precision
from latentjax import command_line
from latentjax.jobs import train, workbench
from tests import tiny_runs


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


def test_psnr_is_of_the_range_from_minus_one_to_one():
    exact = np.zeros((3, 4, 4, 3), np.float32)
    images = exact + np.float32([2, 0.2, 0.02])[:, None, None, None]
    np.testing.assert_allclose(precision.psnr(images, exact), [0, 20, 40], atol=1e-4)
    assert np.isfinite(precision.psnr(exact, exact)).all()


def test_cosines_are_of_directions_and_not_of_lengths():
    one, other = np.float32([[1, 0], [1, 1], [2, 0]]), np.float32([[3, 0], [1, 0], [-1, 0]])
    np.testing.assert_allclose(precision.cosine(one, other), [1, 0.5**0.5, -1])


def test_the_same_is_no_loss():
    random = np.random.default_rng(0)
    found = precision.Found(random.uniform(-1, 1, (2, 4, 4, 3)), random.uniform(size=2), random.normal(size=5))
    numbers = precision.compared(found, found)
    assert numbers["images_psnr_worst"] > 300
    assert numbers["scores_difference_max"] == 0
    assert (numbers["gradient_cosine"], numbers["gradient_length_ratio"]) == pytest.approx((1, 1))


@pytest.mark.slow
def test_the_tiny_networks_lose_little_but_something(generator, tmp_path):
    bench = workbench.prepare(tiny_runs.config(generator, platform="cpu"), str(tmp_path / "run"))
    numbers = precision.of_bench(bench, 4, calibrate=False)
    # each activation keeps 8 bits
    assert 30 < numbers["images_psnr_worst"] <= numbers["images_psnr_median"] < 80
    assert 0 < numbers["scores_difference_mean"] <= numbers["scores_difference_max"] < 0.1
    assert numbers["scores_deviation"] > 0
    assert 0.9 < numbers["gradient_cosine"] < 1
    assert 0.9 < numbers["gradient_length_ratio"] < 1.1


@pytest.mark.slow
def test_learned_directions_of_both_precisions_are_compared_and_told(generator, tmp_path):
    fields = {"train__num_steps": 4, "train__learning_rate": 1e-1, "evaluate__after_train": True, "evaluate__count": 2}

    def trained(name):
        train.run(tiny_runs.config(generator, precision=name, **fields), str(tmp_path / name))
        return tmp_path / name

    numbers = precision.of_directions(trained)
    assert 0.9 < numbers["moves_cosine_worst"] <= numbers["moves_cosine_median"] < 1
    # what was learned agrees, and not the start alone
    assert numbers["moves_cosine_untrained"] < numbers["moves_cosine_worst"]
    assert numbers["achieved_float32"] == pytest.approx(numbers["achieved_bfloat16"], abs=0.1)


def test_the_table_has_what_was_measured():
    found = {"size": 128, "latents": 2, "train_steps": 3, "device": "cpu", "emulated": True}
    found |= {"machine": precision.command.machine(1), "versions": {"jax": "0"}}
    numbers = dict.fromkeys(("images_psnr_median", "images_psnr_worst"), 40.0)
    numbers |= dict.fromkeys(("scores_difference_mean", "scores_difference_max", "scores_deviation"), 0.01)
    networks = numbers | {"gradient_cosine": 0.99, "gradient_length_ratio": 1.0}
    told = "\n".join(precision.lines_of(json.loads(json.dumps(found | {"networks": networks}))))
    assert precision.EMULATED in told
    assert "PSNR 40.0 dB" in told
    assert "painted eyes" not in told


def test_bad_flags_are_told(refused):
    def run(*words: str) -> str:
        return refused(lambda: command_line.run(precision.main), *words)

    assert run("--parts=weights").startswith("--parts: 'weights' is unknown; use some of networks,directions")
    assert run("--latents=0").startswith("--latents: is 0; ")
    assert run("--json=there/is/none.json").startswith("--json: ")
