"""Learns a transformer: equation (2), one jitted, donated, sharded step over all devices."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import logging
from tqdm import tqdm

from latentjax import (
    checkpoint_folder,
    distributed,
    latents,
    networks,
    objective,
    preemption,
    profiling,
    remote,
    space,
    starts,
)
from latentjax.checkpoints import Checkpoints, named_leaves, sized
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import told
from latentjax.heartbeat import Heartbeat
from latentjax.jobs.evaluation import Evaluation
from latentjax.jobs.export import export
from latentjax.jobs.workbench import Workbench, new_transformer, prepare
from latentjax.metrics import Log, Metrics
from latentjax.optimizers import optimizer
from latentjax.preemption import Stopped
from latentjax.run_folder import RunFolder, job
from latentjax.terms import Terms


class TrainState(NamedTuple):
    """What a step changes; everything else is a function of (seed, step)."""

    step: jax.Array
    params: Any
    opt_state: Any


def initial_state(params: Any, chain: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.zeros([], jnp.int32), params, chain.init(params))


def make_step(
    nets: objective.Networks,
    chain: optax.GradientTransformation,
    draw: Callable[[jax.Array], dict[str, Any]],
    *,
    clip: bool,
    penalties: objective.Penalties | None = None,
    parts: int = 1,
) -> Callable[[TrainState, objective.Frozen], tuple[TrainState, Metrics]]:
    """The training step as a pure function: draws, gradient to the transformer alone, update.

    Args:
        nets: the three networks.
        chain: the optimizer.
        draw: step -> the draws of `objective.loss`.
        clip, penalties, parts: see `objective.loss`.
    """

    def step(state: TrainState, frozen: objective.Frozen) -> tuple[TrainState, Metrics]:
        draws = draw(state.step)

        def loss(params: Any) -> tuple[jax.Array, objective.Edit]:
            return objective.loss(nets, params, frozen, draws, clip=clip, penalties=penalties, parts=parts)

        (value, edit), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, opt_state = chain.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norms = optax.tree.norm(grads), optax.tree.norm(updates)
        missed = jnp.mean((edit.edited_scores - (edit.scores[:, None] + edit.alpha)) ** 2)
        metrics = Metrics(value, value - missed, *norms, edit.scores.mean(), edit.edited_scores.mean())
        return TrainState(state.step + 1, params, opt_state), metrics

    return step


@job
def run(config: ConfigDict, workdir: str) -> str:
    """Trains until train.num_steps, going on from the latest checkpoint, exports, evaluates.

    Raises:
        InputError: something in the config, the workdir or a weights folder is wrong, or training diverged.
    """
    if config.evaluate.method != "learned":
        what = f"is {config.evaluate.method}, and training is followed by an evaluation of what was learned"
        raise InputError("config.evaluate.method", what, "train without it, then add --job=evaluate")
    bench = prepare(config, workdir)
    check_batch(config.train, bench.mesh)
    check_clip(config.train, bench.assessor)
    transformer = new_transformer(bench)
    evaluation = Evaluation(bench, transformer)
    bench.folder.refuse_other_weights(**bench.sha256)
    checkpoint_folder.check(config.checkpoints.folder, bench.folder.path)
    bench.create()
    bench.folder.write_run(**bench.sha256, mesh=dict(bench.mesh.shape))
    chain = optimizer(config.train)
    state = distributed.placed(initial_state(transformer.state, chain), distributed.replicated(bench.mesh))
    with opened(config.checkpoints, bench.folder, bench.sha256, state, evaluation.ahead) as checkpoints:
        restored = checkpoints.restore(state)
        first, state, log = restored or (0, state, {})
        bench.folder.note(from_step=first)
        if first:
            logging.info("going on from step %d of %d", first, config.train.num_steps)
            evaluation.refuse_taken_name(first)
        elif config.evaluate.before_train:
            evaluation.run(state.params, step=0, untrained=True)
        state = loop(bench, transformer, evaluation, chain, checkpoints, state, log)
    export(bench, transformer, state.params, int(state.step))
    made = evaluation.run(state.params, step=int(state.step)) if config.evaluate.after_train else 0
    return done(bench, first, made)


@contextlib.contextmanager
def opened(
    settings: ConfigDict, run: RunFolder, sha256: dict[str, str], state: Any, ahead: space.Ahead = lambda _: []
) -> Iterator[Checkpoints]:
    """The run's checkpoints; when the block ends, all of them are saved.

    Args:
        settings: config.checkpoints.
        run: the run folder.
        sha256: what the run is of, beside its config.
        state: what is to be saved.
        ahead: what else the run will write from a step on.

    Raises:
        InputError: they cannot be written, another process is at it, or there is no room for one.
    """
    folder = checkpoint_folder.folder_of(settings.folder, run.path)
    checkpoint_folder.take(folder)
    checkpoints = Checkpoints(folder, settings.keep, run.identity(**sha256))
    try:
        if distributed.is_primary():
            latest, needs = checkpoints.latest(), []
            if run.is_new and latest is not None:
                logging.warning("%s: holds step %d of another workdir's run; going on with it", folder, latest)
            if not remote.is_remote(folder):
                each = sum(leaf.nbytes for leaf in sized(named_leaves(state)).values())
                needs = [space.Need(pathlib.Path(folder), "checkpoints", (settings.keep + 2) * each, each)]
            space.check_together([*needs, *ahead(latest or 0)])
        distributed.wait_for_all("a look at the room")
        yield checkpoints
    finally:
        checkpoints.close()


def done(bench: Workbench, first: int, strips: int) -> str:
    """What this start did, for the closing line: it began after step `first`, and evaluated with so many strips."""
    train, found = bench.config.train, starts.goodput(bench.folder.starts)
    if first >= train.num_steps:
        evaluated = f"; {strips} strips made" if strips else ""
        return f"nothing to train, step {first} was reached before{evaluated}"
    samples = (train.num_steps - first) * train.batch_size * train.alphas_per_latent
    again = f" (of {found.starts} starts, {100 * found.share:.0f} % of their time in steps that count)"
    return f"trained steps {first} to {train.num_steps}, {samples:,} samples" + again * (found.starts > 1)


def loop(
    bench: Workbench,
    transformer: networks.LatentTransformer,
    evaluation: Evaluation,
    chain: optax.GradientTransformation,
    checkpoints: Checkpoints,
    state: TrainState,
    begun: dict[str, Any],
) -> TrainState:
    """Steps until train.num_steps, in one order: step, log, save, sample.

    Raises:
        Stopped: a signal came; the step that was reached is saved.
    """
    train, first = bench.config.train, int(state.step)
    if first >= train.num_steps:
        return state
    compiled, agreed = compiled_step(bench, transformer, chain), distributed.Agreement(bench.mesh)
    unit, folder = train.batch_size * train.alphas_per_latent, bench.folder
    with (
        told(folder.path),
        Log(folder.path, checkpoints, unit, first, begun=begun) as log,
        progress(train.num_steps * unit, first * unit, " samples") as bar,
        profiling.Trace(folder.path, first, train.profile_steps) as trace,
        preemption.deferred() as stop,
    ):
        heart = Heartbeat(folder.path, "train", "samples", unit, first, train.num_steps)
        for step in range(first + 1, train.num_steps + 1):
            with trace.step(step):
                state, metrics = distributed.settled(compiled(state, bench.frozen))
            log.add(metrics)
            if step == first + 1:
                heart.begin(step)
            last = step == train.num_steps
            stopping = agreed.now(stop.asked) if last else agreed(stop.asked)
            if last or step % train.log_every == 0 or step % train.checkpoint_every == 0:
                bar.set_postfix(loss=f"{log.write(step):.4f}", step=step)
            bar.update(unit)
            heart.beat(step)
            if last or step % train.checkpoint_every == 0:
                checkpoints.save(step, state, log.loss_since_save())
            elif stopping:
                checkpoints.save(step, state, math.inf, log=log.unwritten())
            if train.samples_every and (last or step % train.samples_every == 0):
                evaluation.preview(state.params, step)
            if last or stopping:
                checkpoints.wait()
                folder.note(step=step, seconds=heart.seconds)
                heart.close()
            if stopping or (last and agreed.now(stop.asked)):
                raise Stopped(f"stopped at step {step} of {train.num_steps}, which is saved")
    return state


def progress(total: int, initial: int, unit: str) -> tqdm:
    """A bar, on the primary process."""
    hidden = not distributed.is_primary()
    return tqdm(total=total, initial=initial, unit=unit, unit_scale=True, desc="train", disable=hidden)


def check_batch(train: ConfigDict, mesh: jax.sharding.Mesh) -> None:
    """Refuses a batch that devices and micro-batches cannot share evenly.

    Raises:
        InputError: naming the field.
    """
    distributed.check_divisible(train.batch_size, mesh, "config.train.batch_size")
    share = train.batch_size // mesh.size
    if share % train.micro_batches:
        what = f"{train.micro_batches} does not divide the {share} latents of a device"
        raise InputError("config.train.micro_batches", what, "give a divisor of them")


def check_clip(train: ConfigDict, assessor: Terms) -> None:
    """Refuses to clip alphas for scores without bounds.

    Raises:
        InputError: naming the field.
    """
    if train.clip_alphas and not assessor.bounded:
        what = "is for scores in [0, 1], which these may leave"
        raise InputError("config.train.clip_alphas", what, "leave it out")


def compiled_step(
    bench: Workbench, transformer: networks.LatentTransformer, chain: optax.GradientTransformation
) -> Any:
    """(state, frozen weights) -> (state, metrics), jitted; the state is donated."""
    train = bench.config.train
    step = make_step(
        bench.networks(transformer),
        chain,
        draws_of(bench, transformer),
        clip=train.clip_alphas,
        penalties=objective.Penalties(bench.assessor.kept_weights, train.angle_weight, train.angle_form),
        parts=train.micro_batches,
    )
    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=distributed.replicated(bench.mesh),
        compiler_options=distributed.compiler_options(bench.mesh),
    )


def draws_of(bench: Workbench, transformer: networks.LatentTransformer) -> Callable[[jax.Array], dict[str, Any]]:
    """step -> what the step draws, each row on its device."""
    train, settings = bench.config.train, bench.config.latents

    def draw(step: jax.Array) -> dict[str, Any]:
        draws = latents.draw(
            train.seed,
            step,
            train.batch_size,
            bench.generator.latent_dim,
            bench.generator.num_classes,
            truncation=settings.truncation,
            classes=bench.classes,
            alphas_per_latent=train.alphas_per_latent,
            noise_shapes=transformer.noise_dims,
        )
        draws = distributed.constrain(draws, distributed.by_row(bench.mesh))
        # as published: the index advances before it is used, so the first step trains direction 1
        return draws | {"direction": (step + 1) % transformer.num_directions}

    return draw
