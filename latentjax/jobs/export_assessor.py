"""The assessor that was learned as a portable model folder, with a card."""

import json

import jax
import numpy as np
from absl import logging

from latentjax import networks, weights
from latentjax.assessor_objective import AssessorState
from latentjax.jobs.assessor_report import Predictions
from latentjax.jobs.students import Lesson
from latentjax.report import classification


def score_of(lesson: Lesson) -> str:
    """What the exported assessor's score is."""
    names, chosen = lesson.examples.names, lesson.student.config.get("output_class")
    if not names:
        return "the predicted number"
    if len(names) > 2 and chosen is None:
        return "the probability of the class that assessor.output_class chooses"
    return f"the probability of `{names[1 if chosen is None else chosen]}`"


CARD = """# An assessor

Trained by latentjax on the pictures of `{folder}` ({counts}), {steps} steps.{origin} Classes: {names}; the score is
{score}. On the validation split: {measured}.

    A = latentjax.load_assessor("{path}")
    scores = A(images)      # images [B, H, W, 3] in [-1, 1]

Settings: `{config}`. A score is what this network learned from these pictures and labels, not the property itself.
"""


def tempered(lesson: Lesson, predictions: Predictions) -> tuple[float, Predictions]:
    """The temperature that fits the validation pictures, and what is predicted with it."""
    output, labels = lesson.student.config["output"], predictions.labels
    temperature = classification.temperature(predictions.outputs, labels, output)
    outputs = predictions.outputs / temperature
    measured = classification.measure(output, outputs, labels, lesson.examples.names)
    return temperature, Predictions(labels, outputs, measured)


def export(
    lesson: Lesson, state: AssessorState, predictions: Predictions, temperature: float | None
) -> networks.Assessor:
    """Writes assessor/, a model folder with a card; logits of the head are divided by the temperature."""
    config, examples, path = lesson.student.config, lesson.examples, lesson.folder.path / "assessor"
    arrays = jax.device_get(weights.named(state.params) | weights.named(state.statistics))
    source = {"file": "", "sha256": "", "step": int(state.step), "data_sha256": examples.sha256}
    origin, names = lesson.config.data.origin, examples.names
    source |= {"classes": list(names), "origin": origin}
    if temperature is not None:
        arrays |= {name: arrays[name] / np.float32(temperature) for name in ("classifier/kernel", "classifier/bias")}
        source["temperature"] = temperature
    shown = ("accuracy", "f1", "auc", "ece", "r2", "mae")
    measured = ", ".join(f"{name} {predictions.metrics[name]:.3f}" for name in shown if predictions.metrics.get(name))
    card = CARD.format(
        folder=examples.folder,
        counts=json.dumps(examples.counts),
        steps=int(state.step),
        origin=f" These are from {origin}." if origin else "",
        names=", ".join(names) or "none",
        score=score_of(lesson),
        measured=measured,
        path=path,
        config=json.dumps(config),
    )
    weights.save(path, arrays, "efficientnet", config, source, card=card, replace=True)
    logging.info("the assessor is in %s (%s)", path, measured)
    return networks.load_assessor(path)
