"""Per-image gradient ascent on the score: in practice the bound of any learned map, at many times its cost."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from latentjax.objective import Asked, Frozen, Networks, assess, misses


class Ascent(NamedTuple):
    """How far and how often."""

    steps: int
    step_size: float  # the longest step, in units of (z, y)
    move: str = "both"  # or "z", "y"
    kept: tuple[float, ...] = ()  # weights of the kept scores


def ascend(
    networks: Networks, frozen: Frozen, z: jax.Array, y: jax.Array, alphas: np.ndarray, settings: Ascent
) -> tuple[jax.Array, jax.Array]:
    """Moves every latent towards score + alpha, each image and alpha on its own.

    Steps down the gradient of what equation (2) averages, (s' - (s + alpha))^2 and the kept scores' terms, by
    Polyak's step: as far as the gradient promises to meet the request, but no further than step_size. z' keeps the
    length of z. The best point met is returned, so that more steps are never worse.

    Args:
        networks, frozen: generator and assessor, and their weights.
        z, y: [B, Z], [B, C].
        alphas: [A], concrete.
        settings: see `Ascent`.

    Returns:
        z' [B, A, Z] and y' [B, A, C].
    """
    (batch, latent_dim), count = z.shape, len(alphas)
    start = jnp.repeat(z, count, 0), jnp.repeat(y, count, 0)
    alpha = jnp.tile(jnp.asarray(alphas, z.dtype), batch)
    _, scores, kept = assess(networks, frozen, z, y)
    asked = Asked(jnp.repeat(scores, count) + alpha, jnp.repeat(kept, count, 0))
    length = jnp.linalg.norm(start[0], axis=1, keepdims=True)

    def miss(point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows, _ = misses(networks, frozen, point, asked, settings.kept)
        return rows.sum(), rows

    def better(best: tuple, point: tuple[jax.Array, jax.Array], rows: jax.Array) -> tuple:
        """Rows of the best points so far, and their misses."""
        closer = (rows < best[1])[:, None]
        points = jax.tree.map(lambda new, old: jnp.where(closer, new, old), point, best[0])
        return points, jnp.minimum(rows, best[1])

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        point, best = carry
        (_, rows), (down_z, down_y) = jax.value_and_grad(miss, has_aux=True)(point)
        best = better(best, point, rows)
        if settings.move == "z":
            down_y = jnp.zeros_like(down_y)
        elif settings.move == "y":
            down_z = jnp.zeros_like(down_z)
        norm = jnp.sqrt(jnp.sum(down_z**2, 1, keepdims=True) + jnp.sum(down_y**2, 1, keepdims=True))
        norm = jnp.maximum(norm, 1e-12)
        # of a squared distance to 0, Polyak's step is twice the value over the gradient's length
        stride = jnp.minimum(2 * rows[:, None] / norm, settings.step_size) / norm
        moved_z = point[0] - stride * down_z
        if settings.move != "y":
            moved_z = length * moved_z / jnp.linalg.norm(moved_z, axis=1, keepdims=True)
        return ((moved_z, point[1] - stride * down_y), best), None

    untouched = start, alpha**2
    (point, best), _ = jax.lax.scan(step, (start, untouched), length=settings.steps)
    (z, y), _ = better(best, point, miss(point)[1])
    return z.reshape(batch, count, latent_dim), y.reshape(batch, count, -1)
