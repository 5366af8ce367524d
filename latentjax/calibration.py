"""An assessor that is saturated on generated images gives no gradient; spreading its scores makes it usable."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from latentjax import latents, networks, weights
from latentjax.assessors import image_property
from latentjax.class_vectors import ClassVectors
from latentjax.errors import InputError

SPREAD = 1.5  # standard deviation of the score's logit: most scores between .05 and .95
MEAN, DEVIATION = 0.5, 0.2  # of the scores of a regression, which have no logit
IMAGES, BATCH, SEED = 256, 8, 0


def sampled_images(generator: networks.Generator, classes: ClassVectors, truncation: float) -> Iterator[jax.Array]:
    """Batches of images of `IMAGES` latents, drawn as training draws them."""
    for i in range(IMAGES // BATCH):
        key_z, key_y = jax.random.split(jax.random.fold_in(jax.random.key(SEED), i))
        z = latents.sample_z(key_z, BATCH, generator.latent_dim, truncation)
        yield generator(z, classes.sample(key_y, BATCH), *generator.after_latents(truncation))


def rescaled(assessor: networks.Assessor, images: Iterable[jax.Array]) -> networks.Assessor:
    """The assessor with its scores spread over the images; the order of any two scores stays as it is.

        softmax of 2 classes   the head is scaled: the logit difference has mean 0 and deviation `SPREAD`
        margin                 centre and slope are set: likewise the logit of the score
        regression             centre and slope are set: the scores have mean `MEAN` and deviation `DEVIATION`
        image property         centre and slope are set as `image_property.calibrate` chooses them

    Args:
        assessor: one of these.
        images: batches [B, H, W, 3] in [-1, 1] as the generator makes them.

    Raises:
        InputError: another assessor, or one that gives all images the same score.
    """
    output = assessor.output
    if output is not None and (output.kind == "sigmoid" or (output.kind == "softmax" and output.num_classes != 2)):
        what = f"cannot spread a {output.kind} score of {output.num_classes} classes"
        todo = "leave it out, or set config.assessor.output to margin or regression"
        raise InputError("config.assessor.calibrate", what, todo)
    two_class = output is not None and output.kind == "softmax"
    measure = logit_difference if two_class else networks.Assessor.statistic
    values = np.concatenate([np.asarray(measure(assessor, batch), np.float64) for batch in images])
    if not values.std() > 1e-6:
        what = "gives all generated images the same score"
        raise InputError("config.assessor", what, "use another assessor for this generator")
    arrays = {path: np.asarray(array) for path, array in weights.named(assessor.state).items()}
    config, source = assessor.config, assessor.source
    if two_class:
        scale = SPREAD / values.std()
        arrays |= scaled_head(arrays, scale, values.mean())
        source = {**source, "head_scale": float(scale), "weights_sha256": assessor.sha256}
    else:
        centre, slope = scale_for(assessor, values)
        config = {**config, "centre": centre, "slope": slope}
    module = weights.abstract(assessor.kind, config)
    weights.fill(module, arrays)
    record = {"kind": assessor.kind, "config": config, "source": source, "weights_sha256": weights.digest(arrays)}
    return networks.Assessor(module, record)


def logit_difference(assessor: networks.Assessor, images: jax.Array) -> jax.Array:
    """Class 1 minus class 0, [B]."""
    logits = assessor.logits(images)
    return logits[:, 1] - logits[:, 0]


def scaled_head(arrays: dict[str, Any], scale: float, mean: float) -> dict[str, Any]:
    """The two-class head whose logit difference is scale times (the difference - mean)."""
    shift = scale * mean * np.array([0.5, -0.5])
    return {
        "classifier/kernel": (arrays["classifier/kernel"] * scale).astype(np.float32),
        "classifier/bias": (arrays["classifier/bias"] * scale + shift).astype(np.float32),
    }


def scale_for(assessor: networks.Assessor, values: np.ndarray) -> tuple[float, float]:
    """Centre and slope that spread the scores of what they act on, values [B]; the slope keeps its sign.

    Raises:
        InputError: the values of an image property hardly differ.
    """
    sign = math.copysign(1, assessor.config.get("slope") or 1)
    mean, deviation = float(values.mean()), float(values.std())
    if assessor.output is None:
        centre, slope = image_property.spread(assessor.config["property"], values)
        return centre, sign * slope
    if assessor.output.kind == "margin":
        return mean, sign * SPREAD / deviation
    slope = sign * DEVIATION / deviation
    return mean - MEAN / slope, slope
