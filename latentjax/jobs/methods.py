"""What evaluate.method stands for: the learned transformer, or the simpler ways that it is compared with."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import distributed, latents, networks
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.fixed_directions import arithmetic, extremes, random_direction
from latentjax.jobs.workbench import Studio, Workbench, fitting, new_transformer
from latentjax.latents import Latent


def transformer_of(bench: Workbench) -> tuple[networks.LatentTransformer | None, int | None]:
    """The transformer to evaluate and the steps that it was trained for; None for gradient ascent.

    Raises:
        InputError: there is no learned transformer, or the sets of an arithmetic direction are wrong.
    """
    settings, generator = bench.config.evaluate, bench.generator
    if settings.method == "ascent":
        return None, None
    if settings.method == "random":
        sizes = (generator.latent_dim, generator.num_classes)
        return random_direction(*sizes, settings.seed, settings.strength), None
    if settings.method == "arithmetic":
        return arithmetic_of(bench), None
    transformer = learned_transformer(bench)
    return transformer, transformer.source.get("step")


def learned_transformer(bench: Studio) -> networks.LatentTransformer:
    """The run's transformer, or transformer.weights where the run has none.

    Raises:
        InputError: there is neither, or it moves another generator's latents.
    """
    trained = bench.folder.path / "transformer"
    if trained.is_dir():
        return fitting(networks.load_transformer(trained), bench, trained)
    if bench.config.transformer.weights:
        return new_transformer(bench)
    what = "holds no learned transformer"
    raise InputError(bench.folder.path, what, "train first (leave --job out), or set --config.transformer.weights")


def arithmetic_of(bench: Workbench) -> networks.LatentTransformer:
    """The arithmetic direction between two sets of latents: files, or the extremes of sampled ones by score.

    Raises:
        InputError: only one set is given, one cannot be read, or their scores do not differ as they should.
    """
    settings, drawn = bench.config.evaluate, bench.config.latents
    sizes = (bench.generator.latent_dim, bench.generator.num_classes)
    if bool(settings.plus) != bool(settings.minus):
        missing = "minus" if settings.plus else "plus"
        raise InputError(f"config.evaluate.{missing}", "is not set", "give both sets of latents, or neither")
    if settings.plus:
        sets = (settings.plus, settings.minus)
        plus, minus = (latents.read(path, *sizes, skip_bad=settings.skip_bad) for path in sets)
        scores = scores_of(bench, [*plus, *minus])
        gap = scores[: len(plus)].mean() - scores[len(plus) :].mean()
    else:
        # another seed than that of the latents to evaluate, which must not be among them
        seed = (settings.seed + 1) % 2**32
        points = latents.sample_latents(settings.arithmetic_count, seed, *sizes, drawn.truncation, bench.classes)
        scores = scores_of(bench, points)
        high, low = extremes(points, scores, settings.arithmetic_share)
        plus, minus = [points[i] for i in high], [points[i] for i in low]
        gap = scores[high].mean() - scores[low].mean()
    logging.info("arithmetic: mean of %d latents minus mean of %d, scores %.3f apart", len(plus), len(minus), gap)
    return arithmetic(plus, minus, float(gap), settings.strength)


def scores_of(bench: Workbench, points: list[Latent]) -> np.ndarray:
    """Scores [N] of latents."""
    nets, rows = bench.networks(None), distributed.by_row(bench.mesh)
    settings = bench.config.evaluate
    size = distributed.shareable(settings.batch_size * len(settings.alphas), bench.mesh)

    @jax.jit
    def score(frozen: Any, z: jax.Array, y: jax.Array) -> jax.Array:
        z, y = distributed.constrain((z, y), rows)
        return nets.assessor(frozen.assessor, nets.generator(frozen.generator, z, y))

    scores = []
    with tqdm(total=len(points), unit=" images", desc="scoring") as bar:
        for start in range(0, len(points), size):
            group = points[start : start + size]
            arrays = [distributed.padded(array, size) for array in latents.stacked(group)]
            arrays = jax.device_put(arrays, rows)
            scores.append(np.asarray(score(bench.frozen, *arrays))[: len(group)])
            bar.update(len(group))
    return np.concatenate(scores).astype(np.float64)


def check_settings(settings: ConfigDict, transformer: networks.LatentTransformer | None) -> None:
    """Refuses settings that would be without effect.

    Raises:
        InputError: naming the field.
    """
    if transformer is None and settings.mode == "iterative":
        raise InputError("config.evaluate.mode", "is iterative, and ascent starts from the original", "leave it out")
    check_noise_seeds(settings.noise_seeds, transformer, "config.evaluate.noise_seeds")
    still = {"z": "y", "y": "z"}.get(settings.move)
    forms = {} if transformer is None else transformer.config
    if still and forms.get(settings.move) == "none":
        what = f"is {settings.move}, and the transformer moves {still} alone"
        raise InputError("config.evaluate.move", what, f"give both or {still}")


def check_noise_seeds(seeds: tuple[int, ...], transformer: networks.LatentTransformer | None, field: str) -> None:
    """Refuses several noise seeds where they would be without effect.

    Raises:
        InputError: naming the field.
    """
    if len(seeds) > 1 and (transformer is None or not any(transformer.noise_dims)):
        what = f"gives {len(seeds)} seeds, and nothing here takes noise: the images would be the same"
        raise InputError(field, what, "give one")


def noise_of(transformer: networks.LatentTransformer | None, strips: Iterable[tuple[Latent, int]]) -> Any:
    """noise_z and noise_y [N, n] or None, of N latents and noise seeds; each row depends on its own two alone."""

    @functools.cache
    def noise(content: str, seed: int) -> Any:
        if transformer is None:
            return None, None
        return transformer.sample_noise(jax.random.fold_in(jax.random.key(seed), int(content[:8], 16)), 1)

    noises = [noise(latent.key, seed) for latent, seed in strips]
    return tuple(None if rows[0] is None else jnp.concatenate(rows) for rows in zip(*noises, strict=True))


def directions_of(chosen: tuple[int, ...], transformer: networks.LatentTransformer | None) -> tuple[int, ...]:
    """The directions to evaluate: those chosen, or all of the transformer's.

    Raises:
        InputError: there is no such direction.
    """
    count = 1 if transformer is None else transformer.num_directions
    for direction in chosen:
        if type(direction) is not int or not 0 <= direction < count:
            raise InputError("config.evaluate.directions", f"has {direction!r}", f"give integers below {count}")
    return tuple(dict.fromkeys(chosen)) or tuple(range(count))
