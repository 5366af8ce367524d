"""Directions that are fitted to be met, what they are a function of, and folders that stand for a transformer."""

import copy
import dataclasses

import numpy as np
import pytest

from latentjax import fixed_directions, networks, weights
from latentjax.errors import InputError
from latentjax.jobs import methods, workbench
from tests import tiny_runs
from tests.test_methods import score_of

FEW = {"evaluate__components": 4, "evaluate__arithmetic_count": 512}
FITTED = ("svm", "pca", "sefa")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


def prepared(generator, folder, **fields):
    return workbench.prepare(tiny_runs.config(generator, **FEW | fields), str(folder))


def transformer_of(bench, method, samples=None):
    """What evaluate.method stands for."""
    config = copy.deepcopy(bench.config)
    config.evaluate.method = method
    return methods.transformer_of(dataclasses.replace(bench, config=config), samples)


@pytest.fixture(scope="module")
def bench(generator, tmp_path_factory):
    return prepared(generator, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def fitted(bench):
    pytest.importorskip("sklearn")
    samples = methods.Samples(bench)
    return {method: transformer_of(bench, method, samples) for method in FITTED}


def missed(bench, transformer, factor: float) -> float:
    """Mean (A(G(z', y')) - (s + alpha))^2 of latents that nothing was fitted on, at `factor` times alpha."""
    latents = workbench.latents.sample_latents(100, 77, 6, 3, 1.0, bench.classes)
    z, y = (np.repeat(array, 4, 0) for array in workbench.latents.stacked(latents))
    alphas = np.tile(np.float32([-0.35, -0.15, 0.15, 0.35]), 100)
    before = score_of(bench, bench.generator(z, y))
    after = score_of(bench, bench.generator(*transformer(z, y, factor * alphas)))
    return float(np.mean((np.asarray(after) - np.asarray(before) - alphas) ** 2))


@pytest.mark.parametrize("method", FITTED)
def test_requests_are_met_best_at_the_length_and_sign_that_were_chosen(bench, fitted, method):
    at = {factor: missed(bench, fitted[method], factor) for factor in (-1.0, 0.0, 0.5, 1.0, 2.0)}
    assert min(at, key=at.__getitem__) == 1.0


def test_the_component_is_the_one_that_moves_scores_most(bench, fitted):
    directions = methods.directions_of_kind(bench, "sefa", 4, "")
    # as far as they are compared at: half the typical length of z
    far = 0.5 * np.linalg.norm(methods.Samples(bench).tuning.z, axis=1).mean()
    z, y = (array[:16] for array in methods.Samples(bench).tuning[1:3])
    effects = [
        np.mean([side * score_of(bench, bench.generator(*one(z, y, side * far))) for side in (1, -1)])
        for one in directions
    ]
    chosen = fitted["sefa"].source
    assert chosen["component"] == np.abs(effects).argmax()
    assert chosen["sign"] == np.sign(effects[chosen["component"]])


@pytest.mark.parametrize("method", FITTED)
def test_a_fitted_direction_is_a_function_of_the_config(bench, fitted, generator, tmp_path, method):
    again = transformer_of(bench, method)
    vectors = [weights.named(transformer.state) for transformer in (again, fitted[method])]
    for name, array in vectors[0].items():
        np.testing.assert_array_equal(array, vectors[1][name])
    assert again.source == fitted[method].source
    other = prepared(generator, tmp_path, evaluate__strength=2.0, evaluate__batch_size=3, evaluate__method=method)
    doubled = methods.transformer_of(other)
    np.testing.assert_allclose(
        weights.named(doubled.state)["direction_z/vector"], 2 * vectors[0]["direction_z/vector"], rtol=1e-4
    )
    assert doubled.source["definition"] != again.source["definition"]
    assert doubled.source | {"strength": 1.0, "definition": ""} == again.source | {"definition": ""}


def test_the_boundary_moves_z_and_y_or_one_alone(fitted, generator, tmp_path):
    assert set(weights.named(fitted["svm"].state)) == {"direction_z/vector", "direction_y/vector"}
    alone = transformer_of(prepared(generator, tmp_path / "z", evaluate__move="z"), "svm")
    assert set(weights.named(alone.state)) == {"direction_z/vector"}
    alone = transformer_of(prepared(generator, tmp_path / "y", evaluate__move="y"), "svm")
    assert set(weights.named(alone.state)) == {"direction_y/vector"}


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_directions_of_z_do_not_move_y_alone(generator, tmp_path, method):
    bench = prepared(generator, tmp_path, evaluate__move="y")
    with pytest.raises(InputError, match=rf"config\.evaluate\.move: is y, and {method} moves z alone; give both or z"):
        transformer_of(bench, method)


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_more_components_than_z_has_entries_are_refused(generator, tmp_path, method):
    bench = prepared(generator, tmp_path, evaluate__components=7)
    with pytest.raises(InputError, match=rf"config\.evaluate\.components: is 7, and {method} finds 6 .*give 6 or"):
        transformer_of(bench, method)


def test_methods_that_share_samples_score_them_once(bench, monkeypatch):
    pytest.importorskip("sklearn")
    samples = methods.Samples(bench)
    counts, scores = [], samples.scores
    monkeypatch.setattr(samples, "scores", lambda z, y, bar: counts.append(len(z)) or scores(z, y, bar))
    transformer_of(bench, "arithmetic", samples)
    transformer_of(bench, "svm", samples)
    transformer_of(bench, "sefa", samples)
    # 512 scored for both, 64 that lengths are tuned on, 4 rounds of lengths for each of two, one of components
    assert counts == [512, 64, 5 * 64, 128, 128, 128, 4 * 2 * 16, 5 * 64, 128, 128, 128]


def test_a_direction_of_other_latents_than_those_evaluated(bench):
    samples = methods.Samples(bench)
    evaluated = workbench.latents.sample_latents(64, bench.config.evaluate.seed, 6, 3, 1.0, bench.classes)
    sets = [{point.key for point in points} for points in (evaluated, samples.points, samples.tuning.points)]
    assert [len(each) for each in sets] == [64, 512, 64]
    assert len(set.union(*sets)) == 640


def test_pca_and_sefa_directions_without_an_assessor(generator, tmp_path):
    studio = workbench.prepare_studio(tiny_runs.config(generator, evaluate__strength=3.0), str(tmp_path / "run"))
    for kind in ("pca", "sefa"):
        found = methods.directions_of_kind(studio, kind, 2, "config.explore.directions")
        for k, transformer in enumerate(found):
            vector = weights.named(transformer.state)["direction_z/vector"]
            np.testing.assert_allclose(np.linalg.norm(vector), 3.0, rtol=1e-5)
            assert (transformer.source["method"], transformer.source["component"]) == (kind, k)
        assert found[0].source["definition"] != found[1].source["definition"]
        with pytest.raises(InputError, match=r"config\.explore\.directions: is 7"):
            methods.directions_of_kind(studio, kind, 7, "config.explore.directions")


# ---- entries of evaluate.runs that are folders


def test_a_run_or_transformer_folder_stands_for_its_transformer(bench, tmp_path):
    transformer, run = tiny_runs.save_transformer(tmp_path / "learned"), tmp_path / "run"
    fixed_directions.save(methods.fixed(np.ones(6), np.zeros(3), {"method": "random", "step": 12}), run / "transformer")
    for path, folder in ((transformer, transformer), (str(run), run / "transformer")):
        found, expected = transformer_of(bench, path), networks.load_transformer(folder)
        assert found.sha256 == expected.sha256
    assert found.source["step"] == 12


def test_a_folder_without_a_transformer_that_fits_is_refused(bench, generator, tmp_path):
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names 'sefla', which is no method .*; give learned"):
        transformer_of(bench, "sefla")
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names .*which holds a model for the role"):
        transformer_of(bench, generator)
    other = methods.fixed(np.ones(5), np.zeros(3), {"method": "random"})
    fixed_directions.save(other, tmp_path / "other")
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names .*other, which moves 5 latent dimensions"):
        transformer_of(bench, str(tmp_path / "other"))
