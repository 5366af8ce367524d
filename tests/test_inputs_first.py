"""What is wrong with latents and settings is told before an image is made for anything else."""

import json

import pytest

from latentjax.errors import InputError
from latentjax.jobs import comparison, evaluate, explore, generate, samples, train, workbench
from tests import tiny_runs

GOOD = {"latent": [0.5] * 6, "classes": [[0, 1.0]], "truncation": 1.0}


@pytest.fixture
def files(tmp_path):
    """A file of one latent that fits the tiny generator, and one that does not."""
    for name, content in {"good": GOOD, "bad": GOOD | {"latent": [0.5] * 5}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return {name: str(tmp_path / f"{name}.json") for name in ("good", "bad")}


@pytest.fixture
def idle(monkeypatch):
    """Nothing may be scored for a direction, nor generated for the assessor's scale."""
    monkeypatch.setattr(samples.Samples, "scores", lambda *_: pytest.fail("scores for a direction"))
    monkeypatch.setattr(workbench, "calibrated", lambda *_: pytest.fail("images for the assessor's scale"))


def refused(run, generator, folder, **fields) -> str:
    with pytest.raises(InputError) as caught:
        run(tiny_runs.config(generator, **fields), str(folder / "run"))
    assert not (folder / "run").exists()
    return str(caught.value)


@pytest.mark.parametrize("method", ["arithmetic", "svm", "pca", "sefa"])
def test_latents_are_read_before_a_direction_is_fitted(generator, files, idle, tmp_path, method):
    fields = {"evaluate__method": method, "evaluate__latents": files["bad"]}
    assert "bad.json: " in refused(evaluate.run, generator, tmp_path, **fields)


def test_latents_are_read_before_the_first_direction_of_a_comparison_is_fitted(generator, files, idle, tmp_path):
    fields = {"evaluate__runs": ("pca", "sefa"), "evaluate__latents": files["bad"]}
    assert "bad.json: " in refused(evaluate.run, generator, tmp_path, **fields)


CALIBRATED = {"assessor__calibrate": True, "assessor__centre": None, "assessor__slope": None}


@pytest.mark.parametrize(
    ("run", "fields"),
    [
        (train.run, {}),
        (evaluate.run, {"evaluate__method": "random"}),
        (explore.run, {"explore__directions": 1, "explore__perplexity": 1.0}),
    ],
    ids=["train", "evaluate", "explore"],
)
def test_latents_are_read_before_the_assessor_is_rescaled(generator, files, idle, tmp_path, run, fields):
    pytest.importorskip("sklearn")
    group = "explore" if run is explore.run else "evaluate"
    fields = CALIBRATED | fields | {f"{group}__latents": files["bad"]}
    assert "bad.json: " in refused(run, generator, tmp_path, **fields)


@pytest.mark.parametrize("end", ["plus", "minus"])
def test_both_ends_of_a_direction_are_read_before_the_assessor_is_rescaled(generator, files, idle, tmp_path, end):
    ends = {"evaluate__plus": files["good"], "evaluate__minus": files["good"], f"evaluate__{end}": files["bad"]}
    fields = CALIBRATED | ends | {"evaluate__method": "arithmetic"}
    assert "bad.json: " in refused(evaluate.run, generator, tmp_path, **fields)


@pytest.mark.parametrize("run", [train.run, generate.run])
def test_who_fits_nothing_does_without_the_ends(generator, files, tmp_path, run):
    ends = {"evaluate__plus": files["good"], "evaluate__minus": str(tmp_path / "gone.json")}
    fields = ends | {"evaluate__runs": ("arithmetic",), "evaluate__count": 1, "train__num_steps": 1}
    run(tiny_runs.config(generator, **fields), str(tmp_path / "run"))


def test_an_end_that_lacks_the_other_is_told_before_directions_of_samples_are_fitted(generator, files, idle, tmp_path):
    fields = {"evaluate__runs": ("pca", "arithmetic"), "evaluate__plus": files["good"]}
    assert "config.evaluate.minus: is not set" in refused(evaluate.run, generator, tmp_path, **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"evaluate__noise_seeds": (0, 1)}, "config.evaluate.noise_seeds: gives 2 seeds"),
        ({"evaluate__directions": (1,)}, "config.evaluate.directions: has 1"),
        ({"evaluate__masks": "onnx:nowhere.onnx"}, "nowhere.onnx"),
    ],
)
def test_settings_are_checked_before_a_direction_is_fitted(generator, idle, tmp_path, fields, said):
    assert said in refused(evaluate.run, generator, tmp_path, evaluate__method="sefa", **fields)


def test_a_comparison_reads_its_latents_once(generator, files, tmp_path, monkeypatch):
    read, names = workbench.latents.read, []
    monkeypatch.setattr(workbench.latents, "read", lambda *given, **how: names.append(given[0]) or read(*given, **how))
    fields = {"evaluate__runs": ("random", "again=random", "ascent"), "evaluate__latents": files["good"]}
    bench = workbench.prepare(tiny_runs.config(generator, **fields), str(tmp_path / "run"))
    comparison.prepare(bench, comparison.entries_of(fields["evaluate__runs"]), tmp_path / "compared")
    assert names == [files["good"]]
