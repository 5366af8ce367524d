"""How well edits do what was asked, and what else they do: requested against achieved, failures, identity, drift.

All is of strips (a latent with a noise seed, along alpha); bands are over latents, see `statistics`. A part that was
not measured is None.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax.report import diversity, judged
from latentjax.report.statistics import STEP, at, bootstrap_ci, by_latent, slopes

MOVING = 0.05  # mean change of the score for a unit of alpha, below which nothing halts
MET = 0.05  # a request is met where the score changed by this much more or less at most
ENDS = (0.02, 0.98)  # beyond them a bounded score is saturated
FAILED = 0.25  # an edit failed that achieved less of what could be
WORST = 5  # strips that are named for each class


class Scores(NamedTuple):
    """The scores of all strips, beside what was asked of them."""

    alphas: np.ndarray  # [A]
    scores: np.ndarray  # [N, A]
    start: np.ndarray  # [N], at alpha = 0
    latents: list[str]  # [N]
    bounded: bool  # within [0, 1]

    def asked(self, alphas: np.ndarray) -> np.ndarray:
        """The change [N, A] that is asked for, as far as bounded scores allow it."""
        wanted = self.start[:, None] + alphas
        return (np.clip(wanted, 0, 1) if self.bounded else wanted) - self.start[:, None]

    def change(self, alpha: float) -> np.ndarray | None:
        """The change [N] at an alpha from alpha = 0; None outside their range."""
        score = at(alpha, self.alphas, self.scores)
        return None if score is None else score - self.start


def measure(
    records: Sequence[Mapping[str, Any]],
    alphas: Sequence[float],
    judged_alphas: Sequence[float],
    features: Mapping[str, np.ndarray],
    bounded: bool,
) -> dict[str, Any]:
    """The quality of the edits of one evaluation, as JSON has it; the same for the same input.

    Args:
        records: of the strips, as in strips.jsonl; at least one.
        alphas: A numbers, in the order of the records' "measured".
        judged_alphas: J numbers, 0 among them, in the order of the records' "judged"; empty where nothing judged.
        features: a strip's file -> its features [J, F] at the judged alphas; empty where there are none.
        bounded: whether scores cannot leave [0, 1].

    Returns:
        calibration, see `calibration`; saturation, see `saturation`; failures, see `failures`;
        diversity, see `diversity.measure`; identity, class_kept, drift and held_out, see `judged`.
        Where 0 is outside the range of alphas, the first three are None.
    """
    along, places = np.asarray(alphas, np.float64), np.asarray(judged_alphas, np.float64)
    scores = np.array([record["measured"]["score"] for record in records], np.float64)
    names = [record["name"] for record in records]
    start = at(0.0, along, scores)
    found = None if start is None else Scores(along, scores, start, names, bounded)
    # changes of the score where judges look
    columns = [int(np.argmin(np.abs(along - alpha))) for alpha in places]
    changes = scores[:, columns] - scores[:, columns][:, places == 0] if columns else np.empty((len(scores), 0))
    return {
        "calibration": None if found is None else calibration(found),
        "saturation": None if found is None else saturation(found),
        "failures": None if found is None else failures(found, records),
        "diversity": diversity.measure(records, along, places, features),
        "identity": judged.identity(records, places, changes),
        "class_kept": judged.class_kept(records, places),
        "drift": judged.drift(records, places, features),
        "held_out": judged.held_out(records, places, changes),
    }


def calibration(found: Scores) -> dict[str, Any]:
    """Requested against achieved changes of the score, over all alphas but 0.

    Returns:
        alphas; requested: the mean change that could be asked for at each (alpha, less where it would lead a bounded
        score out of [0, 1]); achieved and ci95: the mean change and its band; slope: of achieved over requested
        changes, through the origin; mean_absolute_miss; met: the share of requests missed by .05 at most.
    """
    kept = np.abs(found.alphas) > 1e-6
    alphas = found.alphas[kept]
    asked, got = found.asked(alphas), found.scores[:, kept] - found.start[:, None]
    lo, hi = bootstrap_ci(by_latent(got, found.latents))
    missed, size = np.abs(got - asked), float(np.sum(asked**2))
    return {
        "alphas": alphas.tolist(),
        "requested": asked.mean(axis=0).tolist(),
        "achieved": got.mean(axis=0).tolist(),
        "ci95": np.stack([lo, hi], axis=1).tolist(),
        "slope": float(np.sum(asked * got)) / size if size else None,
        "mean_absolute_miss": float(missed.mean()) if missed.size else None,
        "met": float((missed <= MET + 1e-9).mean()) if missed.size else None,
    }


def saturation(found: Scores) -> dict[str, Any]:
    """Where scores have no room left, and where edits come to a halt.

    Returns:
        low and high: the share of tiles whose score is below .02 or above .98 (None where scores are unbounded);
        beyond: {"up", "down"}: the mean change for each unit of alpha from +-.3 to the last alpha, over that from
        0 to +-.3: 1 where edits go on as before, 0 where they have stopped; None where alphas end at +-.3 or
        hardly anything changed before (less than .05 for each unit of alpha).
    """
    low, high = (found.scores < ENDS[0]).mean(), (found.scores > ENDS[1]).mean()
    return {
        "low": float(low) if found.bounded else None,
        "high": float(high) if found.bounded else None,
        "beyond": {"up": _beyond(found, found.alphas.max()), "down": _beyond(found, found.alphas.min())},
    }


def _beyond(found: Scores, last: float) -> float | None:
    """How fast the score still changes beyond +-.3, relative to before."""
    step = STEP if last > 0 else -STEP
    near, far = found.change(step), found.change(float(last))
    if near is None or far is None or abs(last) <= STEP + 1e-6:
        return None
    before = float(near.mean()) / step
    return (float(far.mean()) - float(near.mean())) / (float(last) - step) / before if abs(before) >= MOVING else None


def failures(found: Scores, records: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Strips that hardly do what was asked, by class: those that achieve less than a quarter of what could be.

    Returns:
        share: of all strips; by_class: {class, latents, strips, achieved (the mean change of the score from -.3 to
        .3, over .6), share, worst: [{"file", "achieved"}, ...] (the strips that achieve least of what could be)}
        in the order of classes. None where the alphas do not reach +-.3.
    """
    achieved = slopes(found.scores, found.alphas)
    if achieved is None:
        return None
    could = np.diff(found.asked(np.array([-STEP, STEP])), axis=1)[:, 0] / (2 * STEP)
    share = achieved / could  # never 0: a score within [0, 1] has room on one side
    classes = defaultdict(list)
    for i, record in enumerate(records):
        classes[record["class"]].append(i)
    return {
        "share": float((share < FAILED).mean()),
        "by_class": [
            {
                "class": name,
                "latents": len({found.latents[i] for i in rows}),
                "strips": len(rows),
                "achieved": float(achieved[rows].mean()),
                "share": float((share[rows] < FAILED).mean()),
                "worst": [
                    {"file": records[i]["file"], "achieved": float(achieved[i])}
                    for i in sorted(rows, key=lambda i: (share[i], records[i]["file"]))[:WORST]
                ],
            }
            for name, rows in sorted(classes.items())
        ],
    }
