"""The variant creativity:reference, run as users run it, goes where the published training went."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import converters
import latentjax
from configs import creativity
from latentjax import weights
from latentjax.jobs import train
from tests.conversion import network
from tests.test_objective import KINDS, assert_same_path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_eight_steps_of_the_job_are_the_published_ones(reference, kind, tmp_path, monkeypatch):
    golden, files = np.load(reference / "golden" / f"trajectory_{kind}.npz"), reference / "golden"
    converters.convert(files / "biggan128_ch8_100classes.pth", tmp_path / "generator")
    converters.convert(files / f"trajectory_{kind}_start.pth", tmp_path / "start", num_classes=100)
    save_assessor(files / "best_v070.pth", golden, tmp_path / "assessor")

    c = creativity.get_config("biggan128,reference")
    c.generator.weights, c.assessor.weights = str(tmp_path / "generator"), str(tmp_path / "assessor")
    c.transformer.weights = str(tmp_path / "start")
    # the golden run is of batch 4, at the paper's rate
    c.train.num_steps, c.train.batch_size, c.train.learning_rate = 8, 4, float(golden["lr"])
    c.train.log_every, c.train.samples_every, c.evaluate.after_train = 1, 0, False
    monkeypatch.setattr(train, "draws_of", lambda *_: golden_draws(golden))
    train.run(c, str(tmp_path / "run"))

    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    start, ours = (latentjax.load_transformer(tmp_path / name) for name in ("start", "run"))
    assert ours.config["renorm"] == "batch"
    end_state = {name.removeprefix("end."): golden[name] for name in golden if name.startswith("end.")}
    end = network("transformer", "transformer", end_state, num_classes=100)
    arrays = [{path: np.asarray(array) for path, array in weights.named(t.state).items()} for t in (ours, start, end)]
    assert_same_path(losses, golden["loss"], *arrays)


def save_assessor(file, golden, folder):
    """The published assessor with the golden run's head."""
    converters.convert(file, folder)
    module, record = weights.load(folder, "assessor")
    arrays = {path: np.asarray(array) for path, array in weights.named(nnx.state(module)).items()}
    arrays |= {"classifier/kernel": golden["head_weight"].T, "classifier/bias": golden["head_bias"]}
    weights.save(folder, arrays, record["kind"], record["config"], record["source"], replace=True)


def golden_draws(golden):
    """step -> the published run's draws."""
    labels = np.eye(100, dtype=np.float32)[golden["label"]]
    stacked = {"z": golden["z"], "y": labels, "alpha": golden["alpha"][..., None]}
    stacked |= {name: golden.get(name) for name in ("noise_z", "noise_y")}
    arrays = {name: None if rows is None else jnp.asarray(rows) for name, rows in stacked.items()}

    def draw(step):
        rows = {name: None if array is None else array[step] for name, array in arrays.items()}
        return rows | {"direction": jnp.int32(0)}

    return draw


def test_the_variant_holds_the_published_settings():
    c = creativity.get_config("reference")
    assert (c.train.num_steps, c.train.batch_size, c.train.learning_rate) == (50_000, 8, 1e-4)
    assert (c.transformer.renorm, c.train.angle_form, c.train.optimizer) == ("batch", "published", "radam")
    paper = creativity.get_config()
    assert (paper.train.num_steps, paper.train.learning_rate, paper.transformer.renorm) == (400_000, 1e-3, "sample")
