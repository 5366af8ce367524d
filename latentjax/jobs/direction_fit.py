"""Which of several directions moves scores most, to which side, and how long it has to be to meet requests.

Directions of unit length have no scale of their own: alpha = .3 should raise the score by .3.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from latentjax import networks
from latentjax.jobs.samples import Samples

# each latent is asked for one of them; large ones alone would be met by directions so long that every alpha goes to
# their end
ALPHAS = (-0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4)
PROBES = 16  # latents on which directions are compared
PROBE = 0.5  # how far they are moved for it, times their typical length
# doublings of the latents' typical length, to start from and to go on by: to within 9 % of the best
COARSE = (-3.0, -1.0, 1.0, 3.0, 5.0)
FINER = (1.0, 0.5, 0.25)


class Fit(NamedTuple):
    """What was chosen."""

    component: int
    sign: int
    doublings: float  # log2 of the length over the latents' typical length
    length: float


class Editor:
    """Moves the tuning latents along directions and scores them.

    Args:
        samples: whose tuning latents.
        candidates: directions of unit length, made by `fixed`, that move the same parts of (z, y).
        bar: is told of each image.
    """

    def __init__(self, samples: Samples, candidates: Sequence[networks.LatentTransformer], bar: tqdm):
        self.samples, self.candidates, self.bar = samples, candidates, bar
        tuning, forms = samples.tuning, candidates[0].config
        moving = [array for name, array in (("z", tuning.z), ("y", tuning.y)) if forms[name] != "none"]
        self.typical = float(np.linalg.norm(np.concatenate(moving, axis=1), axis=1).mean())
        self._move = jax.jit(candidates[0].apply)

    def scores(self, edits: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
        """Scores [edits, n] of the first n tuning latents, each moved along a candidate by its distance of [n]."""
        tuning, moved = self.samples.tuning, []
        for component, distances in edits:
            state, n = self.candidates[component].state, len(distances)
            moved.append(jax.device_get(self._move(state, tuning.z[:n], tuning.y[:n], distances)))
        z, y = (np.concatenate(arrays) for arrays in zip(*moved, strict=True))
        return self.samples.scores(z, y, self.bar).reshape(len(edits), -1)

    def strongest(self) -> tuple[int, int]:
        """Which candidate changes the mean score most between its two sides, and which of them is the higher."""
        far = np.full(PROBES, PROBE * self.typical)
        edits = [(k, side * far) for k in range(len(self.candidates)) for side in (1, -1)]
        means = self.scores(edits).mean(1).reshape(-1, 2)
        effects = means[:, 0] - means[:, 1]
        component = int(np.abs(effects).argmax())
        return component, 1 if effects[component] >= 0 else -1

    def misses(self, component: int, sign: int, doublings: Sequence[float]) -> list[float]:
        """Mean (A(G(z', y')) - (s + alpha))^2 of each length, over the tuning latents with one of `ALPHAS` each."""
        start = self.samples.tuning.scores
        alphas = np.resize(ALPHAS, len(start))
        lengths = [sign * self.typical * 2.0**each for each in doublings]
        scores = self.scores([(component, length * alphas) for length in lengths])
        return np.mean((scores - start - alphas) ** 2, 1).tolist()


def coarse_to_fine(misses: Callable[[Sequence[float]], list[float]]) -> float:
    """The argument of the least miss: the best of `COARSE`, then of its neighbours at each step of `FINER`.

    Args:
        misses: gives those of several arguments at once.
    """
    found = dict(zip(COARSE, misses(COARSE), strict=True))
    for step in FINER:
        best = min(found, key=found.__getitem__)
        around = (best - step, best + step)
        found |= zip(around, misses(around), strict=True)
    return min(found, key=found.__getitem__)


def fit(
    samples: Samples, candidates: Sequence[networks.LatentTransformer], method: str, *, oriented: bool = False
) -> Fit:
    """Chooses component, sign and length.

    Args:
        samples: on whose tuning latents it is judged.
        candidates: directions of unit length, made by `fixed`, that move the same parts of (z, y).
        method: named on the progress bar.
        oriented: there is one candidate, whose sign is known; only its length is chosen.
    """
    lengths = len(samples.tuning.points) * (len(COARSE) + 2 * len(FINER))
    probes = 0 if oriented else 2 * PROBES * len(candidates)
    with tqdm(total=probes + lengths, unit=" images", desc=f"fitting {method}") as bar:
        editor = Editor(samples, candidates, bar)
        component, sign = (0, 1) if oriented else editor.strongest()
        doublings = coarse_to_fine(lambda asked: editor.misses(component, sign, asked))
    return Fit(component, sign, doublings, editor.typical * 2.0**doublings)
