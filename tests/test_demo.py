"""The demo does what the README says of it."""

import json

import jax
import numpy as np
import pytest

import latentjax
from configs import demo
from latentjax import latents
from latentjax.assessors.image_property import calibrate
from latentjax.errors import InputError
from latentjax.jobs import evaluate, train


@pytest.mark.slow
def test_the_demo_reaches_what_the_readme_states(tmp_path):
    config = demo.get_config()
    config.train.samples_every = 0
    train.run(config, str(tmp_path / "demo"))
    steps = config.train.num_steps
    before, after = (
        json.loads((tmp_path / "demo" / "evaluation" / f"sampled-{step}" / "summary.json").read_text())
        for step in (0, steps)
    )
    assert after["latents"] == 64
    assert (np.diff(after["score"]["mean"]) > 0).all()
    assert before["achieved"] < 0.2
    assert after["achieved"] >= 0.7
    # few latents, one noise: the comparison of the README without its one direction
    config = demo.get_config("compare")
    runs = [run for run in config.evaluate.runs if "=" not in run]
    config.evaluate.update({"runs": tuple(runs), "count": 4, "noise_seeds": (0, 1), "ascent_steps": 3})
    config.train.samples_every = 0
    evaluate.run(config, str(tmp_path / "demo"))
    folder = tmp_path / "demo" / "evaluation" / "sampled-compared"
    found = json.loads((folder / "summary.json").read_text())["runs"]
    assert list(found) == runs == ["learned", "ascent", "svm", "pca", "sefa", "random"]
    for run in ("learned", "ascent", "svm"):
        assert found[run]["achieved"] > 0.5
        held_out, identity = found[run]["quality"]["held_out"], found[run]["quality"]["identity"]
        assert held_out["achieved"] > 0.3  # chroma, which no run was made with, rises too
        assert identity["similarity"]["mean"][1] > 0.999 > max(identity["similarity"]["mean"][::2])
    assert abs(found["random"]["achieved"]) < 0.3
    assert len(list((folder / "learned" / "sprites").iterdir())) == 8


@pytest.mark.slow
def test_the_assessors_centre_and_slope_come_from_the_generators_images():
    generator = latentjax.load_generator("embedded:painted-eyes")
    images = []
    for i in range(32):
        z = latents.sample_z(jax.random.key(100 + i), 64, generator.latent_dim)
        y = latents.sample_y(jax.random.key(200 + i), 64, generator.num_classes)
        images.append(np.asarray(generator(z, y)))
    centre, slope = calibrate("colourfulness", np.concatenate(images))
    settings = demo.get_config().assessor
    np.testing.assert_allclose((centre, slope), (settings.centre, settings.slope), atol=0.005)


def test_every_variant_is_a_config():
    for name in demo.VARIANTS:
        assert demo.get_config(name).generator.weights == "embedded:painted-eyes"
    assert demo.get_config("z_only").transformer.y == "none"
    with pytest.raises(InputError, match="z_onyl"):
        demo.get_config("z_onyl")


@pytest.mark.slow
def test_the_constrained_demo_keeps_its_brightness(tmp_path):
    config = demo.get_config("constrained")
    config.train.samples_every, config.evaluate.before_train = 0, False
    train.run(config, str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / f"sampled-{config.train.num_steps}"
    properties = json.loads((folder / "summary.json").read_text())["properties"]
    colour, brightness = (np.array(properties[name]["mean"]) for name in ("colourfulness", "brightness"))
    assert (np.diff(colour) > 0).all()
    assert colour[-1] > 3 * colour[0]
    assert np.abs(brightness / brightness[5] - 1).max() < 0.02


@pytest.mark.slow
def test_a_trained_generator_is_steered_by_a_trained_assessor(tmp_path):
    """With half of its steps of half the batch `imagenet` moves by how much EfficientNet-Lite0 sees a gecko."""
    config = demo.get_config("imagenet")
    config.train.num_steps, config.train.batch_size, config.train.samples_every = 100, 8, 0
    config.evaluate.before_train, config.evaluate.count, config.evaluate.alphas = False, 32, (-0.5, -0.3, 0.0, 0.3, 0.5)
    train.run(config, str(tmp_path / "run"))
    summary = json.loads((tmp_path / "run" / "evaluation" / "sampled-100" / "summary.json").read_text())
    assert summary["achieved"] > 0.05  # untrained: -.02
