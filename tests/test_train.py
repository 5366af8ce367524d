"""Training: stopped and gone on with it is bit for bit the same, it moves the transformer alone, and it learns."""

import collections
import json
import re
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import latentjax
from latentjax import distributed, latents, networks, objective, optimizers, weights
from latentjax.jobs import train, workbench
from latentjax.radam import radam
from tests import tiny_runs

LAUNCH = "import sys, launch; sys.exit(launch.main())"
# the process kills itself as a step begins: nothing that Python would do at its end is done
KILLED = """
import os, pathlib, signal, sys
import launch
from latentjax.checkpoints import Checkpoints
from latentjax.jobs import train
workdir = next(word for word in sys.argv if word.startswith("--workdir=")).removeprefix("--workdir=")
steps, add, save = 0, train.Log.add, Checkpoints.save
def add_or_die(log, metrics):
    global steps
    steps += 1
    if steps == 42:
        with open(pathlib.Path(workdir) / "metrics.jsonl", "a") as file:
            file.write('{"step": 41, "lo')
        os.kill(os.getpid(), signal.SIGKILL)
    add(log, metrics)
def save_the_first_whole(checkpoints, step, state, loss):
    save(checkpoints, step, state, loss)
    if step == 20:
        checkpoints._manager.wait_until_finished()
train.Log.add, Checkpoints.save = add_or_die, save_the_first_whole
launch.main()
"""


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
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


@pytest.mark.parametrize("bad", [{"loss": np.float32("nan")}, {"update_norm": np.float32("inf")}], ids=str)
def test_a_diverged_run_stops_in_one_line_and_keeps_the_checkpoint_before(
    bad, generator, tmp_path, monkeypatch, capsys
):
    steps, add = [], train.Log.add

    def add_something_bad(log, metrics):
        steps.append(metrics)
        add(log, metrics._replace(**bad) if len(steps) == 25 else metrics)

    monkeypatch.setattr(train.Log, "add", add_something_bad)
    c = tiny_runs.config(generator)
    assert launched(monkeypatch, c, tmp_path / "run") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: training: diverged before step 30 (loss ")
    assert last.endswith("; step 20 is kept")
    assert [line["step"] for line in tiny_runs.metrics(tmp_path / "run")] == [10, 20]
    assert not (tmp_path / "run" / "transformer").exists()
    kept = tiny_runs.saved_state(tmp_path / "run", 20)
    assert kept["step"] == 20
    assert all(np.isfinite(array).all() for array in kept.values())
    # and it can be gone on from
    monkeypatch.setattr(train.Log, "add", add)
    assert launched(monkeypatch, c, tmp_path / "run") == 0
    assert tiny_runs.metrics(tmp_path / "run")[-1]["step"] == 60


def test_a_generator_that_makes_no_pictures_stops_at_once(tmp_path, monkeypatch, capsys):
    broken = tiny_runs.save_generator(tmp_path / "generator", scale=float("nan"))
    assert launched(monkeypatch, tiny_runs.config(broken), tmp_path / "run") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: training: diverged before step 10 (loss nan)")
    assert not (tmp_path / "run" / "transformer").exists()


# ---- one step


def fake_networks(calls: list[tuple[int, ...]]) -> objective.Networks:
    """Linear in everything but the scores; `calls` collects the shapes of z that the generator was given."""

    def generator(weights, z, y):
        calls.append(z.shape)
        return (z @ weights["z"] + y @ weights["y"])[:, None, None, :]

    def assessor(weights, images):
        return jax.nn.sigmoid(images[:, 0, 0] @ weights)

    def transformer(params, z, y, alpha, noise, direction):
        assert noise == (None, None)
        return z + alpha[:, None] * params["z"], y + alpha[:, None] * params["y"]

    return objective.Networks(generator, assessor, transformer)


FAKE = {"batch": 5, "latent_dim": 6, "num_classes": 3, "truncation": 1.0, "classes": "onehot", "noise_shapes": (0, 0)}


def fake_state(chain) -> tuple[train.TrainState, objective.Frozen]:
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = {"z": (6, 3), "y": (3, 3)}
    weights = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=False)}
    params = {"z": jax.random.normal(keys[2], (6,)), "y": jax.random.normal(keys[3], (3,))}
    frozen = objective.Frozen(weights, jax.random.normal(keys[4], (3,)))
    return train.initial_state(params, chain), frozen


def fake_draw(alphas_per_latent, **shapes):
    def draw(step):
        return latents.draw(3, step, alphas_per_latent=alphas_per_latent, **FAKE | shapes) | {"direction": jnp.int32(0)}

    return draw


@pytest.mark.parametrize("alphas", [1, 3])
def test_all_alphas_of_a_latent_share_its_unedited_pass(alphas):
    calls, chain = [], optax.sgd(0.5)
    state, frozen = fake_state(chain)
    step = jax.jit(train.make_step(fake_networks(calls), chain, fake_draw(alphas), clip=False))
    after, metrics = step(state, frozen)
    assert calls == [(5, 6), (5 * alphas, 6)]
    # equation (2) by hand, in float64
    draws = {name: np.asarray(array, np.float64) for name, array in fake_draw(alphas)(0).items() if array is not None}
    weights, assessor = jax.tree.map(lambda w: np.asarray(w, np.float64), tuple(frozen))

    def score(z, y):
        return 1 / (1 + np.exp(-(z @ weights["z"] + y @ weights["y"]) @ assessor))

    rows = [
        (score(z + a * np.asarray(state.params["z"]), y + a * np.asarray(state.params["y"])), score(z, y), a)
        for z, y, many in zip(draws["z"], draws["y"], draws["alpha"], strict=True)
        for a in many
    ]
    assert len(rows) == 5 * alphas
    loss = np.mean([(edited - (unedited + a)) ** 2 for edited, unedited, a in rows])
    # float32 sums of some ten terms
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(metrics.edited_score, np.mean([edited for edited, *_ in rows]), rtol=1e-5)
    assert int(after.step) == 1


def test_each_step_draws_anew_and_goes_down_the_gradient():
    chain = optax.sgd(0.5)
    state, frozen = fake_state(chain)
    nets = fake_networks([])
    step = jax.jit(train.make_step(nets, chain, fake_draw(1), clip=False))
    grads = jax.jit(jax.grad(lambda params: objective.loss(nets, params, frozen, fake_draw(1)(0))[0]))(state.params)
    once, first = step(state, frozen)
    for name, grad in grads.items():
        # one float32 subtraction, fused or not
        np.testing.assert_allclose(once.params[name], state.params[name] - 0.5 * grad, rtol=1e-6)
    assert float(first.grad_norm) == pytest.approx(float(optax.tree.norm(grads)), rel=1e-6)
    assert float(first.update_norm) == pytest.approx(float(optax.tree.norm(grads)) / 2, rel=1e-6)
    _, second = step(once, frozen)
    assert float(second.score) != float(first.score)


def test_an_update_without_a_finite_norm_is_seen_before_it_is_saved():
    chain = radam(1e30)
    state, frozen = fake_state(chain)
    after, metrics = jax.jit(train.make_step(fake_networks([]), chain, fake_draw(1), clip=False))(state, frozen)
    assert np.isfinite(metrics.loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))
    assert np.isinf(metrics.update_norm)


def learned(step, state, frozen) -> tuple[train.TrainState, float]:
    """The state after 150 steps, and the last losses as a share of the first."""
    losses = []
    for _ in range(150):
        state, metrics = step(state, frozen)
        losses.append(metrics.loss)
    return state, float(np.mean(losses[-30:]) / np.mean(losses[:30]))


@pytest.mark.parametrize(
    ("directions", "moved"),
    [
        (("two_layer(z, noise)", "two_layer(y, noise)"), {"direction_z", "direction_y"}),
        (("two_layer(z, noise)", "none"), {"direction_z"}),
        (("none", "two_layer(y, noise)"), {"direction_y"}),
        (("vector", "none"), {"direction_z"}),
    ],
    ids=["z and y", "z only", "y only", "one direction"],
)
def test_every_kind_learns(directions, moved):
    sizes = {"latent_dim": 6, "num_classes": 3, "noise_dim_y": 2, "class_reg": 1.0}
    record = {"kind": "transformer", "config": sizes | dict(zip("zy", directions, strict=True))}
    transformer, chain = networks.LatentTransformer(weights.build(**record), record), radam(0.1)
    _, frozen = fake_state(chain)
    nets = fake_networks([])._replace(transformer=transformer.apply)
    draw = fake_draw(1, batch=16, noise_shapes=transformer.noise_dims)
    step = jax.jit(train.make_step(nets, chain, draw, clip=False))
    start = train.initial_state(transformer.state, chain)
    end, share = learned(step, start, frozen)
    assert share < 0.8
    before, after = weights.named(start.params), weights.named(end.params)
    assert {name.split("/")[0] for name in after} == moved
    assert all(not np.array_equal(before[name], after[name]) for name in after)


# ---- the step of the tiny generator


@pytest.fixture(scope="module")
def bench(generator, tmp_path_factory):
    c = tiny_runs.config(generator, train__batch_size=16, train__learning_rate=0.1)
    return workbench.prepare(c, str(tmp_path_factory.mktemp("bench") / "run"))


def step_of(bench):
    """The step, and the state that it begins with."""
    transformer, chain = workbench.new_transformer(bench), optimizers.optimizer(bench.config.train)
    step = train.make_step(bench.networks(transformer), chain, train.draws_of(bench, transformer), clip=False)
    state = train.initial_state(transformer.state, chain)
    return step, jax.device_put(state, distributed.replicated(bench.mesh))


def test_the_loss_falls_and_the_frozen_weights_stay(bench):
    before = jax.tree.map(np.array, bench.frozen)
    step, state = step_of(bench)
    _, share = learned(jax.jit(step, donate_argnums=0), state, bench.frozen)
    assert share < 0.4
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, bench.frozen))


def test_frozen_weights_are_arguments_of_the_step(bench):
    step, state = step_of(bench)
    frozen = {leaf.shape for leaf in jax.tree.leaves(bench.frozen)}
    assert (9, 256) in frozen
    assert not frozen & {np.shape(const) for const in jax.make_jaxpr(step)(state, bench.frozen).consts}
    text = jax.jit(step).lower(state, bench.frozen).as_text()
    written = re.findall(r"stablehlo\.constant dense<[^>]{9,}> : tensor<([0-9x]*)x[a-z]", text)
    # tables of the rectifier and small shapes, but no kernel: (9, 256), (4, 4, 16, 8), (4, 4, 8, 3)
    found = {tuple(map(int, shape.split("x"))) for shape in written if shape}
    assert found
    assert all(len(shape) == 1 for shape in found), found
    # and weights that are not known yet are enough to trace it
    jax.eval_shape(step, state, jax.eval_shape(lambda: bench.frozen))


def test_nothing_is_traced_twice(generator, tmp_path, monkeypatch, caplog):
    traced = collections.Counter()

    def counting(name):
        traces = getattr(objective, name)
        monkeypatch.setattr(objective, name, lambda *words, **named: traced.update([name]) or traces(*words, **named))

    counting("loss")
    counting("along")
    evaluations = {"evaluate__before_train": True, "evaluate__after_train": True}
    with jax.log_compiles():
        train.run(tiny_runs.config(generator, train__num_steps=4, train__samples_every=2, **evaluations), str(tmp_path))
    programs = collections.Counter(re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text))
    assert (programs["step"], programs["_measure"]) == (1, 1)
    assert traced == {"loss": programs["step"], "along": programs["_measure"]}


# ---- the optimizer


RATE = 1e-4  # 1 - .999^t has lost some three of float32's digits in the first steps


def rates(steps: int, **fields) -> list[float]:
    """What each step takes from a parameter whose gradient is always 1: Adam's steps are then the rate itself."""
    c = tiny_runs.config("", **{"train__optimizer": "adam", "train__learning_rate": 0.1} | fields)
    chain, params = optimizers.optimizer(c.train), {"w": jnp.ones(1)}
    state, taken = chain.init(params), []
    update = jax.jit(chain.update)
    for _ in range(steps):
        updates, state = update({"w": jnp.ones(1)}, state, params)
        taken.append(-float(updates["w"][0]))
    return taken


def test_a_constant_rate_is_constant():
    np.testing.assert_allclose(rates(6), 0.1, rtol=RATE)


def test_a_warm_up_rises_from_zero_by_equal_steps():
    wanted = [0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(rates(7, train__warmup_steps=4), wanted, rtol=RATE)


def test_cosine_falls_to_zero_at_the_last_step():
    wanted = [0.05 * (1 + np.cos(np.pi * step / 8)) for step in range(9)]
    found = rates(9, train__schedule="cosine", train__num_steps=8)
    np.testing.assert_allclose(found, wanted, rtol=RATE, atol=1e-8)
    assert found[4] == pytest.approx(0.05, rel=RATE)


def test_cosine_begins_where_the_warm_up_ends():
    wanted = [0, 0.05, *(0.05 * (1 + np.cos(np.pi * step / 8)) for step in range(9))]
    found = rates(11, train__schedule="cosine", train__warmup_steps=2, train__num_steps=10)
    np.testing.assert_allclose(found, wanted, rtol=RATE, atol=1e-8)


def test_radam_begins_with_momentum_at_the_same_rate():
    # steps 1 to 5 are bias-corrected momentum, of a gradient that is always 1
    wanted = [0, 0.05, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(rates(5, train__optimizer="radam", train__warmup_steps=2), wanted, rtol=RATE)


@pytest.mark.parametrize("optimizer", ["adam", "radam"])
def test_weight_decay_is_decoupled(optimizer):
    # from a parameter of 1, besides the gradient's 0.1: rate times decay
    found = rates(3, train__optimizer=optimizer, train__weight_decay=0.5)
    np.testing.assert_allclose(found, 0.1 + 0.1 * 0.5, rtol=RATE)


@pytest.mark.parametrize("optimizer", ["adam", "radam"])
def test_gradients_are_clipped_by_their_norm(optimizer):
    c = tiny_runs.config("", train__optimizer=optimizer, train__clip_norm=1.0)
    chain, params = optimizers.optimizer(c.train), {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([30.0]), "b": jnp.array([40.0])}
    _, state = chain.update(grads, chain.init(params), params)
    moments = next(leaf for leaf in jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "mu")) if hasattr(leaf, "mu"))
    # a tenth of the clipped gradient is the first momentum
    np.testing.assert_allclose([moments.mu["a"][0], moments.mu["b"][0]], [0.06, 0.08], rtol=1e-6)
