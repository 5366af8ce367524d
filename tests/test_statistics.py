"""The numbers of summary.json by hand-computed examples, bands and p values by known distributions."""

import json

import numpy as np
import pytest

from latentjax.errors import InputError
from latentjax.report import statistics
from latentjax.report.statistics import bootstrap_ci, bootstrap_means, by_latent, summarise

ALPHAS = [-0.3, 0.0, 0.3]
# Two strips: the first moves by .2 either way, the second is at the upper end and falls once.
SCORES = np.array([[0.3, 0.5, 0.7], [0.7, 0.9, 0.8]])


def test_means_and_spread_of_the_score_are_those_over_strips():
    score = summarise(SCORES, ALPHAS, {}, latents=range(2))["score"]
    np.testing.assert_allclose(score["mean"], [0.5, 0.7, 0.75])
    np.testing.assert_allclose(score["std"], [0.2, 0.2, 0.05])
    # With two strips a bootstrap mean is either strip or their middle, each strip alone a quarter of the time.
    np.testing.assert_allclose(score["ci95"], [[0.3, 0.7], [0.5, 0.9], [0.7, 0.8]])


def test_achieved_and_its_limit():
    summary = summarise(SCORES, ALPHAS, {}, latents=range(2))
    assert summary["achieved"] == pytest.approx((0.75 - 0.5) / 0.6)
    # From .5 a score can go to .2 and .8; from .9 to .6 and 1.
    assert summary["achieved_limit"] == pytest.approx((0.6 + 0.4) / 2 / 0.6)
    assert summary["achieved_vs_requested"] == pytest.approx({"-0.3": -0.2, "0": 0.0, "0.3": 0.05})


def test_monotone_share_counts_strips_that_never_fall():
    assert summarise(SCORES, ALPHAS, {}, latents=range(2))["monotone_share"] == 0.5
    assert summarise(SCORES[:, ::-1], [0.3, 0.0, -0.3], {}, latents=range(2))["monotone_share"] == 0.5
    assert summarise(np.full((3, 3), 0.4), ALPHAS, {}, latents=range(3))["monotone_share"] == 1


def test_scores_between_the_alphas_are_interpolated():
    scores = np.array([[0.2, 0.3, 0.7, 0.8]])
    summary = summarise(scores, [-0.4, -0.2, 0.2, 0.4], {}, latents=range(1))
    assert summary["achieved"] == pytest.approx((0.75 - 0.25) / 0.6)
    assert summary["achieved_limit"] == pytest.approx(1)
    assert summary["achieved_vs_requested"]["0.4"] == pytest.approx(0.3)


def test_what_lies_outside_the_alphas_is_null():
    narrow = summarise(SCORES, [-0.2, 0.0, 0.2], {}, latents=range(2))
    assert narrow["achieved"] is narrow["achieved_limit"] is None
    assert narrow["achieved_vs_requested"]["0.2"] == pytest.approx(0.05)
    one_sided = summarise(SCORES, [0.1, 0.2, 0.3], {}, latents=range(2))
    assert set(one_sided["achieved_vs_requested"].values()) == {None}


@pytest.mark.parametrize("alphas", [np.linspace(-0.5, 0.5, 11, dtype=np.float32), -0.5 + 0.1 * np.arange(11)])
def test_float_error_in_the_alphas_does_not_show(alphas):
    summary = summarise(np.linspace(0, 1, 11)[None], alphas, {}, latents=range(1))
    expected = [-0.5, -0.4, -0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert summary["alphas"] == expected
    assert list(summary["achieved_vs_requested"]) == [f"{alpha:g}" for alpha in expected]
    assert summary["achieved"] == pytest.approx(1)


def test_alphas_that_just_miss_the_step_still_reach_it():
    summary = summarise(SCORES, [-0.2999999, 0.0, 0.2999999], {}, latents=range(2))
    assert summary["achieved"] == pytest.approx((0.75 - 0.5) / 0.6)


def test_properties_leave_out_strips_that_lack_a_value():
    size = np.array([[0.1, 0.2, 0.3], [0.4, np.nan, 0.5], [0.3, 0.4, 0.5]])
    scores = np.tile(SCORES[:1], (3, 1))
    nowhere = np.full((3, 3), np.nan)
    found = summarise(scores, ALPHAS, {"size": size, "nowhere": nowhere}, latents=range(3))["properties"]
    np.testing.assert_allclose(found["size"]["mean"], [0.2, 0.3, 0.4])
    np.testing.assert_allclose(found["size"]["ci95"], [[0.1, 0.3], [0.2, 0.4], [0.3, 0.5]])
    assert (found["size"]["latents"], found["size"]["strips"]) == (2, 2)
    assert found["nowhere"] == {"mean": None, "ci95": None, "latents": 0, "strips": 0}


def test_means_weigh_latents_alike_however_many_strips_they_have():
    """Of the first latent one strip is left, of the second two: the mean of latents is .3, that of strips .4."""
    size = np.array([[0.0] * 3, [np.nan, 0.0, 0.0], [0.5] * 3, [0.7] * 3])
    found = summarise(np.tile(SCORES, (2, 1)), ALPHAS, {"size": size}, latents=[0, 0, 1, 1])["properties"]["size"]
    np.testing.assert_allclose(found["mean"], [0.3] * 3)
    assert (found["latents"], found["strips"]) == (2, 3)
    uneven = summarise(np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.6, 0.7, 0.8]]), ALPHAS, {}, latents=[0, 1, 1])
    np.testing.assert_allclose(uneven["score"]["mean"], [0.3, 0.4, 0.5])


def test_a_summary_is_plain_json_and_the_same_every_time():
    rng = np.random.default_rng(0)
    scores, redness = rng.uniform(size=(2, 30, 3)).astype(np.float32)
    latents = [i // 2 for i in range(30)]
    summary = summarise(scores, np.float32(ALPHAS), {"redness": redness}, latents=latents)
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text) == summary
    assert text == json.dumps(summarise(scores, np.float32(ALPHAS), {"redness": redness}, latents=latents))
    assert list(summary) == [
        "alphas",
        "latents",
        "score",
        "achieved",
        "achieved_limit",
        "achieved_vs_requested",
        "monotone_share",
        "properties",
    ]
    assert set(summary["score"]) == {"mean", "std", "ci95"}
    assert summary["latents"] == 15


def test_no_strips_and_scores_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="evaluation: has no strips"):
        summarise(np.empty((0, 3)), ALPHAS, {}, latents=range(0))
    with pytest.raises(InputError, match="not finite in 1 of 2 strips"):
        summarise(np.array([[0.1, np.nan, 0.2], [0.1, 0.2, 0.3]]), ALPHAS, {}, latents=range(2))


def test_the_bootstrap_band_is_that_of_the_mean_of_normal_values():
    values = np.random.default_rng(1).normal(size=(400, 5))
    lo, hi = bootstrap_ci(values)
    assert lo.shape == hi.shape == (5,)
    half = 1.96 * values.std(axis=0) / np.sqrt(400)
    # The quantiles of 1,000 draws are themselves within a few standard errors (4 % of the half-width each).
    np.testing.assert_allclose(values.mean(axis=0) - lo, half, rtol=0.2)
    np.testing.assert_allclose(hi - values.mean(axis=0), half, rtol=0.2)


def test_the_bootstrap_depends_on_its_seed_alone_and_collapses_for_one_strip():
    values = np.random.default_rng(2).uniform(size=(20, 3))
    np.testing.assert_array_equal(bootstrap_ci(values), bootstrap_ci(values))
    assert (bootstrap_ci(values)[0] != bootstrap_ci(values, seed=1)[0]).any()
    np.testing.assert_array_equal(bootstrap_ci(values[:1]), np.stack([values[0], values[0]]))


def test_a_latent_without_a_complete_strip_keeps_its_row_but_counts_nowhere():
    values = np.array([[1, 2], [3, np.nan], [5, 6], [7, 8]])
    rows = by_latent(values, ["b", "a", "b", "c"])
    np.testing.assert_array_equal(rows, [[3, 4], [np.nan, np.nan], [7, 8]])
    means = bootstrap_means(rows)
    # the draws are those of all three latents: some draw "a" alone, and have no mean
    assert np.isnan(means).all(axis=1).mean() == pytest.approx(1 / 27, abs=0.02)
    np.testing.assert_allclose(bootstrap_ci(rows), [[3, 4], [7, 8]])


def test_arrays_of_the_same_latents_are_resampled_alike_in_every_sample():
    values = np.random.default_rng(5).uniform(size=(20, 2))
    means = bootstrap_means(values, samples=2500)
    np.testing.assert_allclose(bootstrap_means(values + 3, samples=2500), means + 3)
    np.testing.assert_array_equal(bootstrap_means(values, samples=300), means[:300])
    # later samples are not the first ones again
    assert len(np.unique(means[:, 0])) > 2450


def test_noise_seeds_of_a_latent_are_no_further_evidence():
    scores = np.random.default_rng(0).uniform(size=(5, 3))
    once = summarise(scores, ALPHAS, {"redness": scores}, latents=range(5))
    often = summarise(
        np.repeat(scores, 9, axis=0),
        ALPHAS,
        {"redness": np.repeat(scores, 9, axis=0)},
        latents=np.repeat(range(5), 9).tolist(),
    )
    np.testing.assert_allclose(often["score"]["ci95"], once["score"]["ci95"], rtol=1e-12)
    np.testing.assert_allclose(
        often["properties"]["redness"]["ci95"], once["properties"]["redness"]["ci95"], rtol=1e-12
    )
    assert (once["latents"], often["latents"]) == (5, 5)


def test_scores_that_may_leave_0_and_1_have_no_limit():
    summary = summarise(SCORES, ALPHAS, {}, latents=range(2), bounded=False)
    assert summary["achieved_limit"] is None
    assert summary["achieved"] is not None


def test_p_is_about_uniform_where_there_is_no_difference():
    random = np.random.default_rng(0)
    # 400 pairs of runs whose latents differ by noise alone, side by side: the latents are drawn alike for all
    means = statistics.bootstrap_means(random.normal(size=(40, 400)), samples=1000)
    p = statistics.two_sided_p(means, 40)
    for level in (0.05, 0.2, 0.5, 0.8):
        # three standard errors of a share of 400; the percentile bootstrap itself is a little too bold
        assert np.mean(p < level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400) + 0.015)


def test_few_latents_prove_nothing():
    """Five differences of one sign come by chance twice in 2^5 times."""
    means = statistics.bootstrap_means(np.array([[0.1], [0.2], [0.3], [0.2], [0.1]]), samples=1000)
    assert statistics.two_sided_p(means, 5)[0] == 2 / 2**5
    assert statistics.two_sided_p(means[:, 0], 20) == pytest.approx(2 / 1001)


def test_holm_is_that_of_a_hand_computation():
    # sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, never falling
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.9, 0.6]) == [1, 1]
    assert statistics.holm([]) == []


def test_relative_change_is_the_ratio_of_means():
    means = np.array([[0.2, 0.4, 0.5], [0.0, 0.0, 0.1]])
    found = statistics.relative_change(np.array([-0.5, 0, 0.5]), means)
    np.testing.assert_allclose(found[0], [-0.5, 0, 0.25])
    assert np.isnan(found[1]).all()
    assert statistics.relative_change(np.array([0.1, 0.5]), means[:, 1:]) is None
