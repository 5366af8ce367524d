"""The paper's equation (2): edited scores should be the original scores plus alpha."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from latentjax.latents import clip_alpha

Apply = Callable[..., Any]


class Networks(NamedTuple):
    """The three networks as pure functions whose first argument is their weights."""

    generator: Apply  # (weights, z, y) -> images
    assessor: Apply  # (weights, images) -> scores
    transformer: Apply  # (weights, z, y, alpha, noise) -> z', y'


class Frozen(NamedTuple):
    """Weights that are not trained."""

    generator: Any
    assessor: Any


class Edit(NamedTuple):
    """One forward pass of the objective; m is the number of alphas a latent."""

    scores: jax.Array  # [B]
    alpha: jax.Array  # [B, m]
    edited_scores: jax.Array  # [B, m]
    images: jax.Array  # [B, R, R, 3] in [-1, 1]
    edited_images: jax.Array  # [B * m, R, R, 3]


def forward(networks: Networks, params: Any, frozen: Frozen, draws: dict[str, Any], *, clip: bool = False) -> Edit:
    """Scores of the generated images and of the images of the moved latents, equation (1).

    Args:
        networks, frozen: generator and assessor, and their weights.
        params: the transformer's weights.
        draws: z [B, Z], y [B, K], alpha [B, m] in (-.5, .5), noise_z and noise_y [B * m, n] or None.
        clip: map each alpha onto those that keep the requested score inside (0, 1).
    """
    z, y, alpha = draws["z"], draws["y"], draws["alpha"]
    images = networks.generator(frozen.generator, z, y)
    # no gradient flows through the unedited pass: nothing in it depends on params
    scores = jax.lax.stop_gradient(networks.assessor(frozen.assessor, images))
    if clip:
        alpha = clip_alpha(alpha, scores[:, None])
    m = alpha.shape[1]
    noise = (draws["noise_z"], draws["noise_y"])
    moved = networks.transformer(params, jnp.repeat(z, m, 0), jnp.repeat(y, m, 0), alpha.reshape(-1), noise)
    edited_images = networks.generator(frozen.generator, *moved)
    edited_scores = networks.assessor(frozen.assessor, edited_images).reshape(alpha.shape)
    return Edit(scores, alpha, edited_scores, images, edited_images)


def loss(
    networks: Networks, params: Any, frozen: Frozen, draws: dict[str, Any], *, clip: bool = False
) -> tuple[jax.Array, Edit]:
    """Equation (2): mean (A(G(z', y')) - (A(G(z, y)) + alpha))^2, and the pass it was computed from."""
    edit = forward(networks, params, frozen, draws, clip=clip)
    target = edit.scores[:, None] + edit.alpha
    return jnp.mean((edit.edited_scores - target) ** 2), edit


def sweep(
    networks: Networks, params: Any, frozen: Frozen, z: jax.Array, y: jax.Array, alphas: jax.Array, noise: Any
) -> tuple[jax.Array, jax.Array]:
    """Every latent along alpha, each alpha from the original (the paper's "bigger step").

    Args:
        networks, params, frozen: as in `forward`.
        z, y: [B, Z], [B, K].
        alphas: [A].
        noise: noise_z and noise_y [B, n] or None; all alphas of a latent share it, so that its strip is one direction.

    Returns:
        images [B * A, R, R, 3] in [-1, 1] and scores [B * A], the alphas of a latent next to each other.
    """
    b, a = z.shape[0], alphas.shape[0]
    repeated = jax.tree.map(lambda rows: jnp.repeat(rows, a, 0), (z, y, noise))
    moved = networks.transformer(params, *repeated[:2], jnp.tile(alphas, b), repeated[2])
    images = networks.generator(frozen.generator, *moved)
    return images, networks.assessor(frozen.assessor, images)
