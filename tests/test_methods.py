"""Ways of moving latents other than the plain sweep of a learned transformer: modes, parts, methods, formats."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import converters
import latentjax
from latentjax import networks, weights
from latentjax.errors import InputError
from latentjax.jobs import evaluate, methods, train, workbench
from tests import tiny_runs
from tests.test_evaluate import ROUNDING, artbreeder, evaluation_of, swept, table

ALPHAS = (-0.5, -0.25, 0.0, 0.25, 0.5)


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


# ---- kept scores


@pytest.mark.slow
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
