"""What the numbers of a paper's run say, in sentences that follow from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Numbers = Mapping[str, Any]
FROM_LATENTS = ("statistics of y", "length of z")  # trivial predictors that see no picture
SURE = 1.96  # standard errors


def of_assessor(judgement: Numbers) -> list[str]:
    """How the assessor does beside trivial predictors, and on families that it never met.

    Args:
        judgement: {"assessor": {"validation": metrics, maybe "unrelated"}, "trivial": [{"name", likewise}]}.
    """
    own = judgement["assessor"]["validation"]
    seen = [row for row in judgement["trivial"] if row["name"] not in FROM_LATENTS]
    best = max(seen, key=lambda row: row["validation"]["accuracy"])
    rival = best["validation"]
    told = (
        f"Of {own['count']} validation pictures the assessor is right about {percent(own['accuracy'])}. The best"
        f" trivial predictor that sees no more than the picture ({best['name']}) is right about"
        f" {percent(rival['accuracy'])}."
    )
    lead = own["accuracy"] - rival["accuracy"]
    if lead <= 0:
        told += " The assessor is no better than that."
    elif lead <= chance(own, rival):
        told += " So few pictures do not show that the assessor sees more than that."
    else:
        told += " The assessor sees more than that."
    return [told, *_of_latents(judgement["trivial"]), *_of_families(judgement["assessor"])]


def _of_latents(trivial: Sequence[Numbers]) -> list[str]:
    """Whether the labels can be read off the latents."""
    found = [row for row in trivial if row["name"] in FROM_LATENTS]
    if not found:
        return []
    best = max(found, key=lambda row: row["validation"]["accuracy"])
    accuracy = best["validation"]["accuracy"]
    told = f"Without looking at pictures, {best['name']} alone are right about {percent(accuracy)}."
    if accuracy >= 0.99:
        told += " The label is a property of the latent, by construction, and no judgement of anybody's."
    return [told]


def _of_families(assessor: Numbers) -> list[str]:
    """Whether it does worse where it knows no relatives."""
    if "unrelated" not in assessor:
        return []
    own, other = assessor["validation"], assessor["unrelated"]
    told = (
        "Pictures are split one by one, as published, so that relatives are on both sides. Of"
        f" {other['count']} pictures of another population, with which it shares no ancestor, the assessor is right"
        f" about {percent(other['accuracy'])} (AUC {number(other['auc'])})."
    )
    if own["accuracy"] - other["accuracy"] > chance(own, other):
        return [told + " That is the figure to believe: on the validation split it knows relatives."]
    return [told + " It is not worse there beyond chance: recognising relatives does not explain its accuracy."]


def of_directions(learned: Numbers, single: Numbers) -> list[str]:
    """How far the map and the one direction change the score.

    Args:
        learned, single: summary.json of their evaluations, at the same alphas.
    """
    told = [f"{name} moves the mean score {_range(found)}." for name, found in _named(learned, single)]
    if learned["achieved"] is not None and single["achieved"] is not None:
        limit = learned["achieved_limit"]
        most = "" if limit is None else f"; {limit:.2f} is what scores within 0 and 1 allow the map"
        told.append(
            f"Between alpha -0.3 and 0.3 the map achieves {learned['achieved']:.2f} of the change asked for, the one"
            f" direction {single['achieved']:.2f}{most}."
        )
    return told + _comparison(learned, single)


def _named(learned: Numbers, single: Numbers) -> list[tuple[str, Numbers]]:
    return [("The map", learned), ("The one direction", single)]


def _range(found: Numbers) -> str:
    """ "from .2 at alpha -0.5 to .8 at 0.5"."""
    order = np.argsort(found["alphas"])
    low, high = ((found["score"]["mean"][i], found["alphas"][i]) for i in (order[0], order[-1]))
    return f"from {low[0]:.2f} at alpha {low[1]:+g} to {high[0]:.2f} at {high[1]:+g}"


def advantages(learned: Numbers, single: Numbers) -> dict[float, float]:
    """Alpha -> how much further in the direction asked for the map changes the mean score than the one direction."""
    found = {}
    for alpha in filter(None, learned["alphas"]):
        changes = [summary["achieved_vs_requested"][f"{alpha:g}"] for summary in (learned, single)]
        if None not in changes:
            found[alpha] = float(np.sign(alpha) * (changes[0] - changes[1]))
    return found


def _comparison(learned: Numbers, single: Numbers) -> list[str]:
    """Where the map is ahead, and whether that is more than the bands allow."""
    found = advantages(learned, single)
    if not found:
        return []
    ahead = sorted((alpha for alpha in found if found[alpha] > 0), key=lambda alpha: -found[alpha])
    if not ahead:
        return ["At no alpha does the map change the score further than the one direction."]
    most = ", ".join(f"{alpha:+g} (by {found[alpha]:.2f})" for alpha in ahead[:3])
    apart = [alpha for alpha in found if not _overlap(learned, single, alpha)]
    told = f"The map changes the score further at {len(ahead)} of {len(found)} alphas, most at {most}."
    return [told + f" The 95 % bands of the two mean scores are apart at {len(apart)} of {len(found)} alphas."]


def _overlap(learned: Numbers, single: Numbers, alpha: float) -> bool:
    index = learned["alphas"].index(alpha)
    (low, high), (low_too, high_too) = (summary["score"]["ci95"][index] for summary in (learned, single))
    return low <= high_too and low_too <= high


def chance(first: Numbers, second: Numbers) -> float:
    """How far two accuracies may differ by chance: 1.96 standard errors of their difference."""
    # half a picture keeps a perfect score from having no error
    shares = [(min(max(m["accuracy"], 0.5 / m["count"]), 1 - 0.5 / m["count"]), m["count"]) for m in (first, second)]
    return SURE * float(np.sqrt(sum(share * (1 - share) / count for share, count in shares)))


def percent(share: float) -> str:
    """ "97.4 %"."""
    return f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """Three decimals, or – for what is not defined."""
    return "–" if value is None else f"{value:.3f}"
