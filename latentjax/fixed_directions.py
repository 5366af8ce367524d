"""Directions that are not learned: how one becomes a transformer, latent arithmetic, and a random one."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from latentjax import networks, weights
from latentjax.errors import InputError
from latentjax.latents import Latent, stacked

Pair = tuple[np.ndarray, np.ndarray]
CARD = """# A direction in the latent space of a GAN

Found by {method}, not learned: z', y' = T(z, y, alpha) moves latents along one vector.

    T = latentjax.load_transformer("{folder}")
    z2, y2 = T(z, y, 0.3)

Made from: `{source}`.
"""


def fixed(direction_z: np.ndarray, direction_y: np.ndarray, source: dict[str, Any]) -> networks.LatentTransformer:
    """A transformer that adds alpha times [Z] to z, whose length it keeps, and alpha times [C] to y."""
    moving = {name: np.float32(array) for name, array in (("z", direction_z), ("y", direction_y)) if array.any()}
    config: dict[str, Any] = {"latent_dim": len(direction_z), "num_classes": len(direction_y), "class_reg": 1.0}
    config |= {name: "vector" if name in moving else "none" for name in ("z", "y")}
    module = weights.abstract("transformer", config)
    weights.fill(module, {f"direction_{name}/vector": array for name, array in moving.items()})
    return networks.LatentTransformer(module, {"kind": "transformer", "config": config, "source": source})


def sourced(method: str, **made_from: Any) -> dict[str, Any]:
    """The record of a direction: its method, what it was made from, and "definition", the sha256 of both.

    Args:
        method: of evaluate.method.
        made_from: all that decides the direction, as JSON has it; no scores, whose last digits depend on the batch.
    """
    record = {"method": method, **made_from}
    return record | {"definition": hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()}


def digest_of(points: Sequence[Latent]) -> str:
    """A sha256 that stands for a set of latents, in whatever order."""
    return hashlib.sha256("".join(sorted(point.key for point in points)).encode()).hexdigest()


def save(transformer: networks.LatentTransformer, folder: os.PathLike | str, *, replace: bool = False) -> None:
    """Writes a direction as a transformer folder with a card, which `latentjax.load_transformer` reads.

    Args:
        transformer: made by `fixed`.
        folder: where; refused if there, unless `replace`.
        replace: swap an existing folder for the new one.

    Raises:
        InputError: the folder is there already, or cannot be written.
    """
    arrays, source = jax.device_get(weights.named(transformer.state)), transformer.source
    card = CARD.format(method=source["method"], folder=folder, source=json.dumps(source))
    record = {"file": "", "sha256": "", **source}
    weights.save(folder, arrays, transformer.kind, transformer.config, record, card=card, replace=replace)


def random_direction(latent_dim: int, num_classes: int, seed: int, strength: float = 1.0) -> networks.LatentTransformer:
    """z moves along one draw from N(0, 1), as a single direction starts out in training; y stays.

    Args:
        latent_dim, num_classes: Z and C.
        seed: of the draw.
        strength: times alpha.
    """
    direction = strength * jax.random.normal(jax.random.key(seed), (latent_dim,))
    return fixed(np.asarray(direction), np.zeros(num_classes), {"method": "random", "seed": seed})


def extremes(points: Sequence[Latent], scores: np.ndarray, share: float) -> tuple[list[int], list[int]]:
    """Indices of the highest and of the lowest scores, `share` of the points each, one at least."""
    count, order = max(1, int(share * len(points))), np.argsort(scores, kind="stable")
    return order[-count:].tolist(), order[:count].tolist()


def check_gap(gap: float, method: str) -> None:
    """Refuses two sets of latents whose scores do not differ, or the wrong way round.

    Raises:
        InputError: a gap that is not above 0.
    """
    if not gap > 1e-6:
        what = f"finds the mean score of what it adds {gap:.3g} above that of what it subtracts"
        raise InputError(
            "config.evaluate.method", f"{method} {what}", "give sets whose scores differ, the higher as plus"
        )


def arithmetic(
    plus: Sequence[Latent], minus: Sequence[Latent], gap: float, strength: float = 1.0
) -> networks.LatentTransformer:
    """The mean of some latents minus the mean of others, over the gap between their mean scores.

    Divided by the gap, the direction is in units of the score: exact where the score is linear in (z, y).

    Args:
        plus, minus: the two sets.
        gap: mean score of `plus` minus that of `minus`.
        strength: times alpha.

    Raises:
        InputError: a gap that is not above 0.
    """
    check_gap(gap, "arithmetic")

    def means(points: Sequence[Latent]) -> Pair:
        z, y = stacked(points)
        return z.mean(0, np.float64), y.mean(0, np.float64)

    (plus_z, plus_y), (minus_z, minus_y) = means(plus), means(minus)
    source = {"method": "arithmetic", "plus": len(plus), "minus": len(minus), "gap": gap}
    # the gap's last digits depend on the batch that the scores were computed in
    points = [f"{sign}{point.key}" for sign, points in (("+", plus), ("-", minus)) for point in points]
    source["definition"] = hashlib.sha256("".join([*sorted(points), repr(strength)]).encode()).hexdigest()
    scale = strength / gap
    return fixed(scale * (plus_z - minus_z), scale * (plus_y - minus_y), source)
