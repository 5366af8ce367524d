"""Trains an assessor on pictures: one jitted, donated, sharded step; the best by validation is exported."""

import itertools
import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx

from latentjax import checkpoint_folder, data, distributed, forms, networks, packages, precision, preemption
from latentjax import config as configs
from latentjax.assessor_objective import AssessorState, classified, make_step, normalised
from latentjax.checkpoints import Checkpoints
from latentjax.config import ConfigDict
from latentjax.data import pipeline
from latentjax.errors import InputError
from latentjax.files import read_json, told
from latentjax.heartbeat import Heartbeat
from latentjax.jobs import assessor_report
from latentjax.jobs.assessor_report import Predictions
from latentjax.jobs.export_assessor import export, tempered
from latentjax.jobs.students import Lesson, check_output, check_settings, new_student, starting_weights
from latentjax.jobs.train import opened, progress
from latentjax.jobs.workbench import start
from latentjax.metrics import Log, Validations
from latentjax.optimizers import optimizer
from latentjax.preemption import Stopped
from latentjax.report import classification
from latentjax.run_folder import RunFolder, job


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Prepares the pictures, trains, going on from the latest checkpoint, exports the best, reports.

    Raises:
        InputError: something in the config, the workdir, the pictures or the weights is wrong, or training diverged.
    """
    folder = RunFolder(workdir, config)
    start(config)
    check_settings(config)
    forms.choose(config.forms)
    mesh = distributed.data_mesh()
    distributed.refuse_other_input(configs.digest(config), "--config")
    distributed.check_divisible(config.assessor_training.batch_size, mesh, "config.assessor_training.batch_size")
    packages.scikit_learn("metrics")  # told now, and not at the first validation
    beginning, source = starting_weights(config), assessor_report.source_of(config)
    preparation = data.check(config.data, config.data.folder or folder.path / "data")
    check_output(config.assessor_training.output, preparation)
    checkpoint_folder.check(config.checkpoints.folder, folder.path)
    folder.create()
    with told(folder.path):
        distributed.refuse_unshared(folder.path, "name a --workdir that all of them share")
    examples = prepared(preparation)
    student = new_student(config, examples, beginning)
    facts = {"data_sha256": examples.sha256, "start_sha256": student.sha256}
    folder.refuse_other_weights(**facts)
    folder.write_run(**facts, mesh=dict(mesh.shape))
    lesson = Lesson(config, folder, mesh, examples, student)
    predict, settle = predictor(lesson), settler(lesson)
    chain = optimizer(config.assessor_training)
    state = AssessorState(jnp.zeros([], jnp.int32), student.params, student.statistics, chain.init(student.params))
    state = distributed.placed(state, distributed.replicated(mesh))
    with opened(config.checkpoints, folder, facts, state) as checkpoints:
        learned = learn(lesson, chain, checkpoints, lambda state: predict(settle(state)).metrics, state)
    logging.info("the best validation was that of step %d", learned.best)
    if learned.first == learned.last and distributed.all_agree(reported(folder.path, learned.best)):
        logging.info("nothing is missing; look at %s", folder.path / "report" / "index.html")
        return f"nothing to train, step {learned.last} was reached before"
    state = settle(learned.state)
    predictions, temperature = predict(state), None
    if config.assessor.calibrate and config.assessor_training.output != "regression":
        temperature, predictions = tempered(lesson, predictions)
    if distributed.is_primary():
        assessor = export(lesson, state, predictions, temperature)
        assessor_report.write(lesson.folder.path, assessor, examples, predictions, source)
    return f"an assessor of step {learned.best}"


def prepared(preparation: data.Preparation) -> data.Set:
    """The set, written by the primary process where it is missing.

    Raises:
        InputError: it cannot be written, or a process does not see what the primary wrote.
    """
    examples = preparation.finish() if distributed.is_primary() else None
    distributed.wait_for_all("the pictures", timeout=86_400)
    return examples or data.open_set(preparation.folder)


def reported(folder: pathlib.Path, best: int) -> bool:
    """Whether a run folder has the assessor of the best step, and the report on it and on all steps."""
    try:
        step = networks.load_assessor(folder / "assessor").source.get("step")
        drawn = read_json(folder / "report" / "report.json")["curves"]
        curves = json.loads(json.dumps(assessor_report.curves_of(folder, best)._asdict()))
    except (InputError, OSError, ValueError, LookupError, TypeError):
        return False
    return step == best and drawn == curves and (folder / "report" / "index.html").exists()


class Learned(NamedTuple):
    """What training came to."""

    first: int  # the step that it went on from
    last: int  # the step that it reached
    best: int
    state: AssessorState  # of the best step


def learn(
    lesson: Lesson,
    chain: optax.GradientTransformation,
    checkpoints: Checkpoints,
    validate: Callable[[AssessorState], dict[str, Any]],
    state: AssessorState,
) -> Learned:
    """Trains to the end, from the latest checkpoint."""
    settings = lesson.config.assessor_training
    first, state, log = checkpoints.restore(state) or (0, state, {})
    lesson.folder.note(from_step=first)
    if first:
        logging.info("going on from step %d of %d", first, settings.num_steps)
    validations = Validations(lesson.folder.path / "validation.jsonl", first)
    if first < settings.num_steps and not validations.stale(settings.patience):
        state = loop(lesson, chain, checkpoints, validations, validate, state, log)
    best = checkpoints.restore(state, best=True)
    return Learned(first, int(state.step), *((best.step, best.state) if best else (0, state)))


def loop(
    lesson: Lesson,
    chain: optax.GradientTransformation,
    checkpoints: Checkpoints,
    validations: Validations,
    validate: Callable[[AssessorState], dict[str, Any]],
    state: AssessorState,
    begun: dict[str, Any],
) -> AssessorState:
    """Steps until num_steps or until no validation gets better, in one order: step, log, validate, save.

    Raises:
        Stopped: a signal came; the step that was reached is saved.
    """
    settings, first, folder = lesson.config.assessor_training, int(state.step), lesson.folder
    compiled, agreed = compiled_step(lesson, chain), distributed.Agreement(lesson.mesh)
    unit, total = settings.batch_size, settings.num_steps
    with (
        told(folder.path),
        Log(folder.path, checkpoints, unit, first, "assessor_training.learning_rate", begun) as log,
        progress(total * unit, first * unit, " pictures") as bar,
        preemption.deferred() as stop,
    ):
        heart = Heartbeat(folder.path, "train", "pictures", unit, first, total)
        for step, batch in enumerate(training_batches(lesson, first), first + 1):
            state, metrics = distributed.settled(compiled(state, batch))
            log.add(metrics)
            if step == first + 1:
                heart.begin(step)
            stopping, validates = agreed(stop.asked), step == total or step % settings.validate_every == 0
            if validates or step % settings.log_every == 0:
                bar.set_postfix(loss=f"{log.write(step):.4f}", step=step)
            bar.update(unit)
            heart.beat(step)
            if validates:
                measured = validate(state)
                score = classification.selection(measured)
                validations.add(step, measured, score)
                checkpoints.save(step, state, -score)
                log.go_on()
            elif stopping:
                checkpoints.save(step, state, math.inf, log=log.unwritten())
            last = step == total or validations.stale(settings.patience)
            if last or stopping:
                checkpoints.wait()
                folder.note(step=step, seconds=heart.seconds)
                heart.close()
            if stopping or (last and agreed.now(stop.asked)):
                raise Stopped(f"stopped at step {step} of {total}, which is saved")
            if last:
                break
    return state


def training_batches(lesson: Lesson, first: int) -> Iterator[Any]:
    """The batches after step `first`, on the devices two steps ahead."""
    settings = lesson.config.assessor_training
    batches = pipeline.batches(
        lesson.examples.source("train"),
        lesson.image_size,
        settings.batch_size,
        settings.seed,
        start=first,
        process=(jax.process_index(), jax.process_count()),
        workers=settings.workers,
    )
    return distributed.ahead(batches, lesson.mesh)


def compiled_step(lesson: Lesson, chain: optax.GradientTransformation) -> Any:
    """(state, batch) -> (state, metrics), jitted; the state is donated."""
    student, settings = lesson.student, lesson.config.assessor_training
    half = precision.chosen(lesson.config.precision, lesson.mesh) == "bfloat16"
    return jax.jit(
        make_step(student.training, student.recipe, chain, settings.seed, bfloat16=half),
        donate_argnums=0,
        out_shardings=distributed.replicated(lesson.mesh),
        compiler_options=distributed.compiler_options(lesson.mesh),
    )


def settler(lesson: Lesson) -> Callable[[AssessorState], AssessorState]:
    """A function that gives a state the statistics of its own weights, averaged over statistics_batches batches.

    The running ones lag behind the weights and waver with the last batches: after hundreds of steps they are too far
    off (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3).
    """
    count, student = lesson.config.assessor_training.statistics_batches, lesson.student

    @jax.jit
    def add(totals: Any, state: AssessorState, images: jax.Array) -> Any:
        inputs = normalised(images, student.recipe)
        _, statistics = classified(student.measuring, state.params, state.statistics, inputs)
        return jax.tree.map(jnp.add, totals, statistics)

    def settle(state: AssessorState) -> AssessorState:
        totals = jax.tree.map(jnp.zeros_like, state.statistics)
        for batch in itertools.islice(training_batches(lesson, 0), count):
            totals = add(totals, state, batch["image"])
        return state._replace(statistics=jax.tree.map(lambda total: total / count, totals))

    return settle if count else lambda state: state


def predictor(lesson: Lesson) -> Callable[[AssessorState], Predictions]:
    """A function of the state that classifies all validation pictures."""
    student, examples = lesson.student, lesson.examples
    recipe, rows = student.recipe, distributed.by_row(lesson.mesh)
    size = distributed.shareable(lesson.config.assessor_training.batch_size, lesson.mesh)

    @jax.jit
    def classify(params: Any, statistics: Any, images: jax.Array) -> jax.Array:
        module = nnx.merge(student.inference, params, statistics)
        return module.classify(normalised(images, recipe)) * recipe.deviation + recipe.centre

    def predict(state: AssessorState) -> Predictions:
        labels, outputs = [], []
        for batch in pipeline.in_order(examples.source("validation"), lesson.image_size, size):
            count = batch["rows"]
            found = classify(state.params, state.statistics, distributed.placed(batch["image"], rows))
            outputs.append(distributed.fetched(found)[:count])
            labels.append(batch["label"][:count])
        found, targets = np.concatenate(outputs), np.concatenate(labels)
        return Predictions(targets, found, classification.measure(recipe.output, found, targets, examples.names))

    return predict
