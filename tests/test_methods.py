"""Ways of moving latents other than the plain sweep of a learned transformer: modes, parts, methods, formats."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import converters
import latentjax
from latentjax import fixed_directions, networks, weights
from latentjax.errors import InputError
from latentjax.jobs import evaluate, methods, train, workbench
from latentjax.report import __main__ as report
from tests import tiny_runs
from tests.test_evaluate import ROUNDING, artbreeder, evaluation_of, save_transformer, swept, table

ALPHAS = (-0.5, -0.25, 0.0, 0.25, 0.5)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    return save_transformer(tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="module")
def config(generator, transformer):
    def config(**fields):
        return tiny_runs.config(generator, **{"transformer__weights": transformer} | fields)

    return config


def scores(found) -> np.ndarray:
    """[strips, alphas]."""
    return np.array([measured["score"] for _, measured in found.values()])


def summaries(workdir) -> dict[str, dict]:
    folders = (workdir / "evaluation").iterdir()
    return {folder.name: json.loads((folder / "summary.json").read_text()) for folder in folders}


# ---- modes and parts


def test_iterative_steps_go_on_from_the_last_image(config, generator, transformer, tmp_path):
    evaluation, params = evaluation_of(config, tmp_path / "run", evaluate__mode="iterative")
    g, t = latentjax.load_generator(generator), latentjax.load_transformer(transformer)
    found = swept(evaluation, params)
    for strip in evaluation.strips:
        _, _, noise = evaluation.sweep.rows([strip])
        noise = tuple(rows[:1] for rows in noise)
        start = strip.latent.z[None], strip.latent.y[None]
        expected = {2: start}
        for sign in (-1, 1):
            expected[2 + sign] = t(*start, 0.25 * sign, noise)
            expected[2 + 2 * sign] = t(*expected[2 + sign], 0.25 * sign, noise)
        wanted = np.concatenate([np.asarray(score_of(evaluation.bench, g(*expected[i]))) for i in range(5)])
        np.testing.assert_allclose(found[strip.file][1]["score"], wanted, atol=ROUNDING)
    assert np.abs(scores(found) - scores(swept(*evaluation_of(config, tmp_path / "other")))).max() > 1e-3


def score_of(bench, images):
    return bench.assessor.apply(bench.assessor.state, jnp.asarray(images))


@pytest.mark.parametrize(("move", "form"), [("z", {"y": "none"}), ("y", {"z": "none"})])
def test_one_of_z_and_y_alone_is_the_transformer_without_the_other(config, transformer, tmp_path, move, form):
    found = swept(*evaluation_of(config, tmp_path / "run", evaluate__move=move))
    whole = networks.load_transformer(transformer)
    part = {path: array for path, array in weights.named(whole.state).items() if path.startswith(f"direction_{move}")}
    folder = tmp_path / "part"
    weights.save(folder, part, "transformer", whole.config | form, {"file": "", "sha256": ""})
    # the same noise, which a transformer without y draws from the same key
    alone = swept(*evaluation_of(config, tmp_path / "alone", transformer__weights=str(folder)))
    np.testing.assert_allclose(scores(found), scores(alone), atol=ROUNDING)
    assert np.ptp(scores(found), axis=1).max() > 1e-3


def test_evaluations_are_named_by_how_they_move(config, tmp_path):
    evaluate.run(config(evaluate__move="z", evaluate__mode="iterative"), str(tmp_path / "run"))
    evaluate.run(config(), str(tmp_path / "run"))
    assert set(summaries(tmp_path / "run")) == {"sampled", "sampled-z_only-iterative"}


# ---- several directions


@pytest.fixture(scope="module")
def several(generator, tmp_path_factory):
    """A run that learned three directions in turn."""
    workdir = tmp_path_factory.mktemp("several") / "run"
    fields = {"transformer__kind": "MultiDirectionZ", "train__num_steps": 12, "evaluate__after_train": True}
    train.run(tiny_runs.config(generator, train__samples_every=12, **fields), str(workdir))
    return workdir


def test_each_direction_is_trained_and_evaluated(several, generator):
    learned = tiny_runs.exported(several)
    start = weights.named(weights.nnx.state(weights.build("transformer", latentjax.load_transformer(several).config)))
    assert set(learned) == {f"direction_z/{k}/vector" for k in range(3)}
    for name, array in learned.items():
        assert np.abs(array - start[name]).max() > 1e-3
    assert set(summaries(several)) == {f"sampled-12-direction{k}" for k in range(3)}
    one, other = (summaries(several)[f"sampled-12-direction{k}"]["score"]["mean"] for k in (0, 1))
    assert one != other
    with Image.open(several / "samples" / "step00000012.png") as sheet:
        assert sheet.height > 9 * 16


def test_the_first_step_trains_direction_1(generator, tmp_path):
    bench = workbench.prepare(tiny_runs.config(generator, transformer__kind="directions"), str(tmp_path / "run"))
    draw = train.draws_of(bench, workbench.new_transformer(bench))
    assert [int(draw(jnp.int32(step))["direction"]) for step in range(5)] == [1, 2, 0, 1, 2]


def test_a_step_trains_one_direction_where_no_angle_is_asked_for(generator, tmp_path):
    c = tiny_runs.config(generator, transformer__kind="linear_directions", train__angle_weight=0.0, train__num_steps=1)
    train.run(c, str(tmp_path / "run"))
    learned = tiny_runs.exported(tmp_path / "run")
    start = weights.named(
        weights.nnx.state(weights.build("transformer", latentjax.load_transformer(tmp_path / "run").config))
    )
    changed = {name.split("/")[1] for name, array in learned.items() if np.abs(array - start[name]).max() > 0}
    assert changed == {"1"}


def test_chosen_directions_alone(several, generator, tmp_path):
    fields = {"transformer__weights": str(several / "transformer"), "evaluate__name": "mine"}
    evaluate.run(tiny_runs.config(generator, evaluate__directions=(2,), **fields), str(tmp_path / "run"))
    assert set(summaries(tmp_path / "run")) == {"mine-direction2"}
    with pytest.raises(InputError, match=r"config\.evaluate\.directions: has 3; give integers below 3"):
        evaluate.run(tiny_runs.config(generator, evaluate__directions=(3,), **fields), str(tmp_path / "run"))


# ---- methods that are not learned


def test_ascent_meets_requests(generator, tmp_path):
    c = tiny_runs.config(generator, evaluate__method="ascent", evaluate__ascent_steps=8)
    evaluate.run(c, str(tmp_path / "run"))
    found = summaries(tmp_path / "run")["sampled-ascent"]
    assert found["achieved"] > 0.85 * found["achieved_limit"]


def test_ascent_goes_on_under_its_own_settings_only(generator, tmp_path):
    fields = {"evaluate__method": "ascent", "evaluate__ascent_steps": 1}
    evaluate.run(tiny_runs.config(generator, **fields), str(tmp_path / "run"))
    with pytest.raises(InputError, match="was made with another settings"):
        evaluate.run(tiny_runs.config(generator, **fields | {"evaluate__ascent_steps": 2}), str(tmp_path / "run"))


def test_arithmetic_of_sampled_latents_raises_the_score(generator, tmp_path):
    c = tiny_runs.config(generator, evaluate__method="arithmetic", evaluate__arithmetic_count=200)
    evaluate.run(c, str(tmp_path / "run"))
    found = summaries(tmp_path / "run")["sampled-arithmetic"]
    assert found["score"]["mean"][-1] > found["score"]["mean"][0] + 0.05


def test_arithmetic_of_files_is_their_difference(generator, tmp_path):
    for name, seed in (("plus", 0), ("minus", 9)):
        artbreeder(tmp_path / name, ["a.json", "b.json"], seed)
    sets = {f"evaluate__{name}": str(tmp_path / name) for name in ("plus", "minus")}
    fields = {"evaluate__method": "arithmetic", "evaluate__strength": 2.0}
    bench = workbench.prepare(tiny_runs.config(generator, **fields | sets), str(tmp_path / "run"))
    # either order: which of the two random sets scores higher is told by the refusal of the other
    try:
        found, sign = methods.arithmetic_of(methods.Samples(bench)), 1
    except InputError:
        sets = dict(zip(sets, reversed(sets.values()), strict=True))
        bench = workbench.prepare(tiny_runs.config(generator, **fields | sets), str(tmp_path / "run"))
        found, sign = methods.arithmetic_of(methods.Samples(bench)), -1
    rows = [
        [json.loads(file.read_text())["latent"] for file in (tmp_path / name).iterdir()] for name in ("plus", "minus")
    ]
    difference = sign * (np.mean(rows[0], 0) - np.mean(rows[1], 0))
    vector = weights.named(found.state)["direction_z/vector"]
    np.testing.assert_allclose(vector, 2 * difference / found.source["gap"], rtol=1e-4)


def test_one_set_without_the_other_is_refused(generator, tmp_path):
    artbreeder(tmp_path / "plus", ["a.json"])
    c = tiny_runs.config(generator, evaluate__method="arithmetic", evaluate__plus=str(tmp_path / "plus"))
    with pytest.raises(InputError, match=r"config\.evaluate\.minus: is not set"):
        evaluate.run(c, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_random_direction_is_evaluated_without_training(generator, tmp_path):
    evaluate.run(tiny_runs.config(generator, evaluate__method="random"), str(tmp_path / "run"))
    rows = table(tmp_path / "run" / "evaluation" / "sampled-random")
    assert len({row["score"] for row in rows}) == len(rows)


def test_training_is_of_the_learned_method(generator, tmp_path):
    with pytest.raises(InputError, match=r"config\.evaluate\.method: is ascent"):
        train.run(tiny_runs.config(generator, evaluate__method="ascent"), str(tmp_path / "run"))


def test_a_published_transformer_is_evaluated_without_training(generator, tmp_path):
    torch = pytest.importorskip("torch")
    from converters.oracles import fixtures
    from converters.oracles import transformer as oracle

    model = oracle.Transformer(6, 3, kind="AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear")
    fixtures.randomise(model, seed=1)
    torch.save(model.state_dict(), tmp_path / "published.pth")
    converters.convert(tmp_path / "published.pth", tmp_path / "ours")
    evaluate.run(tiny_runs.config(generator, transformer__weights=str(tmp_path / "ours")), str(tmp_path / "run"))
    assert summaries(tmp_path / "run")["sampled"]["latents"] == 3


# ---- directions that are fitted to be met


FEW = {"evaluate__components": 4, "evaluate__arithmetic_count": 512}
FITTED = ("svm", "pca", "sefa")


def prepared(generator, folder, **fields):
    return workbench.prepare(tiny_runs.config(generator, **FEW | fields), str(folder))


@pytest.fixture(scope="module")
def bench(generator, tmp_path_factory):
    return prepared(generator, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def fitted(bench):
    pytest.importorskip("sklearn")
    samples = methods.Samples(bench)
    return {method: methods.transformer_of(bench, method, samples) for method in FITTED}


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
    again = methods.transformer_of(bench, method)
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
    alone = methods.transformer_of(prepared(generator, tmp_path / "z", evaluate__move="z"), "svm")
    assert set(weights.named(alone.state)) == {"direction_z/vector"}
    alone = methods.transformer_of(prepared(generator, tmp_path / "y", evaluate__move="y"), "svm")
    assert set(weights.named(alone.state)) == {"direction_y/vector"}


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_directions_of_z_do_not_move_y_alone(generator, tmp_path, method):
    bench = prepared(generator, tmp_path, evaluate__move="y")
    with pytest.raises(InputError, match=rf"config\.evaluate\.move: is y, and {method} moves z alone; give both or z"):
        methods.transformer_of(bench, method)


@pytest.mark.parametrize("method", ["pca", "sefa"])
def test_more_components_than_z_has_entries_are_refused(generator, tmp_path, method):
    bench = prepared(generator, tmp_path, evaluate__components=7)
    with pytest.raises(InputError, match=rf"config\.evaluate\.components: is 7, and {method} finds 6 .*give 6 or"):
        methods.transformer_of(bench, method)


def test_methods_that_share_samples_score_them_once(bench, monkeypatch):
    pytest.importorskip("sklearn")
    samples = methods.Samples(bench)
    counts, scores = [], samples.scores
    monkeypatch.setattr(samples, "scores", lambda z, y, bar: counts.append(len(z)) or scores(z, y, bar))
    methods.transformer_of(bench, "arithmetic", samples)
    methods.transformer_of(bench, "svm", samples)
    methods.transformer_of(bench, "sefa", samples)
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


def test_a_run_or_transformer_folder_stands_for_its_transformer(bench, transformer, several):
    for path, folder in ((transformer, transformer), (str(several), several / "transformer")):
        found, expected = methods.transformer_of(bench, path), networks.load_transformer(folder)
        assert found.sha256 == expected.sha256
    assert found.source["step"] == 12


def test_a_folder_without_a_transformer_that_fits_is_refused(bench, generator, tmp_path):
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names 'sefla', which is no method .*; give learned"):
        methods.transformer_of(bench, "sefla")
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names .*which holds a model for the role"):
        methods.transformer_of(bench, generator)
    other = methods.fixed(np.ones(5), np.zeros(3), {"method": "random"})
    fixed_directions.save(other, tmp_path / "other")
    with pytest.raises(InputError, match=r"config\.evaluate\.runs: names .*other, which moves 5 latent dimensions"):
        methods.transformer_of(bench, str(tmp_path / "other"))


# ---- kept scores


def test_an_edit_keeps_what_it_is_asked_to_keep(generator, tmp_path):
    """Asked for more colour and for the colour there was, it hardly changes it."""
    terms = ({"weights": "embedded:colourfulness", "centre": 3.76, "slope": 5.33},)
    kept = ({"weights": "embedded:colourfulness", "weight": 100.0, "keep": True},)
    found = {}
    for name, given in (("free", terms), ("kept", terms + kept)):
        fields = {"assessor__weights": "", "assessor__centre": None, "assessor__slope": None, "assessor__terms": given}
        fields |= {"transformer__kind": "one_direction", "train__num_steps": 150, "train__learning_rate": 0.1}
        train.run(tiny_runs.config(generator, evaluate__after_train=True, **fields), str(tmp_path / name))
        found[name] = summaries(tmp_path / name)["sampled-150"]
    assert found["free"]["achieved"] > 0.15
    assert found["kept"]["achieved"] < 0.5 * found["free"]["achieved"]
    assert "kept colourfulness-1" in found["kept"]["properties"]


def test_terms_and_a_single_assessor_are_not_given_together(generator, tmp_path):
    terms = ({"weights": "embedded:brightness"},)
    with pytest.raises(InputError, match=r"config\.assessor\.weights: is set beside config\.assessor\.terms"):
        workbench.prepare(tiny_runs.config(generator, assessor__terms=terms), str(tmp_path / "run"))
    fields = {"assessor__weights": "", "assessor__terms": terms}
    with pytest.raises(InputError, match=r"config\.assessor\.centre: is set beside"):
        workbench.prepare(tiny_runs.config(generator, **fields), str(tmp_path / "run"))


# ---- files


def test_strips_as_jpeg(config, tmp_path):
    evaluate.run(config(evaluate__format="jpeg"), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    names = sorted(path.name for path in (folder / "grids").iterdir())
    assert names == [f"seed1-{i:05d}.jpg" for i in range(3)]
    with Image.open(folder / "grids" / names[0]) as image:
        assert image.format == "JPEG"
    assert names[0] in (folder / "index.html").read_text()
    with pytest.raises(InputError, match="was made with another format"):
        evaluate.run(config(), str(tmp_path / "run"))


def test_a_folder_is_rebuilt_without_images(config, tmp_path):
    evaluate.run(config(), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    made = ["scores.csv", "manifest.jsonl", "curves.png", "index.html", "summary.json"]
    before = {name: (folder / name).read_bytes() for name in made}
    for name in ("scores.csv", "curves.png", "index.html", "manifest.jsonl"):
        (folder / name).unlink()
    kept = {path: path.stat().st_mtime_ns for part in ("grids", "sprites") for path in (folder / part).iterdir()}
    report.command(["rebuild", str(folder)])
    assert {name: (folder / name).read_bytes() for name in made} == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_unfinished_folder_is_not_rebuilt(config, tmp_path):
    evaluate.run(config(), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    log = (folder / "strips.jsonl").read_text().splitlines()
    (folder / "strips.jsonl").write_text("\n".join([*log[:2], log[1]]) + "\n")
    with pytest.raises(InputError, match=r"is not finished \(1 strips\)"):
        report.command(["rebuild", str(folder)])
    (folder / "strips.jsonl").unlink()
    with pytest.raises(InputError, match="is no finished evaluation"):
        report.command(["rebuild", str(folder)])
