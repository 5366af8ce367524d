"""The boundary between latents of high and of low score, whose normal is a direction (InterFaceGAN)."""

from collections.abc import Sequence

import numpy as np

from latentjax.errors import InputError
from latentjax.latents import Latent, stacked
from latentjax.packages import scikit_learn


def normal(plus: Sequence[Latent], minus: Sequence[Latent], move: str = "both") -> tuple[np.ndarray, np.ndarray]:
    """The unit normal of the hyperplane that a linear SVM puts between two sets (Shen et al. 2020, section 2.1).

    Theirs is a boundary in z; here it is one in (z, y), and the normal points to `plus`.

    Args:
        plus, minus: the two sets.
        move: "both", or "z" or "y": the other part of the normal is left out.

    Returns:
        Its parts [Z] and [K], float64, together of length 1.

    Raises:
        InputError: scikit-learn is not installed, or nothing is left of the normal.
    """
    z, y = stacked([*plus, *minus])
    labels = np.repeat([1, 0], [len(plus), len(minus)])
    # the primal problem has one solution and needs no random order
    machine = scikit_learn("svm").LinearSVC(dual=False, random_state=0)
    weights = machine.fit(np.concatenate([z, y], 1, dtype=np.float64), labels).coef_[0]
    in_z = np.arange(len(weights)) < z.shape[1]
    weights = np.where(in_z if move == "z" else ~in_z if move == "y" else True, weights, 0.0)
    if not (length := np.linalg.norm(weights)):
        raise InputError("config.evaluate.move", f"is {move}, which the boundary does not depend on", "give both")
    return weights[in_z] / length, weights[~in_z] / length
