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
    """What a pass of the objective found; m is the number of alphas a latent."""

    scores: jax.Array  # [B]
    alpha: jax.Array  # [B, m]
    edited_scores: jax.Array  # [B, m]


def assess(networks: Networks, frozen: Frozen, z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images [B, R, R, 3], scores [B] and kept scores [B, n] of latents."""
    images = networks.generator(frozen.generator, z, y)
    none = jnp.zeros((z.shape[0], 0))
    kept = none if networks.kept is None else networks.kept(frozen.assessor, images)
    return images, networks.assessor(frozen.assessor, images), kept


class Asked(NamedTuple):
    """What the images of N moved latents should score."""

    scores: jax.Array  # [N]
    kept: jax.Array  # [N, n]: as before the edit


def misses(
    networks: Networks, frozen: Frozen, point: Any, asked: Asked, kept_weights: tuple[float, ...]
) -> tuple[jax.Array, jax.Array]:
    """(A(G(z', y')) - asked)^2 [N] plus the weighted squares of the kept scores' changes, and the scores [N]."""
    _, scores, kept = assess(networks, frozen, *point)
    changes = (kept - asked.kept) ** 2
    return (scores - asked.scores) ** 2 + changes @ jnp.asarray(kept_weights, changes.dtype), scores


def in_parts(function: Callable[..., Any], parts: int, *rows: Any) -> Any:
    """function(*rows), whose rows do not depend on each other, on `parts` of the rows after one another.

    Part j has rows j, j + parts, ...: where rows are spread over devices, each device has its share of every part.
    """
    if parts == 1:
        return function(*rows)
    split = jax.tree.map(lambda a: a.reshape(len(a) // parts, parts, *a.shape[1:]).swapaxes(0, 1), rows)
    found = jax.lax.map(lambda part: function(*part), split)
    return jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(parts * a.shape[1], *a.shape[2:]), found)


def misses_in_parts(
    networks: Networks, frozen: Frozen, point: Any, asked: Asked, kept_weights: tuple[float, ...], parts: int
) -> tuple[jax.Array, jax.Array]:
    """`misses`, holding the activations of one part of the rows at a time, also for the gradient to `point`.

    The scores are for telling: with several parts they have no gradient. Rows do not depend on each other, so each
    part's gradient is taken at once and scaled when it is asked for: nothing is computed twice.
    """
    if parts == 1:
        return misses(networks, frozen, point, asked, kept_weights)

    def part(point: Any, asked: Asked) -> tuple[jax.Array, Any]:
        rows, scores = misses(networks, frozen, point, asked, kept_weights)
        return rows.sum(), (rows, scores)

    def with_gradient(point: Any, asked: Asked) -> Any:
        (_, found), gradient = jax.value_and_grad(part, has_aux=True)(point, asked)
        return found, gradient

    @jax.custom_vjp
    def whole(point: Any) -> Any:
        return in_parts(lambda *rows: part(*rows)[1], parts, point, asked)

    def backward(gradient: Any, cotangents: Any) -> Any:
        return (jax.tree.map(lambda rows: rows * cotangents[0][:, None], gradient),)

    whole.defvjp(lambda point: in_parts(with_gradient, parts, point, asked), backward)
    return whole(point)


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
    parts: int = 1,
) -> tuple[jax.Array, Edit]:
    """Equation (2), mean (A(G(z', y')) - (A(G(z, y)) + alpha))^2, plus penalties.

    Args:
        networks, frozen: generator and assessor, and their weights.
        params: the transformer's weights.
        draws: z [B, Z], y [B, C], alpha [B, m] in (-.5, .5), noise_z and noise_y [B * m, n] or None, and the
            index of the direction that is followed.
        clip: map each alpha onto those that keep the requested score inside (0, 1).
        penalties: what is added.
        parts: how many parts the batch is worked on in, after one another; B must be divisible by it.

    Returns:
        The loss and the scores that it was computed from.
    """
    penalties = penalties or Penalties()
    z, y, alpha = draws["z"], draws["y"], draws["alpha"]
    # no gradient flows through the unedited pass: nothing in it depends on params
    scores, kept = jax.lax.stop_gradient(in_parts(lambda *row: assess(networks, frozen, *row)[1:], parts, z, y))
    if clip:
        alpha = clip_alpha(alpha, scores[:, None])
    m = alpha.shape[1]
    start = jnp.repeat(z, m, 0), jnp.repeat(y, m, 0)
    noise = draws["noise_z"], draws["noise_y"]
    moved = networks.transformer(params, *start, alpha.reshape(-1), noise, draws["direction"])
    asked = Asked((scores[:, None] + alpha).reshape(-1), jnp.repeat(kept, m, 0))
    missed, edited_scores = misses_in_parts(networks, frozen, moved, asked, penalties.kept, parts)
    value = jnp.mean(missed)
    if networks.directions is not None and penalties.angle:
        directions = networks.directions(params, *start, noise)
        value += penalties.angle * angles(directions, draws["direction"], penalties.angle_form)
    return value, Edit(scores, alpha, edited_scores.reshape(alpha.shape))


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
