"""Sampled latents and their scores, on which the methods that are not learned are fitted."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from latentjax import distributed, latents
from latentjax.errors import InputError
from latentjax.fixed_directions import extremes
from latentjax.jobs.workbench import Studio, Workbench
from latentjax.latents import Latent

TUNING = 64  # latents on which the length of a direction is chosen
BATCH = 64  # images at once, at most: what the fits score comes in multiples of it


class Ends(NamedTuple):
    """Latents of high and of low score."""

    plus: list[Latent]
    minus: list[Latent]
    gap: float  # mean score of the first minus that of the second


class Tuning(NamedTuple):
    """Latents that nothing else is fitted on."""

    points: list[Latent]
    z: np.ndarray
    y: np.ndarray
    scores: np.ndarray


def sampled(studio: Studio, count: int, stream: int) -> list[Latent]:
    """Latents that are not among those to evaluate: of the seed that comes `stream` after theirs."""
    config, generator = studio.config, studio.generator
    seed = (config.evaluate.seed + stream) % 2**32
    sizes = (generator.latent_dim, generator.num_classes)
    return latents.sample_latents(count, seed, *sizes, config.latents.truncation, studio.classes)


class Samples:
    """What several methods are fitted on, each part drawn and scored once, when it is first asked for.

    Args:
        bench: the job's tools; evaluate.method does not matter here.
    """

    def __init__(self, bench: Workbench):
        self.bench = bench
        settings = bench.config.evaluate
        batch = min(BATCH, settings.batch_size * len(settings.alphas))
        self.batch = distributed.shareable(batch, bench.mesh)

    @functools.cached_property
    def points(self) -> list[Latent]:
        """evaluate.arithmetic_count latents."""
        return sampled(self.bench, self.bench.config.evaluate.arithmetic_count, 1)

    @functools.cached_property
    def ends(self) -> Ends:
        """The two sets of latents: from files, or the extremes of `points` by score.

        Raises:
            InputError: only one file or folder is given, or one cannot be read.
        """
        settings = self.bench.config.evaluate
        if bool(settings.plus) != bool(settings.minus):
            missing = "minus" if settings.plus else "plus"
            raise InputError(f"config.evaluate.{missing}", "is not set", "give both sets of latents, or neither")
        if settings.plus:
            sets = (settings.plus, settings.minus)
            plus, minus = (self.bench.read(path, skip_bad=settings.skip_bad) for path in sets)
            scores = self.scores_of([*plus, *minus])
            return Ends(plus, minus, float(scores[: len(plus)].mean() - scores[len(plus) :].mean()))
        scores = self.scores_of(self.points)
        high, low = extremes(self.points, scores, settings.arithmetic_share)
        gap = float(scores[high].mean() - scores[low].mean())
        return Ends([self.points[i] for i in high], [self.points[i] for i in low], gap)

    @functools.cached_property
    def tuning(self) -> Tuning:
        """`TUNING` latents with their scores."""
        points = sampled(self.bench, TUNING, 2)
        return Tuning(points, *latents.stacked(points), self.scores_of(points))

    def scores_of(self, points: list[Latent]) -> np.ndarray:
        """Scores [N] of latents."""
        with tqdm(total=len(points), unit=" images", desc="scoring") as bar:
            return self.scores(*latents.stacked(points), bar)

    def scores(self, z: np.ndarray, y: np.ndarray, bar: tqdm) -> np.ndarray:
        """Scores [N] float64 of z [N, Z] and y [N, K]; the bar is told of each image."""
        rows, scores = distributed.by_row(self.bench.mesh), []
        for start in range(0, len(z), self.batch):
            group = [array[start : start + self.batch] for array in (z, y)]
            arrays = distributed.placed([distributed.padded(array, self.batch) for array in group], rows)
            found = distributed.fetched(self._score(self.bench.frozen, *arrays))
            scores.append(found[: len(group[0])])
            bar.update(len(group[0]))
        return np.concatenate(scores).astype(np.float64)

    @functools.cached_property
    def _score(self) -> Callable[..., jax.Array]:
        """(frozen weights, z, y) -> scores, compiled once."""
        nets, rows = self.bench.networks(None), distributed.by_row(self.bench.mesh)

        def score(frozen: Any, z: jax.Array, y: jax.Array) -> jax.Array:
            z, y = distributed.constrain((z, y), rows)
            return nets.assessor(frozen.assessor, nets.generator(frozen.generator, z, y))

        return jax.jit(score, compiler_options=distributed.compiler_options(self.bench.mesh))
