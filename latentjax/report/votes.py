"""What the votes of a study say: the share that prefers A, and how sure that is over voters and over pictures.

Votes of one voter are alike, and so are votes on one pair: they are no independent draws, and a plain binomial
interval is too narrow. Voters and pairs are both resampled (Owen, "The pigeonhole bootstrap", 2007), each with
replacement and independently of the other, and a vote counts as often as its voter times its pair were drawn. That
overstates the variance of what is neither of voter nor pair, so that the interval is rather too wide than too narrow.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from latentjax.command_line import printable
from latentjax.files import write_json
from latentjax.report import voting
from latentjax.report.drawing import legend, new_figure, short, write
from latentjax.report.voting import Vote

SAMPLES = 10_000
FEW = 10  # voters or pairs below which the interval is said to be rough
LEVEL = 0.95


class Interval(NamedTuple):
    """A share with its uncertainty.

    Attributes:
        share: mean of the votes.
        ci95: (lo, hi); None where it cannot be had.
        p: two-sided, of a share of .5; None likewise.
        over: what was resampled: "voters", "pairs".
    """

    share: float
    ci95: tuple[float, float] | None
    p: float | None
    over: tuple[str, ...]


def clustered(
    outcomes: np.ndarray, voters: np.ndarray, pairs: np.ndarray, *, seed: int = 0, samples: int = SAMPLES
) -> Interval:
    """The mean of outcomes with a 95 % two-way cluster bootstrap interval (Owen 2007, the pigeonhole bootstrap).

    A kind of cluster of which there is one only is not resampled: the interval then says nothing about others. The
    percentiles are those of Hesterberg ("What teachers should know about the bootstrap", 2015, expanded percentile
    interval): n clusters spread too little by (n - 1) / n and have the tails of Student's t, n being that of the rarer
    kind; p is where the interval's end would reach .5.

    Args:
        outcomes: [N] of 0 and 1, N at least 1.
        voters: [N] whole numbers from 0 up, who gave each.
        pairs: [N] likewise, on what.
        seed: of the draws.
        samples: number of bootstrap means.
    """
    outcomes = np.asarray(outcomes, np.float64)
    share = float(outcomes.mean())
    counts = {"voters": int(voters.max()) + 1, "pairs": int(pairs.max()) + 1}
    over = tuple(name for name, count in counts.items() if count > 1)
    if not over or share in (0.0, 1.0):
        return Interval(share, None, None, over)
    chosen, given = np.zeros((2, counts["voters"], counts["pairs"]))
    np.add.at(chosen, (voters, pairs), outcomes)
    np.add.at(given, (voters, pairs), 1)
    rng = np.random.default_rng(seed)
    of_voters, of_pairs = (rng.multinomial(n, np.full(n, 1 / n), samples).astype(np.float64) for n in counts.values())
    # all are whole numbers, so that these sums are exact in whatever order they are taken
    sums, weights = (np.sum((of_voters @ table) * of_pairs, axis=1) for table in (chosen, given))
    means = sums[weights > 0] / weights[weights > 0]
    n = min(counts[name] for name in over)
    wider = np.sqrt(n / (n - 1))
    tail = special.ndtr(wider * special.stdtrit(n - 1, (1 - LEVEL) / 2))
    lo, hi = np.quantile(means, [tail, 1 - tail])
    # one is added on both sides: no finite number of draws shows that a probability is 0 (Davison and Hinkley 1997)
    beyond = 1 + min(np.sum(means <= 0.5), np.sum(means >= 0.5))
    p = min(1.0, 2 * float(special.stdtr(n - 1, special.ndtri(beyond / (len(means) + 1)) / wider)))
    return Interval(share, (float(lo), float(hi)), p, over)


def binomial(successes: int, count: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share of `count` independent votes, which votes of a study are not."""
    z = 1.959963984540054
    share, shrink = successes / count, 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / shrink
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / shrink
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def agreement(outcomes: np.ndarray, pairs: np.ndarray) -> dict[str, float | int | None]:
    """How alike voters vote on the same pair.

    Args:
        outcomes: [N] of 0 and 1, at most one a voter and pair.
        pairs: [N] whole numbers from 0 up.

    Returns:
        pairs: how many have two votes or more; the others count nothing here;
        share: mean over these of the share of pairs of votes that agree; about .5 by chance;
        alpha: Krippendorff's (2004), nominal: 1 all agree, 0 as by chance. Both None where no pair has two votes,
        alpha also where all votes are alike.
    """
    ones = np.bincount(pairs, weights=outcomes)
    count = np.bincount(pairs)
    ones, count = ones[count > 1], count[count > 1]
    if not len(count):
        return {"pairs": 0, "share": None, "alpha": None}
    differing = 2 * ones * (count - ones) / (count - 1)
    total, a = count.sum(), ones.sum()
    expected = 2 * a * (total - a) / (total - 1)
    alpha = float(1 - differing.sum() / expected) if expected else None
    return {"pairs": len(count), "share": float(np.mean(1 - differing / count)), "alpha": alpha}


def analyse(votes: Sequence[Vote], *, seed: int = 0, samples: int = SAMPLES) -> dict[str, Any]:
    """Everything `votes.json` says of the votes of a study; plain Python numbers, whatever the order of the votes.

    Repeated pairs count for consistency alone.

    Args:
        votes: at least one of them not of a repeated pair.
        seed: of the bootstrap.
        samples: of the bootstrap.
    """
    votes = sorted(votes, key=lambda vote: (vote.voter, vote.pair, vote.repeat))
    first = [vote for vote in votes if not vote.repeat]
    names, voters = np.unique([vote.voter for vote in first], return_inverse=True)
    shown, pairs = np.unique([vote.pair for vote in first], return_inverse=True)
    chose_a, chose_left = (np.array([getattr(vote, name) for vote in first]) for name in ("chose_a", "chose_left"))
    found = clustered(chose_a, voters, pairs, seed=seed, samples=samples)
    left = clustered(chose_left, voters, pairs, seed=seed, samples=samples)
    per_pair = np.bincount(pairs, weights=chose_a) / np.bincount(pairs)
    return {
        "voters": len(names),
        "pairs": len(shown),
        "votes": len(first),
        "prefers_a": found._asdict(),
        "binomial_ci95": binomial(int(chose_a.sum()), len(first)),
        "left": left._asdict(),
        "agreement": agreement(chose_a, pairs),
        "consistency": consistency(votes),
        "per_voter": {str(name): _of_voter([vote for vote in votes if vote.voter == name]) for name in names},
        "per_pair": dict(zip(shown.tolist(), per_pair.tolist(), strict=True)),
        "bootstrap": {"samples": samples, "seed": seed},
        "notes": _notes(found, len(names), len(shown)),
    }


def consistency(votes: Sequence[Vote]) -> dict[str, float | int | None]:
    """Of the pairs that a voter met twice, with the sides swapped, the share with the same choice; None without any."""
    first = {(vote.voter, vote.pair): vote.chose_a for vote in votes if not vote.repeat}
    same = [first[vote.voter, vote.pair] == vote.chose_a for vote in votes if vote.repeat]
    return {"repeats": len(same), "share": float(np.mean(same)) if same else None}


def _of_voter(votes: Sequence[Vote]) -> dict[str, Any]:
    first = [vote for vote in votes if not vote.repeat]
    return {
        "votes": len(first),
        "prefers_a": float(np.mean([vote.chose_a for vote in first])),
        "left": float(np.mean([vote.chose_left for vote in first])),
        "consistency": consistency(votes)["share"],
        "median_seconds": float(np.median([vote.milliseconds for vote in first])) / 1000,
    }


def _notes(found: Interval, voters: int, pairs: int) -> list[str]:
    """What the interval does not tell."""
    notes = []
    if voters == 1:
        notes.append("One voter: an interval over voters cannot be had; this is what one person prefers.")
    if pairs == 1:
        notes.append("One pair: an interval over pictures cannot be had; this is about one pair of pictures.")
    if found.over and found.ci95 is None:
        notes.append("All votes are alike: the bootstrap has no interval for them.")
    if found.ci95 and min(n for n in (voters, pairs) if n > 1) < FEW:
        notes.append(f"Fewer than {FEW} voters or pairs: the interval is rough.")
    return notes


def report(folder: pathlib.Path, files: Sequence[pathlib.Path], *, seed: int = 0) -> dict[str, Any]:
    """Writes votes.png and votes.json into a study's folder; returns the content of votes.json.

    Raises:
        InputError: the folder holds no study, or a file's votes are not of it.
    """
    study = voting.key_of(folder)
    votes = voting.read(study, files)
    told = {"study": study.facts["study"], "question": study.facts["question"]}
    found = told | {"a": study.facts["a"], "b": study.facts["b"]} | analyse(votes, seed=seed)
    draw(folder / "votes.png", found)
    write_json(folder / "votes.json", found)
    return found


def draw(path: pathlib.Path, found: dict[str, Any]) -> str:
    """Draws the share of each voter and of each pair, sorted, with the mean and its interval; the PNG's sha256."""
    figure = new_figure(9, 4)
    panels = figure.subplots(1, 2, sharey=True)
    per_voter = [told["prefers_a"] for told in found["per_voter"].values()]
    shares = {"voters": per_voter, "pairs": list(found["per_pair"].values())}
    mean, ci95 = found["prefers_a"]["share"], found["prefers_a"]["ci95"]
    handles, labels = [], []
    for axes, (name, values) in zip(panels, shares.items(), strict=True):
        dots = axes.plot(range(1, len(values) + 1), sorted(values), "o", color="C0", markersize=4, clip_on=False)
        line = axes.axhline(mean, color="C1")
        even = axes.axhline(0.5, color="grey", linestyle="--", linewidth=1)
        handles, labels = [dots[0], line, even], ["a voter, a pair", f"all votes: {mean:.2f}", "no preference"]
        if ci95:
            handles.append(axes.axhspan(*ci95, color="C1", alpha=0.2, linewidth=0))
            labels.append(f"95 % over {' and '.join(found['prefers_a']['over'])}: {ci95[0]:.2f} to {ci95[1]:.2f}")
        axes.set(xlabel=f"{len(values)} {name}, sorted", ylim=(0, 1), xlim=(0.4, len(values) + 0.6))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"share that prefers\n{short(found['a'], 40)}", parse_math=False)
    figure.suptitle(short(found["question"], 80), parse_math=False)
    legend(figure, handles, labels, loc="outside lower center", ncols=len(labels))
    return write(figure, path)


def table(found: dict[str, Any]) -> str:
    """The content of votes.json in a few lines of text."""
    prefers, left, agreed = found["prefers_a"], found["left"], found["agreement"]
    rows = [
        (found["question"], f"{found['votes']} votes, {found['voters']} voters, {found['pairs']} pairs"),
        (f"prefer {found['a']}", f"{_percent(prefers['share'])} (against {found['b']})"),
        (f"  95 % over {' and '.join(prefers['over']) or 'nothing'}", _range(prefers["ci95"])),
        ("  p, of no preference", "-" if prefers["p"] is None else f"{prefers['p']:.2g}"),
        ("  plain binomial, too narrow", _range(found["binomial_ci95"])),
        ("left side chosen", f"{_percent(left['share'])} ({_range(left['ci95'])})"),
        ("voters agree", f"{_percent(agreed['share'])}, Krippendorff's alpha {_number(agreed['alpha'])}"),
        (f"same choice in {found['consistency']['repeats']} repeats", _percent(found["consistency"]["share"])),
    ]
    rows += [
        (f"  {name}", f"{_percent(told['prefers_a'])} of {told['votes']}") for name, told in found["per_voter"].items()
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([printable(f"{name:{width}}  {value}") for name, value in rows] + found["notes"])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _range(ci95: Sequence[float] | None) -> str:
    return "-" if ci95 is None else f"{100 * ci95[0]:.1f} to {100 * ci95[1]:.1f} %"
