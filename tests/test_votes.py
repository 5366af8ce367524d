"""latentjax.report.votes and .voting: what votes say, and what files of votes are refused."""

import itertools
import json
import math
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from scipy import special

from latentjax import command_line
from latentjax.errors import InputError
from latentjax.report import votes, voting
from latentjax.report.__main__ import command
from latentjax.report.voting import COLUMNS, Vote

PAIRS = {f"p{i}": (f"a{i}.jpg", f"b{i}.jpg") for i in range(6)}


def simulated(seed: int, voters: int, pairs: int, of_voter: float, of_pair: float, mean: float = 0.4) -> np.ndarray:
    """Votes [V, P] of voters and pairs with effects of these deviations, in probits."""
    rng = np.random.default_rng(seed)
    lean = mean + of_voter * rng.normal(size=(voters, 1)) + of_pair * rng.normal(size=(1, pairs))
    return lean + rng.normal(size=(voters, pairs)) > 0


def interval(table: np.ndarray, **settings) -> votes.Interval:
    voter, pair = (places.ravel() for places in np.indices(table.shape))
    return votes.clustered(table.ravel(), voter, pair, **settings)


def covered(voters: int, pairs: int, of_voter: float, of_pair: float, runs: int = 200) -> tuple[float, float]:
    """How often the clustered and the plain binomial interval hold the share of all voters and pictures."""
    truth, both = special.ndtr(0.4 / math.sqrt(1 + of_voter**2 + of_pair**2)), np.zeros(2)
    for seed in range(runs):
        table = simulated(seed, voters, pairs, of_voter, of_pair)
        found = interval(table, samples=600, seed=seed).ci95
        assert found is not None
        ends = found, votes.binomial(int(table.sum()), table.size)
        both += [lo <= truth <= hi for lo, hi in ends]
    clustered, plain = both / runs
    return clustered, plain


@pytest.mark.parametrize(
    ("voters", "pairs", "of_voter", "of_pair"), [(12, 40, 0.5, 0.5), (15, 30, 1.0, 0.0), (10, 30, 0.0, 1.0)]
)
def test_the_interval_covers_the_truth_where_the_binomial_one_does_not(voters, pairs, of_voter, of_pair):
    # of 200 runs, 95 % has a standard error of 1.5 %; the bootstrap is conservative
    clustered, plain = covered(voters, pairs, of_voter, of_pair)
    assert clustered >= 0.92
    assert plain <= 0.75


def test_five_voters_who_differ_are_enough_for_an_interval_that_covers():
    # plain percentiles of the same draws cover about 85 %
    assert covered(5, 30, 1.0, 0.0)[0] >= 0.92


def test_the_interval_is_conservative_and_not_absurdly_wide_where_votes_are_independent():
    # Owen: up to three times the variance, sqrt(3) = 1.7; the small number of clusters adds some
    widths = []
    for seed in range(20):
        table = simulated(seed, 20, 40, 0, 0)
        lo, hi = interval(table, samples=2000).ci95
        plain = votes.binomial(int(table.sum()), table.size)
        widths.append((hi - lo) / (plain[1] - plain[0]))
    assert 1.2 < np.mean(widths) < 2.1


def test_few_clusters_give_expanded_percentiles():
    # five of nine pairs: means are Binomial(9, 5/9) / 9, whose 1/9 is at .8 % and 2/9 at 4.2 %; Hesterberg's end is at
    # the probability of t(8) = -2.31 times sqrt(9/8), .7 %, without the root at 1.1 %
    table = np.arange(9)[None] < 5
    assert interval(table, samples=100_000).ci95 == pytest.approx((1 / 9, 8 / 9))


def test_p_falls_below_a_twentieth_as_the_interval_leaves_even_odds():
    agreeing = []
    for seed in range(40):
        found = interval(simulated(seed, 12, 30, 0.4, 0.4, mean=0.3), samples=1500)
        agreeing.append((found.p < 0.05) == (not found.ci95[0] <= 0.5 <= found.ci95[1]))
    assert np.mean(agreeing) > 0.9  # the draws are finite


def test_one_voter_or_one_pair_is_not_resampled():
    table = simulated(0, 12, 30, 0.5, 0.5)
    alone, single = interval(table[:1]), interval(table[:, :1])
    assert (alone.over, single.over) == (("pairs",), ("voters",))
    assert interval(table[:1, :1]) == (float(table[0, 0]), None, None, ())


def test_votes_that_are_all_alike_have_no_interval():
    assert interval(np.ones((5, 7), bool)) == (1.0, None, None, ("voters", "pairs"))


@pytest.mark.parametrize(
    ("successes", "count", "ends"), [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))]
)
def test_the_binomial_interval_is_wilsons(successes, count, ends):
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3
    assert votes.binomial(successes, count) == pytest.approx(ends, abs=5e-5)


def test_agreement_is_that_of_the_definition():
    # Krippendorff's "Computing Krippendorff's alpha-reliability" (2011), A: two observers, ten items, binary
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    found = votes.agreement(np.array(first + second), np.array([*range(10), *range(10)]))
    assert found["alpha"] == pytest.approx(0.095, abs=5e-4)
    assert found["share"] == pytest.approx(0.6)
    assert votes.agreement(np.array([0, 1]), np.array([0, 1])) == {"pairs": 0, "share": None, "alpha": None}


def crowd(voters: int = 6, pairs: Sequence[str] = tuple(PAIRS)) -> list[Vote]:
    table = simulated(0, voters, len(pairs), 0.5, 0.5)
    found = [
        Vote(f"v{v}", pair, False, bool(table[v, p]), bool((v + p) % 2), 1000.0 + v)
        for v, (p, pair) in itertools.product(range(voters), enumerate(pairs))
    ]
    # two repeats of the first voter: one with the other choice
    again = [found[0]._replace(repeat=True), found[1]._replace(repeat=True, chose_a=not found[1].chose_a)]
    return found + again


def test_the_order_of_the_votes_does_not_matter_and_the_seed_decides():
    given = crowd()
    found = votes.analyse(given, seed=3)
    assert found == votes.analyse(given[::-1], seed=3)
    assert found != votes.analyse(given, seed=4)


def test_repeated_pairs_count_for_consistency_alone():
    found, without = votes.analyse(crowd()), votes.analyse(crowd()[:-2])
    assert found["consistency"] == {"repeats": 2, "share": 0.5}
    assert without["consistency"] == {"repeats": 0, "share": None}
    assert found["per_voter"]["v0"]["consistency"] == 0.5
    assert {**found, "consistency": 0, "per_voter": 0} == {**without, "consistency": 0, "per_voter": 0}


def test_shares_of_voters_pairs_and_sides_are_counted():
    given = crowd()
    found = votes.analyse(given)
    assert (found["voters"], found["pairs"], found["votes"]) == (6, 6, 36)
    for voter, told in found["per_voter"].items():
        own = [vote for vote in given if vote.voter == voter and not vote.repeat]
        assert told["prefers_a"] == sum(vote.chose_a for vote in own) / 6
        assert told["median_seconds"] == pytest.approx(1 + int(voter[1:]) / 1000)
    assert found["per_pair"]["p2"] == sum(vote.chose_a for vote in given if vote.pair == "p2") / 6
    assert found["left"]["share"] == 0.5


def test_what_cannot_be_had_is_said():
    assert "One voter" in votes.analyse(crowd(voters=1))["notes"][0]
    assert "One pair" in votes.analyse(crowd(pairs=["p0"])[:6])["notes"][0]
    alike = [vote._replace(chose_a=True) for vote in crowd()]
    assert "All votes are alike" in votes.analyse(alike)["notes"][0]
    assert "rough" in votes.analyse(crowd())["notes"][0]


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A study's folder, without its page."""
    made = tmp_path / "study"
    made.mkdir()
    facts = {"study": "abc", "question": "Which $is$ better?", "a": "bred_$1", "b": "plain", "pairs": len(PAIRS)}
    (made / "study.json").write_text(json.dumps(facts))
    lines = ["pair,a,b,a_source,b_source", *(f"{pair},{a},{b},x,y" for pair, (a, b) in PAIRS.items())]
    (made / "key.csv").write_text("\n".join(lines) + "\n")
    return made


def line(voter: str, pair: str, chosen: str = "a", left: str = "a", repeat: int = 0, study: str = "abc") -> str:
    a, b = PAIRS.get(pair, ("a.jpg", "b.jpg"))
    left, right = (a, b) if left == "a" else (b, a)
    return f"{study},{voter},{pair},{repeat},{left},{right},{a if chosen == 'a' else b},900,2026-01-01T00:00:00.000Z"


def ballot(path: pathlib.Path, *lines: str, header: str = ",".join(COLUMNS)) -> pathlib.Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_votes_are_joined_with_the_key(folder, tmp_path):
    lines = [
        line("ann", "p0"),
        line("ann", "p1", "b", "b"),
        line("ann", "p2", "a", "b"),
        line("ann", "p0", "b", "b", 1),
    ]
    found = voting.read(voting.key_of(folder), [ballot(tmp_path / "ann.csv", *lines)])
    assert [(vote.pair, vote.repeat, vote.chose_a, vote.chose_left) for vote in found] == [
        ("p0", False, True, True),
        ("p1", False, False, True),
        ("p2", False, True, False),
        ("p0", True, False, True),
    ]


@pytest.mark.parametrize(
    ("lines", "number", "what"),
    [
        ([line("ann", "p0"), line("ann", "p9")], 3, "has the pair 'p9'"),
        ([line("ann", "p0"), line("ann", "p0", "b")], 3, "'ann' has voted on p0 before, in .*:2"),
        ([line("ann", "p0", study="xyz")], 2, "is of the study 'xyz', not abc"),
        ([line("ann", "p0", repeat=1)], 2, "is a repeat of p0"),
        ([line("ann", "p0").replace("b0.jpg", "b1.jpg")], 2, "p0 is a0.jpg and b0.jpg"),
        ([line("ann", "p0").replace("a0.jpg,900", "c.jpg,900")], 2, "neither left nor right"),
        ([line("ann", "p0").replace(",900,", ",-1,")], 2, "no whole number"),
        ([line(" ", "p0")], 2, "has no voter"),
        ([line("ann", "p0", repeat=2)], 2, "not 0 or 1"),
        (["abc,ann,p0"], 2, "has 3 cells"),
        (['abc,"ann'], 2, "is no CSV"),
    ],
)
def test_a_wrong_line_is_named(folder, tmp_path, refused, lines, number, what):
    path = ballot(tmp_path / "votes.csv", *lines)
    told = refused(lambda: command_line.run(command), "votes", folder, path)
    assert told.startswith(f"{path}:{number}: ")
    assert re.search(what, told)


def test_other_files_are_refused(folder, tmp_path, refused):
    def told(*arguments: object) -> str:
        return refused(lambda: command_line.run(command), "votes", *arguments)

    good, empty = ballot(tmp_path / "good.csv", line("ann", "p0")), ballot(tmp_path / "empty.csv")
    assert f"{good}:2: 'ann' has voted" in told(folder, good, good)
    assert "has no votes" in told(folder, empty)
    assert "has the columns" in told(folder, ballot(tmp_path / "other.csv", header="voter;pair"))
    assert "cannot be read" in told(folder, tmp_path / "nowhere.csv")
    assert "is no study" in told(tmp_path, good)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in told(folder, tmp_path / "binary.csv")
    (folder / "key.csv").write_text((folder / "key.csv").read_text().replace("p3", "p2"))
    assert "is not whole" in told(folder, good)


def test_the_command_writes_the_result_whatever_the_order_of_the_files(folder, tmp_path, capsys):
    choices = np.random.default_rng(0).choice(["a", "b"], (4, len(PAIRS)), p=[0.7, 0.3])
    files = [
        ballot(tmp_path / f"{v}.csv", *(line(f"v{v}", pair, choices[v, p]) for p, pair in enumerate(PAIRS)))
        for v in range(4)
    ]
    written = []
    for order in (files, files[::-1]):
        command(["votes", str(folder), *map(str, order)])
        written.append((folder / "votes.json").read_bytes())
        assert capsys.readouterr().out.startswith("Which $is$ better?")
    assert written[0] == written[1]
    found = json.loads(written[0])
    assert found["prefers_a"]["share"] == np.mean(choices == "a")
    assert (found["a"], found["votes"]) == ("bred_$1", 24)
    with Image.open(folder / "votes.png") as figure:
        assert figure.width > 800


def test_the_figure_is_drawn_without_an_interval(tmp_path):
    for i, given in enumerate((crowd(voters=1), crowd(pairs=["p0"])[:6], crowd()[:1])):
        found = {"question": "Which?", "a": "A", "b": "B"} | votes.analyse(given)
        votes.draw(tmp_path / f"{i}.png", found)
        assert (tmp_path / f"{i}.png").exists()
        assert found["notes"][0] in votes.table(found)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no study"):
        voting.key_of(tmp_path)
