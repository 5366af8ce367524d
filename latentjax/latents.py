"""Latents: drawing z, y, alpha and noise; what evaluation starts from.

Every draw is a function of (seed, step) alone: keys are folded, never carried, and JAX's partitionable
threefry gives the same global batch on any number of devices. y is drawn by `class_vectors`; latents from
files come through `artbreeder`.
"""

import functools
import itertools
import numbers
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from latentjax.artbreeder import Latent, read, safe_name, stacked
from latentjax.class_vectors import ClassVectors, parse, sample_y
from latentjax.errors import InputError
from latentjax.overlap import ahead

__all__ = [
    "Latent",
    "check_truncation",
    "clip_alpha",
    "draw",
    "drawn",
    "read",
    "safe_name",
    "sample_alpha",
    "sample_latents",
    "sample_y",
    "sample_z",
    "stacked",
]

# smaller scales could underflow to a zero z, which has no direction to be rescaled to
_MIN_TRUNCATION = 1e-6
# keeps 0 < s + alpha < 1 after float32 rounding: some 16 times the largest error of s + (1 - margin - s)
_MARGIN = 2.0**-20
# folded into the seed before the index: no training step gets this far, so no training draw is repeated
_EVALUATION = 0x6C617465
_BLOCK = 64  # latents that one call draws


def sample_z(key: jax.Array, batch: int, latent_dim: int, truncation: float = 1.0) -> jax.Array:
    """Draws z [batch, latent_dim] float32: the normal truncated to [-2, 2], times the truncation.

    The paper trains with truncation 1. A zero row would need Z zero draws of odds 2**-23 at most.

    Raises:
        InputError: for a truncation outside (0, 1]; see `check_truncation`.
    """
    truncation = check_truncation(truncation)
    return truncation * jax.random.truncated_normal(key, -2.0, 2.0, (batch, latent_dim), jnp.float32)


def check_truncation(truncation: float) -> float:
    """Returns the truncation if z can be sampled with it: a number in (0, 1], and no less than 1e-6.

    Raises:
        InputError: naming the field ``latents.truncation``.
    """
    number = isinstance(truncation, numbers.Real) and not isinstance(truncation, bool)
    if not number or not _MIN_TRUNCATION <= truncation <= 1:
        raise InputError("config.latents.truncation", f"is {truncation!r}", "give a number in (0, 1], 1e-6 or more")
    return float(truncation)


def sample_alpha(key: jax.Array, shape: tuple[int, ...], limit: float = 0.5) -> jax.Array:
    """Draws alpha [*shape] float32 from U(-limit, limit), both ends excluded (the paper's alpha)."""
    alpha = jax.random.uniform(key, shape, jnp.float32, -limit, limit)
    return jnp.clip(alpha, -_below(limit), _below(limit))


def clip_alpha(alpha: jax.Array, scores: jax.Array, limit: float = 0.5) -> jax.Array:
    """Makes alphas ask for scores that exist: 0 < s + alpha < 1 (the paper's "clipped" alphas).

    The paper redraws until the target is a score; what it keeps is uniform on the intersection of
    (-limit, limit) and (-s, 1 - s), and the raw draw is mapped there directly, in its order.

    Args:
        alpha: [B, M] raw draws from U(-limit, limit).
        scores: [B, 1] scores s, or any shape that broadcasts against alpha.
        limit: the half width of the raw draws.

    Returns:
        float32 of the broadcast shape; 0 where no alpha is left (s outside (-limit, 1 + limit), or NaN).
    """
    alpha, scores = jnp.asarray(alpha, jnp.float32), jnp.asarray(scores, jnp.float32)
    low = jnp.maximum(-_below(limit), _MARGIN - scores)
    high = jnp.minimum(_below(limit), (1 - _MARGIN) - scores)
    clipped = jnp.clip(low + (alpha + limit) / (2 * limit) * (high - low), low, high)
    return jnp.where(low < high, clipped, 0.0)


def draw(
    seed: int,
    step: int | jax.Array,
    batch: int,
    latent_dim: int,
    num_classes: int,
    *,
    truncation: float,
    classes: str | ClassVectors,
    alphas_per_latent: int,
    noise_shapes: tuple[int, int],
) -> dict[str, jax.Array | None]:
    """Draws all that one training step needs, from (seed, step) alone.

    Args:
        seed: 0 to 2**32 - 1.
        step: the step's number; may be traced.
        batch: B latents.
        latent_dim: Z.
        num_classes: K.
        truncation: see `sample_z`.
        classes: of y, see `class_vectors.parse`; parsed already, no file is read again.
        alphas_per_latent: M alphas for each latent.
        noise_shapes: widths of the noise that the transformer of z and the one of y take; 0 for none.

    Returns:
        z [B, Z], y [B, K], alpha [B, M] raw in (-0.5, 0.5), and noise_z, noise_y [B * M, width] ~ N(0, 1)
        with rows in the order of alpha's elements, or None; all float32.

    Raises:
        InputError: for a bad seed, truncation or classes.
    """
    key = jax.random.fold_in(_seed_key(seed), step)
    key_z, key_y, key_alpha, key_noise_z, key_noise_y = jax.random.split(key, 5)

    def noise(key: jax.Array, width: int) -> jax.Array | None:
        return jax.random.normal(key, (batch * alphas_per_latent, width), jnp.float32) if width else None

    return {
        "z": sample_z(key_z, batch, latent_dim, truncation),
        "y": sample_y(key_y, batch, num_classes, classes),
        "alpha": sample_alpha(key_alpha, (batch, alphas_per_latent)),
        "noise_z": noise(key_noise_z, noise_shapes[0]),
        "noise_y": noise(key_noise_y, noise_shapes[1]),
    }


def sample_latents(
    count: int,
    seed: int,
    latent_dim: int,
    num_classes: int,
    truncation: float = 1.0,
    classes: str | ClassVectors = "onehot",
) -> list[Latent]:
    """Draws latents to evaluate on: the i-th depends on the seed and i, not on the count.

    Returns:
        `count` latents named "seed0-00000" and so on, with z [Z] and y [K] float32.

    Raises:
        InputError: for a bad seed, truncation or classes.
    """
    return list(drawn(range(count), seed, latent_dim, num_classes, truncation, classes))


def drawn(
    indices: Iterable[int],
    seed: int,
    latent_dim: int,
    num_classes: int,
    truncation: float = 1.0,
    classes: str | ClassVectors = "onehot",
) -> Iterator[Latent]:
    """The latents of these indices among those of `sample_latents`, in memory a block at a time.

    Args:
        indices: which, in an order that has those of a block (0 to 63, 64 to 127, ...) together; any may come again.
        seed, latent_dim, num_classes, truncation, classes: as there.

    Raises:
        InputError: for a bad seed, truncation or classes.
    """
    key = jax.random.fold_in(_seed_key(seed), _EVALUATION)
    truncation, vectors = check_truncation(truncation), parse(classes, num_classes)
    blocks = itertools.groupby(indices, lambda index: index // _BLOCK)
    draws = ((list(members), _block(key, block * _BLOCK, latent_dim, truncation, vectors)) for block, members in blocks)
    # the next block is asked for before the caller gives the device other work, behind which it would wait
    for members, block in ahead(draws):
        z, y = jax.device_get(block)
        for index in members:
            row, source = index % _BLOCK, {"seed": seed, "index": index}
            yield Latent(f"seed{seed}-{index:05d}", z[row], y[row], source)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _block(key: jax.Array, first: jax.Array | int, latent_dim: int, truncation: float, vectors: ClassVectors):
    """z [_BLOCK, Z] and y [_BLOCK, K]; one after the other: rows of a batched draw could round differently."""

    def one(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_z, key_y = jax.random.split(jax.random.fold_in(key, index))
        return sample_z(key_z, 1, latent_dim, truncation)[0], vectors.sample(key_y, 1)[0]

    return jax.lax.map(one, first + jnp.arange(_BLOCK))


def _seed_key(seed: int) -> jax.Array:
    """The key of a seed, whatever generator the environment makes JAX's default."""
    # JAX keeps 32 bits of a seed and would silently give 2**32 the draws of 0
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError("seed", f"is {seed!r}", "give an integer from 0 to 4294967295")
    return jax.random.key(int(seed), impl="threefry2x32")


def _below(limit: float) -> float:
    """The last float32 before an open interval's end."""
    return float(np.nextafter(np.float32(limit), np.float32(0)))
