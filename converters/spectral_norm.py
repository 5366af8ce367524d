"""Spectral normalisation, folded into the weights that it divides: without training it divides by a constant."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from converters.rules import WRONG_SHAPE, State

Problems = dict[str, list[str]]


class Stored(NamedTuple):
    """What an implementation keeps of one weight, as the last parts of its keys."""

    weight: str  # [out, ...]; a matrix [out, -1]
    u: str  # `out` numbers
    v: str | None = None  # as many as the matrix has columns, where sigma is made with it
    unused: str | None = None  # kept, and of no meaning


Sigma = Callable[..., float]  # of the matrix, u and, where `Stored` has it, v; float64


def fold(state: State, stored: Stored, sigma_of: Sigma, without: Collection[str] = ()) -> tuple[State, Problems]:
    """weight / sigma in place of each weight and its vectors; and keys by what is wrong with them.

    Args:
        state: the state dict.
        stored: the names.
        sigma_of: the implementation's estimate of the largest singular value.
        without: keys of weights that it leaves alone.
    """
    folded: State = {}
    problems: Problems = {}
    vectors = [name for name in stored[1:] if name]
    for key, array in state.items():
        prefix, _, name = key.rpartition(".")
        if name == stored.weight and key not in without:
            folded[key], found = _effective(state, prefix, stored, sigma_of)
            for problem, culprit in found:
                problems.setdefault(problem, []).append(culprit)
        elif name not in vectors or f"{prefix}.{stored.weight}" not in state:
            folded[key] = array
    return folded, problems


def _effective(state: State, prefix: str, stored: Stored, sigma_of: Sigma) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """One effective weight, and (problem, key) where it cannot be had."""
    key = f"{prefix}.{stored.weight}"
    weight = state[key]
    missing = [("missing", f"{prefix}.{name}") for name in stored[1:] if name and f"{prefix}.{name}" not in state]
    if missing or weight.ndim < 2 or not weight.size:  # the rules tell of a wrong shape
        return weight, missing
    matrix = weight.reshape(len(weight), -1)
    used = [f"{prefix}.{name}" for name in (stored.u, stored.v) if name]
    for vector, count in zip(used, matrix.shape, strict=False):
        if state[vector].size != count or state[vector].ndim > 2:
            return weight, [(WRONG_SHAPE.format(list(state[vector].shape)), vector)]
    for name in (key, *used):
        if not np.isfinite(state[name]).all():
            return np.zeros_like(weight), [("not finite", name)]
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = (state[vector].astype(np.float64).ravel() for vector in used)
        sigma = np.promote_types(weight.dtype, np.float32).type(sigma_of(matrix.astype(np.float64), *vectors))
        fits = 0 < np.float32(sigma) < np.inf  # also where a file holds more than float32
    if not fits:
        return weight, [("whose norm is zero or too large", key)]
    return weight / sigma, []


def renewed_once(matrix: np.ndarray, u: np.ndarray, normalised: Callable[[np.ndarray], np.ndarray]) -> float:
    """Sigma after one power iteration from the stored u."""
    v = normalised(matrix.T @ u)
    return float(normalised(matrix @ v) @ (matrix @ v))
