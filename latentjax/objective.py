"""The paper's equation (2): edited scores should be the original scores plus alpha.

Two penalties may join it: scores that an edit should leave as they are, and angles between several directions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from latentjax.latents import clip_alpha

Apply = Callable[..., Any]


class Networks(NamedTuple):
    """The networks as pure functions whose first argument is their weights."""

    generator: Apply  # (weights, z, y) -> images
    assessor: Apply  # (weights, images) -> scores
    transformer: Apply  # (weights, z, y, alpha, noise, direction) -> z', y'
    kept: Apply | None = None  # (the assessor's weights, images) -> scores to be left alone [B, n]
    directions: Apply | None = None  # (the transformer's weights, z, y, noise) -> [K, B or 1, Z], K > 1


class Frozen(NamedTuple):
    """Weights that are not trained."""

    generator: Any
    assessor: Any


class Penalties(NamedTuple):
    """Weights of what is added to equation (2)."""

    kept: tuple[float, ...] = ()  # of the mean squared change of each kept score
    angle: float = 0.0  # of the angles between the step's direction and the others
    angle_form: str = "mean"  # or "published", see `angles`


class Edit(NamedTuple):
    """One forward pass of the objective; m is the number of alphas a latent, n of kept scores."""

    scores: jax.Array  # [B]
    alpha: jax.Array  # [B, m]
    edited_scores: jax.Array  # [B, m]
    kept: jax.Array  # [B, n]
    edited_kept: jax.Array  # [B, m, n]
    images: jax.Array  # [B, R, R, 3] in [-1, 1]
    edited_images: jax.Array  # [B * m, R, R, 3]


def assess(networks: Networks, frozen: Frozen, z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images [B, R, R, 3], scores [B] and kept scores [B, n] of latents."""
    images = networks.generator(frozen.generator, z, y)
    none = jnp.zeros((z.shape[0], 0))
    kept = none if networks.kept is None else networks.kept(frozen.assessor, images)
    return images, networks.assessor(frozen.assessor, images), kept


def forward(networks: Networks, params: Any, frozen: Frozen, draws: dict[str, Any], *, clip: bool = False) -> Edit:
    """Scores of the generated images and of the images of the moved latents, equation (1).

    Args:
        networks, frozen: generator and assessor, and their weights.
        params: the transformer's weights.
        draws: z [B, Z], y [B, C], alpha [B, m] in (-.5, .5), noise_z and noise_y [B * m, n] or None, and the
            index of the direction that is followed.
        clip: map each alpha onto those that keep the requested score inside (0, 1).
    """
    z, y, alpha = draws["z"], draws["y"], draws["alpha"]
    # no gradient flows through the unedited pass: nothing in it depends on params
    images, scores, kept = jax.lax.stop_gradient(assess(networks, frozen, z, y))
    if clip:
        alpha = clip_alpha(alpha, scores[:, None])
    moved = networks.transformer(params, *edited_rows(draws), alpha.reshape(-1), noise_of(draws), draws["direction"])
    edited_images, edited_scores, edited_kept = assess(networks, frozen, *moved)
    edited_kept = edited_kept.reshape(*alpha.shape, -1)
    return Edit(scores, alpha, edited_scores.reshape(alpha.shape), kept, edited_kept, images, edited_images)


def edited_rows(draws: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    """z [B * m, Z] and y [B * m, C]: every latent once for each of its alphas."""
    m = draws["alpha"].shape[1]
    return jnp.repeat(draws["z"], m, 0), jnp.repeat(draws["y"], m, 0)


def noise_of(draws: dict[str, Any]) -> tuple[jax.Array | None, jax.Array | None]:
    """The pair that a transformer takes."""
    return draws["noise_z"], draws["noise_y"]


def misses(edit: Edit, kept_weights: tuple[float, ...] = ()) -> jax.Array:
    """(s' - (s + alpha))^2 of each edit [B, m], and the weighted squares of the kept scores' changes."""
    change = (edit.edited_kept - edit.kept[:, None]) ** 2
    asked = (edit.edited_scores - (edit.scores[:, None] + edit.alpha)) ** 2
    return asked + change @ jnp.asarray(kept_weights, change.dtype)


def angles(directions: jax.Array, chosen: jax.Array | int, form: str) -> jax.Array:
    """How parallel the chosen direction is to the others: 0 where they are orthogonal, scalar.

    With cos [K, B] between each direction and the chosen one, "mean" is the mean of |cos| over the batch and the
    others. "published" takes |sum of cos over the batch|, so that signs cancel and it grows with the batch.

    Args:
        directions: [K, B, Z], or [K, 1, Z] where they are the same for all rows.
        chosen: index of the direction that the step trains.
        form: "mean" or "published".
    """
    # a direction of length 0 has no angle, and no gradient of one
    lengths = jnp.sqrt(jnp.maximum(jnp.sum(directions**2, axis=-1), 1e-30))
    dots = jnp.sum(directions * directions[chosen], axis=-1)
    cos = dots / jnp.maximum(lengths * lengths[chosen], 1e-8)
    each = jnp.abs(cos).mean(1) if form == "mean" else jnp.abs(cos.sum(1))
    others = jnp.arange(len(each)) != chosen
    return jnp.sum(jnp.where(others, each, 0.0)) / (len(each) - 1)


def loss(
    networks: Networks,
    params: Any,
    frozen: Frozen,
    draws: dict[str, Any],
    *,
    clip: bool = False,
    penalties: Penalties | None = None,
) -> tuple[jax.Array, Edit]:
    """Equation (2), mean (A(G(z', y')) - (A(G(z, y)) + alpha))^2, plus penalties; and the pass it was computed from."""
    penalties = penalties or Penalties()
    edit = forward(networks, params, frozen, draws, clip=clip)
    value = jnp.mean(misses(edit, penalties.kept))
    if networks.directions is not None and penalties.angle:
        directions = networks.directions(params, *edited_rows(draws), noise_of(draws))
        value += penalties.angle * angles(directions, draws["direction"], penalties.angle_form)
    return value, edit


def along(
    networks: Networks,
    params: Any,
    z: jax.Array,
    y: jax.Array,
    alphas: np.ndarray,
    noise: Any,
    direction: jax.Array | int = 0,
    *,
    iterative: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Every latent moved by every alpha.

    Args:
        networks, params: the transformer and its weights.
        z, y: [B, Z], [B, C].
        alphas: [A], concrete.
        noise: noise_z and noise_y [B, n] or None; all alphas of a latent share it, so that its strip is one direction.
        direction: which of several is followed.
        iterative: reach each alpha from the one before it on its side of 0 (published mode "iterative": five
            successive steps of .1); by default each from the original (the paper's "bigger step").

    Returns:
        z' [B, A, Z] and y' [B, A, C].
    """

    def moved(z: jax.Array, y: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
        return networks.transformer(params, z, y, jnp.full(z.shape[:1], alpha, z.dtype), noise, direction)

    reached: dict[float, tuple[jax.Array, jax.Array]] = {}
    alphas = np.asarray(alphas, np.float64)
    for side in (alphas[alphas < 0], alphas[alphas >= 0]):
        last, point = 0.0, (z, y)
        for alpha in sorted(side, key=abs):
            reached[alpha] = moved(*point, alpha - last) if iterative else moved(z, y, alpha)
            last, point = alpha, reached[alpha]
    rows = [reached[alpha] for alpha in alphas]
    return jnp.stack([row[0] for row in rows], 1), jnp.stack([row[1] for row in rows], 1)
