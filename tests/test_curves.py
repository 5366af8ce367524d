"""The numbers of summary.json by hand-computed examples, and the figure of curves.png."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.report.curves import draw
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
    assert found["size"]["strips"] == 2
    assert found["nowhere"] == {"mean": None, "ci95": None, "strips": 0}


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


def test_curves_have_one_panel_for_each_name_and_are_written_whole(tmp_path):
    path = tmp_path / "curves.png"
    digest = draw(path, ALPHAS, {"demo": {"score": SCORES}}, title="one")
    narrow = Image.open(path).size
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    measured = {"score": SCORES, "redness": SCORES, "brightness": SCORES, "object size": SCORES}
    draw(path, ALPHAS, {"demo": measured}, title="four panels")
    wide = Image.open(path).size
    assert wide[0] == pytest.approx(3 * narrow[0], abs=2)
    assert wide[1] > 1.5 * narrow[1]
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_runs_give_the_same_file_whatever_the_order_of_alphas(tmp_path):
    first = draw(tmp_path / "a.png", ALPHAS, {"demo": {"score": SCORES}}, title="t")
    again = draw(tmp_path / "b.png", ALPHAS[::-1], {"demo": {"score": SCORES[:, ::-1]}}, title="t")
    assert first == again


def test_a_second_run_adds_its_name(tmp_path):
    one = draw(tmp_path / "a.png", ALPHAS, {"learned": {"score": SCORES}}, title="t")
    two = draw(tmp_path / "b.png", ALPHAS, {"learned": {"score": SCORES}, "_x": {"score": SCORES}}, title="t")
    renamed = draw(tmp_path / "c.png", ALPHAS, {"learned": {"score": SCORES}, "_y": {"score": SCORES}}, title="t")
    assert len({one, two, renamed}) == 3


@pytest.mark.parametrize(
    "text", ["a $ sign_1", r"$\nosuch{$", "_hidden", "undecodable \udcff", "two\nlines", "é <b>?="]
)
def test_labels_and_titles_take_any_characters(tmp_path, text):
    runs = {text: {"score": SCORES, "size": np.full((2, 3), np.nan)}, "other": {"redness": SCORES}}
    draw(tmp_path / "curves.png", ALPHAS, runs, title=text)
    assert Image.open(tmp_path / "curves.png").width > 300


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(InputError, match="curves: have nothing to draw"):
        draw(tmp_path / "curves.png", ALPHAS, {}, title="t")


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
