"""What the parts of `benchmarks.differences` share."""

import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import converters
from configs import demo
from latentjax import latents, networks
from latentjax.jobs import train

ALPHAS = np.linspace(-0.5, 0.5, 11, dtype=np.float32)
LATENTS, SEED = 32, 1  # those that every training is evaluated on
TRANSFORMER = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"
Numbers = Iterator[tuple[str, float]]


class Lab:
    """What the parts share: trainings on painted eyes, and the published systems' files, converted.

    Args:
        folder: where both are kept; a training that is there is not repeated.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.golden = pathlib.Path(os.environ.get("LATENTJAX_REFERENCE", "")) / "golden"

    def trained(self, name: str, variant: str = "", **fields: Any) -> pathlib.Path:
        """The run folder of a variant of configs/demo.py; fields are written with two underscores for the dot."""
        c = demo.get_config(variant)
        changes = {"train.samples_every": 0, "evaluate.before_train": False, "evaluate.count": LATENTS}
        c.update_from_flattened_dict(changes | {field.replace("__", "."): value for field, value in fields.items()})
        train.run(c, str(self.folder / name))
        return self.folder / name

    def demo(self) -> pathlib.Path:
        """The demo as it is."""
        return self.trained("demo")

    @functools.cached_property
    def generator(self) -> networks.Generator:
        """Painted eyes."""
        return networks.load_generator("embedded:painted-eyes")

    @functools.cached_property
    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """z and y of the evaluation."""
        drawn = latents.sample_latents(LATENTS, SEED, self.generator.latent_dim, self.generator.num_classes)
        return np.stack([latent.z for latent in drawn]), np.stack([latent.y for latent in drawn])

    @functools.cache  # noqa: B019  one lab a process
    def strips(self, noises: int = 1) -> np.ndarray:
        """Images [N, A, R, R, 3] of the demo's transformer along alpha, with 1 noise a strip or one for each tile."""
        transformer, images = networks.load_transformer(self.demo()), []
        for i, (z, y) in enumerate(zip(*self.latents, strict=True)):
            noise = transformer.sample_noise(jax.random.fold_in(jax.random.key(0), i), noises)
            noise = jax.tree.map(lambda rows: jnp.broadcast_to(rows, (len(ALPHAS), rows.shape[1])), noise)
            z, y = (np.broadcast_to(row, (len(ALPHAS), len(row))) for row in (z, y))
            images.append(np.asarray(self.generator(*transformer(z, y, ALPHAS, noise))))
        return np.stack(images)

    def converted(self, name: str, **options: Any) -> pathlib.Path:
        """The model folder of a published system's file."""
        folder = self.folder / "converted" / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            converters.convert(self.golden / f"{name}.pth", folder, **options)
        return folder

    @functools.cached_property
    def assessor(self) -> networks.Assessor:
        """The published system's assessor, of random weights."""
        return networks.load_assessor(self.converted("best_v070"))


def achieved(run: pathlib.Path, ending: str = "") -> float:
    """(mean score at .3 - mean score at -.3) / .6 of a run's evaluation."""
    (summary,) = run.glob(f"evaluation/sampled-*{ending}/summary.json")
    return json.loads(summary.read_text())["achieved"]


def relative(moved: Any, start: Any) -> float:
    """The length of a change, over the length of what is changed."""
    return float(np.linalg.norm(np.asarray(moved) - np.asarray(start)) / np.linalg.norm(start))


def as_floats(levels: np.ndarray) -> np.ndarray:
    """uint8 -> [-1, 1]."""
    return levels.astype(np.float32) / 127.5 - 1
