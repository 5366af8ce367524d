"""What is reported of a trained assessor: gathers the facts that latentjax/report/assessor.py shows."""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import calibration, class_vectors, data, latents, networks, trivial, usability
from latentjax.class_vectors import ClassVectors
from latentjax.config import ConfigDict
from latentjax.data import images
from latentjax.files import read_lines
from latentjax.metrics import step_of
from latentjax.report import assessor as report

PICTURES = 128  # validation pictures whose scores are looked at after JPEG and resizing
LATENTS = 64  # whose gradients are measured


class Predictions(NamedTuple):
    """What an assessor makes of the validation pictures."""

    labels: np.ndarray  # [N]
    outputs: np.ndarray  # [N, n] logits; of a regression [N, 1], in the labels' unit
    metrics: dict[str, Any]  # see `classification.measure`


class Source(NamedTuple):
    """Where generated images come from, to see whether the assessor is usable as a target."""

    generator: networks.Generator
    classes: ClassVectors
    truncation: float


def source_of(config: ConfigDict) -> Source | None:
    """The generator of the config; None where it names none.

    Raises:
        InputError: it cannot be loaded, or its latents cannot be drawn so.
    """
    if not config.generator.weights:
        return None
    truncation = latents.check_truncation(config.latents.truncation)
    generator = networks.load_generator(config.generator.weights)
    return Source(generator, class_vectors.parse(config.latents.classes, generator.num_classes), truncation)


def measured(assessor: networks.Assessor, examples: data.Set, source: Source | None) -> usability.Usability:
    """How usable the assessor is as a target; without a generator, or a class that is scored, in part."""
    validation = examples.source("validation")
    few = np.linspace(0, len(validation) - 1, min(PICTURES, len(validation))).astype(int)
    robustness = usability.robustness(assessor, np.stack([images.decoded(validation[i]["image"]) for i in few]))
    several = len(examples.names) > 2 and assessor.config.get("output_class") is None
    if source is None or several:
        return usability.Usability(None, None, robustness)
    generated = calibration.sampled_images(source.generator, source.classes, source.truncation)
    total = calibration.IMAGES // calibration.BATCH
    scores = usability.generated_scores(assessor, tqdm(generated, total=total, desc="generated images"))
    sizes = (source.generator.latent_dim, source.generator.num_classes)
    points = latents.sample_latents(LATENTS, calibration.SEED, *sizes, source.truncation, source.classes)
    z, y = latents.stacked(points)
    gradients = usability.gradient_norms(source.generator, assessor, z, y, truncation=source.truncation)
    return usability.Usability(scores, gradients, robustness)


def trivial_rows(examples: data.Set) -> list[dict[str, Any]]:
    """What predictors that learn nothing worth knowing reach on the validation pictures; none but of two classes."""
    if len(examples.names) != 2:
        return []
    samples = [trivial.sample(trivial.items_of(examples, split)) for split in ("train", "validation")]
    found = trivial.measure(samples[0], {"validation": samples[1]})
    return [{"name": row["name"], **row["validation"]} for row in found]


def curves_of(folder: pathlib.Path, best: int) -> report.Curves:
    """The curves of a run folder."""

    def column(name: str, value: str) -> list[tuple[int, float]]:
        return [(line["step"], line[value]) for line in read_lines(folder / name) if step_of(line, value) is not None]

    return report.Curves(column("metrics.jsonl", "loss"), column("validation.jsonl", "selection"), best)


def write(
    folder: pathlib.Path,
    assessor: networks.Assessor,
    examples: data.Set,
    predictions: Predictions,
    source: Source | None,
) -> None:
    """Writes report/ of a run folder, the page on which people look at its assessor."""
    output, origin, validation = assessor.config["output"], assessor.source["origin"], examples.source("validation")
    found = measured(assessor, examples, source)
    wanted = report.shown(output, predictions.outputs, predictions.labels)
    facts = report.Facts(
        title=f"Assessor {folder.resolve().name}{f', of {origin}' if origin else ''}",
        output=output,
        names=examples.names,
        logits=predictions.outputs,
        targets=predictions.labels,
        scored_class=assessor.config.get("output_class"),
        examples={index: images.decoded(validation[index]["image"]) for index in wanted},
        curves=curves_of(folder, assessor.source["step"]),
        usability=found,
        trivial=trivial_rows(examples),
    )
    report.write(folder / "report", facts)
    for sentence in usability.verdict(found, output, len(examples.names)):
        logging.info("%s", sentence)
    logging.info("look at %s", folder / "report" / "index.html")
