"""What evaluate.method stands for: the learned transformer, or the simpler ways that it is compared with."""

import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from latentjax import boundary, latents, networks, packages, remote
from latentjax.config import ConfigDict
from latentjax.config_checks import METHODS
from latentjax.errors import InputError
from latentjax.fixed_directions import Pair, arithmetic, check_gap, digest_of, fixed, random_direction, sourced
from latentjax.jobs import direction_fit
from latentjax.jobs.samples import Samples, sampled
from latentjax.jobs.workbench import Studio, Workbench, fitting, new_transformer
from latentjax.latents import Latent
from latentjax.unsupervised_directions import KINDS, first, pca, sefa

PCA_LATENTS = 2048  # at most: the time grows with their cube


def transformer_of(bench: Workbench, samples: Samples | None = None) -> networks.LatentTransformer | None:
    """What moves the latents; None for gradient ascent. A learned one has its steps in source["step"].

    Args:
        bench: the job's tools; evaluate.method may also be a run or transformer folder.
        samples: what is scored for directions, to be shared by calls; None: scored for this one.

    Raises:
        InputError: there is no such transformer, or what a direction is to be fitted on is wrong.
    """
    settings, generator = bench.config.evaluate, bench.generator
    method, samples = settings.method, samples or Samples(bench)
    if method == "ascent":
        return None
    if method == "learned":
        return learned_transformer(bench)
    if method == "random":
        sizes = (generator.latent_dim, generator.num_classes)
        return random_direction(*sizes, settings.seed, settings.strength)
    if method == "arithmetic":
        return arithmetic_of(samples)
    if method == "svm":
        return boundary_of(samples)
    if method in KINDS:
        return unsupervised_of(samples, method)
    return transformer_at(method, bench)


def transformer_at(path: str, bench: Studio) -> networks.LatentTransformer:
    """The transformer of a run or transformer folder that evaluate.runs names.

    Raises:
        InputError: there is none, or it moves another generator's latents.
    """
    field, todo = "config.evaluate.runs", f"give {', '.join(METHODS)}, or a run or transformer folder"
    if not remote.is_remote(path) and not os.path.exists(path):
        raise InputError(field, f"names {path!r}, which is no method and no folder that is there", todo)
    try:
        return fitting(networks.load_transformer(path), bench, path)
    except InputError as error:
        raise InputError(field, f"names {error.where}, which {error.what}", error.todo) from error


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


def arithmetic_of(samples: Samples) -> networks.LatentTransformer:
    """The arithmetic direction between two sets of latents: files, or the extremes of sampled ones by score.

    Raises:
        InputError: only one set is given, one cannot be read, or their scores do not differ as they should.
    """
    ends, strength = samples.ends, samples.bench.config.evaluate.strength
    sizes = len(ends.plus), len(ends.minus)
    logging.info("arithmetic: mean of %d latents minus mean of %d, scores %.3f apart", *sizes, ends.gap)
    return arithmetic(ends.plus, ends.minus, ends.gap, strength)


def boundary_of(samples: Samples) -> networks.LatentTransformer:
    """Away from the boundary between the two sets that `arithmetic_of` takes, as far as meets requests best.

    Raises:
        InputError: as there; scikit-learn is missing; or the boundary does not depend on what evaluate.move moves.
    """
    packages.scikit_learn("svm")  # a missing package is told before images are scored
    ends, move = samples.ends, samples.bench.config.evaluate.move
    check_gap(ends.gap, "svm")
    direction = boundary.normal(ends.plus, ends.minus, move)
    made_from = {"plus": digest_of(ends.plus), "minus": digest_of(ends.minus), "move": move}
    return fitted(samples, "svm", [direction], made_from, oriented=True)


def unsupervised_of(samples: Samples, method: str) -> networks.LatentTransformer:
    """Of the first evaluate.components directions the one that moves scores most, as far as meets requests best.

    Raises:
        InputError: there are fewer directions, or they are of z and evaluate.move is y.
    """
    bench = samples.bench
    if bench.config.evaluate.move == "y":
        raise InputError("config.evaluate.move", f"is y, and {method} moves z alone", "give both or z")
    count, field = bench.config.evaluate.components, "config.evaluate.components"
    directions, made_from = unsupervised(bench, method, count, field)
    still = np.zeros(bench.generator.num_classes)
    return fitted(samples, method, [(direction, still) for direction in directions], made_from)


def fitted(
    samples: Samples, method: str, directions: Sequence[Pair], made_from: dict[str, Any], *, oriented: bool = False
) -> networks.LatentTransformer:
    """One of some directions of unit length, with the sign and length that `direction_fit.fit` finds."""
    found = direction_fit.fit(samples, [fixed(*pair, {}) for pair in directions], method, oriented=oriented)
    logging.info(
        "%s: component %d of %d, sign %+d, length %.3g (%.3g times that of the latents)",
        *(method, found.component, len(directions), found.sign, found.length, 2**found.doublings),
    )
    bench, strength = samples.bench, samples.bench.config.evaluate.strength
    source = sourced(
        method,
        **made_from,
        generator=bench.generator.sha256 or bench.config.generator.weights,
        assessor=bench.assessor.settings,
        tuned_on=digest_of(samples.tuning.points),
        component=found.component,
        sign=found.sign,
        doublings=found.doublings,
        strength=strength,
    )
    scale = strength * found.sign * found.length
    direction_z, direction_y = directions[found.component]
    return fixed(scale * direction_z, scale * direction_y, source)


def unsupervised(studio: Studio, kind: str, count: int, field: str) -> tuple[np.ndarray, dict[str, Any]]:
    """The first directions of z of a kind, [count, Z] of unit length, and what they were made from.

    Raises:
        InputError: there are fewer; `field` names the setting at fault.
    """
    generator = studio.generator
    if kind == "sefa":
        return first(sefa(jax.device_get(generator.z_maps())), count, kind, field), {}
    points = sampled(studio, min(PCA_LATENTS, studio.config.evaluate.arithmetic_count), 1)
    z, y = latents.stacked(points)
    # one y for all, as GANSpace holds the class: the layer is linear in it, so that any one gives the same
    activations = generator.first_activations(jnp.asarray(z), jnp.repeat(y[:1], len(y), 0))
    return first(pca(z, np.asarray(activations)), count, kind, field), {"latents": digest_of(points)}


def directions_of_kind(studio: Studio, kind: str, count: int, field: str) -> list[networks.LatentTransformer]:
    """The first PCA or SeFa directions, of unit length times evaluate.strength, without regard to any score.

    Args:
        studio: the job's tools; no assessor is needed.
        kind: "pca" or "sefa".
        count: how many.
        field: the setting that says so, for messages.

    Raises:
        InputError: there are fewer.
    """
    strength, generator = studio.config.evaluate.strength, studio.generator
    directions, made_from = unsupervised(studio, kind, count, field)
    made_from["generator"] = generator.sha256 or studio.config.generator.weights
    sources = [sourced(kind, **made_from, component=k, strength=strength) for k in range(count)]
    still = np.zeros(generator.num_classes)
    return [fixed(strength * z, still, source) for z, source in zip(directions, sources, strict=True)]


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


def check_one_direction(transformer: networks.LatentTransformer | None, field: str) -> None:
    """Refuses a transformer of several directions where one is followed.

    Raises:
        InputError: naming the field.
    """
    if transformer is not None and transformer.num_directions > 1:
        what = f"move along one direction, and the transformer has {transformer.num_directions}"
        raise InputError(field, what, "use --job=evaluate, which shows all")


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
