"""What a trained assessor is worth: beside trivial predictors, and on families that it never met."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from latentjax import artbreeder, data, distributed, latents, networks, trivial
from latentjax.config import ConfigDict
from latentjax.data import images
from latentjax.report import classification
from latentjax.trivial import Item, Points

BATCH = 32
METRICS = ("count", "accuracy", "precision", "recall", "f1", "auc", "ece")


def judge(run: pathlib.Path, prepared: pathlib.Path, points: Points, unrelated: list[Item] | None) -> dict[str, Any]:
    """The assessor of a run folder and the trivial predictors, measured alike.

    Args:
        run: of --job=train_assessor.
        prepared: the folder of its set.
        points: the latents of the set's pictures, as far as they are known.
        unrelated: further pictures, of families that have none in the set.

    Returns:
        {"assessor": {"validation": metrics, "unrelated": metrics}, "trivial": see `trivial.measure`}; "unrelated"
        only where such pictures are given.
    """
    report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"validation": {name: report["metrics"][name] for name in METRICS}}
    examples = data.open_set(prepared)
    train, validation = (trivial.sample(trivial.items_of(examples, split, points)) for split in ("train", "validation"))
    tests = {"validation": validation}
    if unrelated is not None:
        found["unrelated"] = measured(networks.load_assessor(run / "assessor"), unrelated, examples.names)
        tests["unrelated"] = trivial.sample(unrelated)
    return {"assessor": found, "trivial": trivial.measure(train, tests)}


def measured(assessor: networks.Assessor, items: list[Item], names: tuple[str, ...]) -> dict[str, Any]:
    """`METRICS` of the assessor on some pictures, resized as validation pictures are."""
    logits, size = [], assessor.config["image_size"]
    for start in range(0, len(items), BATCH):
        group = items[start : start + BATCH]
        pixels = np.stack([images.decoded(item.picture, size) for item in group])
        inputs = distributed.padded(pixels.astype(np.float32) / 127.5 - 1, BATCH)
        logits.append(np.asarray(assessor.logits(jnp.asarray(inputs)))[: len(group)])
    labels, output = [item.label for item in items], assessor.config["output"]
    found = classification.measure(output, np.concatenate(logits), labels, names)
    return {name: found[name] for name in METRICS}


def points_of(found: Iterable[artbreeder.Latent]) -> Points:
    """By the names that `--job=generate` gives their pictures."""
    return {latents.safe_name(latent.name): (latent.z, latent.y) for latent in found}


def pictures_of(folder: pathlib.Path, points: Points) -> list[Item]:
    """The pictures of a generated set; "bred-..." has label 1."""
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    items = []
    for record in map(json.loads, lines):
        label = int(record["name"].startswith("bred-"))
        items.append(Item((folder / record["file"]).read_bytes(), label, points[latents.safe_name(record["name"])]))
    return items


def points(breeding: pathlib.Path, config: ConfigDict, generator: networks.Generator) -> tuple[Points, Points]:
    """The latents of the set's pictures, sampled ones included, and those of unrelated families.

    Args:
        breeding: the folder of `breed.write`.
        config: what fresh pictures were generated with.
        generator: of them all.
    """
    sizes = (generator.latent_dim, generator.num_classes)
    settings = config.generate
    sampled = latents.sample_latents(
        settings.count, settings.seed, *sizes, config.latents.truncation, config.latents.classes
    )
    crowd, others = (artbreeder.read(breeding / name, *sizes) for name in ("crowd", "unrelated"))
    return points_of([*crowd, *sampled]), points_of(others)
