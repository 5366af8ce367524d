"""Directions that nobody scored: SeFa's factorisation of weights and GANSpace's PCA of activations.

They have neither a name nor a sign of their own; here the sign is such that the largest entry is positive.
"""

from collections.abc import Sequence

import numpy as np

from latentjax.errors import InputError

KINDS = ("pca", "sefa")
RANK = 1e-10  # of the largest eigenvalue: what is below is rounding


def sefa(z_maps: Sequence[np.ndarray]) -> np.ndarray:
    """The directions of z that the first linear layers stretch most (Shen & Zhou 2021, equation 5).

    They maximise |A n| over unit n, where A [N, Z] has a row for each output of the layers: its right-singular
    vectors, largest singular value first.

    Args:
        z_maps: [Z, n] each, the layers' kernels as `Generator.z_maps` gives them; beside one another they are A^T.

    Returns:
        [r, Z] float64 of unit length, r the rank of A.
    """
    stacked = np.concatenate([np.asarray(each, np.float64) for each in z_maps], axis=1)
    return signed(leading(stacked @ stacked.T))


def pca(z: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """GANSpace's directions in z (Härkönen et al. 2020, section 2.2): principal components of a layer, regressed on.

    Activations are projected on their principal components; the regression of z on each of these coordinates is
    the direction, largest variance first. With activations X = U S V^T about their mean, the coordinates are U S, and
    as they do not correlate, each direction is along z^T U: U alone is needed, of the matrix X X^T of the latents.

    Args:
        z: [N, Z].
        activations: [N, n] of one layer at these z.

    Returns:
        [r, Z] float64 of unit length, r the rank of the activations about their mean.
    """
    centred = activations - activations.mean(0, np.float64)
    directions = leading(centred @ centred.T) @ (z - z.mean(0, np.float64))
    return signed(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def leading(gram: np.ndarray) -> np.ndarray:
    """Eigenvectors of a Gram matrix as rows, largest eigenvalue first, without those of eigenvalue 0."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK * values[-1]
    return vectors[:, kept][:, ::-1].T


def signed(directions: np.ndarray) -> np.ndarray:
    """The rows, each with the sign that makes its largest entry positive."""
    largest = np.abs(directions).argmax(1)
    return directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]


def first(directions: np.ndarray, count: int, kind: str, field: str) -> np.ndarray:
    """The first `count` rows.

    Raises:
        InputError: there are fewer; `field` names the setting at fault.
    """
    if count > len(directions):
        what = f"is {count}, and {kind} finds {len(directions)} directions of this generator's z"
        raise InputError(field, what, f"give {len(directions)} or fewer")
    return directions[:count]
