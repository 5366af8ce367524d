"""Is an assessor usable as what the main job raises? Its scores on generated images, their gradients, what sways it."""

import functools
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from tqdm import tqdm

from latentjax import distributed, networks, pictures, precision
from latentjax.data.images import resized
from latentjax.errors import InputError

LOW, HIGH = 0.02, 0.98  # scores beyond have hardly a gradient
QUALITIES = (95, 75, 50, 25)  # of JPEG
SHRINKINGS = (2, 4)
ANTIALIASED = "resizing with antialias first"
# What verdict() holds against an assessor.
SATURATED_SHARE = 0.25  # of the generated images
NARROW = 0.05  # standard deviation of their scores
WIDE = 1.0  # likewise, of a regression
FLAT, FLAT_SHARE = 0.01, 0.25  # change of the score within reach, and the share of latents with less
FLIPPED, SWAYED = 0.1, 0.25  # share of the labels; change of a regression's score in standard deviations
CALIBRATE = "--config.assessor.calibrate=true in the main job"
# changes that pictures may well have gone through: what it means where they matter, and what to do
MILD = {
    "JPEG of quality 75": "the assessor heeds compression; train it on pictures saved alike, in one format and quality",
    "resizing to 1/2 and back": "the assessor heeds the finest detail; raise --config.assessor_training.noise, or "
    "prepare the pictures at a smaller --config.data.size",
    ANTIALIASED: "the assessor learned from antialiased pictures and judges generated ones without antialias; set "
    "--config.assessor_training.image_size nearer to the generator's resolution",
}


class Gradients(NamedTuple):
    """Lengths of the score's gradient at N latents."""

    latents: np.ndarray  # [N], |d score / d z|
    images: np.ndarray  # [N], |d score / d image|, of images in [-1, 1]
    reach: np.ndarray  # [N], |d score / d z| |z|: the score's change on moving z by its own length, to first order


class Change(NamedTuple):
    """How a change of the picture that people do not mind changes the score."""

    name: str
    mean_change: float  # mean absolute change of the score
    relative: float | None  # the same over the standard deviation of the unchanged scores; None where they are alike
    flipped: float | None  # share of the labels that change; None for a regression


class Usability(NamedTuple):
    """What was found out about an assessor; parts that were not measured are empty."""

    scores: np.ndarray | None = None  # [M], of generated images
    gradients: Gradients | None = None
    robustness: tuple[Change, ...] = ()


def generated_scores(assessor: networks.Assessor, images: Iterable[jax.Array]) -> np.ndarray:
    """Scores [N] of generated images, given as batches [B, H, W, 3] in [-1, 1].

    Raises:
        InputError: a score is not finite, or which of several classes is scored is not set.
    """
    scores = np.concatenate([np.asarray(assessor(batch), np.float64) for batch in images])
    if not np.isfinite(scores).all():
        raise InputError("assessor", "gives generated images scores that are not finite", "check its weights")
    return scores


def saturated(scores: np.ndarray) -> tuple[float, float]:
    """Shares of the scores below .02 and above .98."""
    return float((scores < LOW).mean()), float((scores > HIGH).mean())


def gradient_norms(
    generator: networks.Generator,
    assessor: networks.Assessor,
    z: np.ndarray,
    y: np.ndarray,
    *,
    truncation: float = 1.0,
    batch: int = 8,
) -> Gradients:
    """How steeply the score of G(z, y) changes with z, and with the image.

    Args:
        generator, assessor: G and A.
        z, y: [N, Z] and [N, C].
        truncation: of z, for a generator that takes it.
        batch: latents at once.
    """

    @jax.jit
    def norms(weights: Any, z: jax.Array, y: jax.Array) -> list[jax.Array]:
        images, back = jax.vjp(lambda z: precision.generate(generator, truncation, weights[0], z, y), z)
        slopes = jax.grad(lambda images: assessor.apply(weights[1], images).sum())(images)
        (moves,) = back(slopes)
        return [jnp.sqrt(jnp.square(rows.reshape(len(z), -1)).sum(1)) for rows in (moves, slopes)]

    found, weights = [], (generator.state, assessor.state)
    for i in tqdm(range(0, len(z), batch), desc="gradients", unit=" batches"):
        rows = (distributed.padded(np.asarray(array[i : i + batch], np.float32), batch) for array in (z, y))
        found.append(np.asarray(norms(weights, *rows), np.float64)[:, : len(z) - i])
    latents, images = np.concatenate(found, axis=1)
    return Gradients(latents, images, latents * np.linalg.norm(np.asarray(z, np.float64), axis=1))


def robustness(assessor: networks.Assessor, images: np.ndarray, *, batch: int = 8) -> tuple[Change, ...]:
    """What JPEG, resizing and antialias do to scores and labels.

    The score is the assessor's; where which of several classes is scored is not set, the probability of the class
    that the unchanged picture is given.

    Args:
        assessor: A.
        images: [N, H, W, 3], uint8 or in [-1, 1]; a hundred or more, as people would have them judged.
        batch: pictures at once.
    """
    levels = np.asarray(images if images.dtype == np.uint8 else pictures.to_uint8(jnp.asarray(images)))
    whole = _judged(assessor, levels, batch)
    labels = _labels(assessor, whole)
    scored = _scored(assessor, whole, labels)
    deviation, found = float(scored.std()), []
    for name, change in tqdm(_changes(assessor, levels.shape[1:3]).items(), desc="robustness", unit=" changes"):
        changed = np.stack([np.asarray(change(Image.fromarray(picture))) for picture in levels])
        outputs = _judged(assessor, changed, batch)
        moved = float(abs(_scored(assessor, outputs, labels) - scored).mean())
        flips = None if labels is None else float((_labels(assessor, outputs) != labels).mean())
        found.append(Change(name, moved, moved / deviation if deviation > 1e-6 else None, flips))
    return tuple(found)


def _changes(assessor: networks.Assessor, size: tuple[int, ...]) -> Mapping[str, Callable[[Image.Image], Image.Image]]:
    """The changes of pictures of this height and width, by name."""
    changes = {f"JPEG of quality {quality}": functools.partial(_through_jpeg, quality) for quality in QUALITIES}
    changes |= {f"resizing to 1/{d} and back": functools.partial(_through_size, d) for d in SHRINKINGS}
    looks_at = assessor.image_size
    if looks_at is not None and max(size) > looks_at:
        changes[ANTIALIASED] = functools.partial(resized, size=looks_at)  # as training has them
    return changes


def _through_jpeg(quality: int, picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)  # its colours subsampled, as on the web
    return Image.open(file)


def _through_size(divisor: int, picture: Image.Image) -> Image.Image:
    smaller = picture.resize((max(1, picture.width // divisor), max(1, picture.height // divisor)))
    return smaller.resize(picture.size)


def _judged(assessor: networks.Assessor, levels: np.ndarray, batch: int) -> np.ndarray:
    """Class probabilities of a softmax [N, n], else scores [N, 1], of pictures uint8 [N, H, W, 3]."""
    found = []
    for i in range(0, len(levels), batch):
        images = jnp.asarray(distributed.padded(levels[i : i + batch], batch), jnp.float32) / 127.5 - 1
        softmax = assessor.output is not None and assessor.output.kind == "softmax"
        outputs = jax.nn.softmax(assessor.logits(images)) if softmax else assessor(images)[:, None]
        found.append(np.asarray(outputs, np.float64)[: len(levels) - i])
    return np.concatenate(found)


def _labels(assessor: networks.Assessor, outputs: np.ndarray) -> np.ndarray | None:
    """What is predicted of each row of `_judged`; None for a regression."""
    if assessor.output is not None and assessor.output.kind == "regression":
        return None
    return (outputs[:, 0] > 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(1)


def _scored(assessor: networks.Assessor, outputs: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """The score in each row of `_judged`; `labels` are those of the unchanged pictures."""
    if outputs.shape[1] == 1 or labels is None or assessor.output is None:
        return outputs[:, 0]
    chosen = assessor.output.output_class
    return outputs[np.arange(len(outputs)), labels if chosen is None else chosen]


def verdict(usability: Usability, output: str, num_classes: int) -> list[str]:
    """What stands against the assessor as a target, a sentence each, with what to do; or that nothing does.

    Args:
        usability: what was measured.
        output: "softmax", "sigmoid" or "regression".
        num_classes: of a softmax.
    """
    sentences = [] if usability.scores is None else _of_scores(usability.scores, output, num_classes)
    if usability.gradients is not None:
        flat = float((usability.gradients.reach < FLAT).mean())
        if output != "regression" and flat > FLAT_SHARE:
            sentences.append(
                f"At {_percent(flat)} of the latents there is hardly a gradient: moving z by its own length would "
                f"change the score by less than {FLAT}; {_calibrate(output, num_classes)}."
            )
    for change in usability.robustness:
        if change.name in MILD and _swayed(change):
            sentences.append(f"{_told(change)}: {MILD[change.name]}.")
    if usability.scores is None:
        todo = "set --config.generator.weights to learn whether the assessor is usable as a target"
        if output == "softmax" and num_classes != 2:
            todo = "the main job needs to be told which class is scored, by --config.assessor.output_class"
        sentences.append(f"No generated images were looked at: {todo}.")
    return sentences or ["Nothing was found that stands against the assessor as a target."]


def _of_scores(scores: np.ndarray, output: str, num_classes: int) -> list[str]:
    """Sentences on the scores of generated images."""
    deviation, calibrate = float(scores.std()), _calibrate(output, num_classes)
    if output == "regression":
        if NARROW <= deviation <= WIDE:
            return []
        return [
            f"The scores of generated images have a standard deviation of {deviation:.3g}, and the main job asks for "
            f"changes of up to 0.5: {calibrate}, which makes it 0.2."
        ]
    low, high = saturated(scores)
    if low + high > SATURATED_SHARE:
        return [
            f"{_percent(high)} of the generated images score above {HIGH} and {_percent(low)} below {LOW}: there is "
            f"hardly a gradient; {calibrate}."
        ]
    if deviation < NARROW:
        return [
            f"The scores of generated images hardly differ (standard deviation {deviation:.3f}): {calibrate}, or train "
            "it on pictures more like the generated ones."
        ]
    return []


def _calibrate(output: str, num_classes: int) -> str:
    """How the scores are spread: only two classes, margins and regressions can be."""
    if output == "sigmoid":
        return f"use --config.assessor.output=regression and {CALIBRATE}"
    if output == "softmax" and num_classes != 2:
        return f"use --config.assessor.output=margin and {CALIBRATE}"
    return f"use {CALIBRATE}"


def _swayed(change: Change) -> bool:
    if change.flipped is None:
        return change.relative is not None and change.relative > SWAYED
    return change.flipped > FLIPPED


def _told(change: Change) -> str:
    """ "After JPEG of quality 75, 18 % of the labels flip", or how far a regression's scores go."""
    if change.flipped is None:
        return f"After {change.name}, scores change by {change.mean_change:.3g} on average"
    return f"After {change.name}, {_percent(change.flipped)} of the labels flip"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
