"""The quality of edits, on strips whose answers are known."""

import json
import math

import numpy as np
import PIL.Image
import pytest

from latentjax.report import curves, quality, quality_figures

ALPHAS = [-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
JUDGED = [-0.5, -0.3, 0.0, 0.3, 0.5]


def strip(name, scores, seed=0, of_class=0, judged=None, **properties):
    """A record as strips.jsonl has it."""
    measured = {"score": list(scores), **{key: list(values) for key, values in properties.items()}}
    file = f"{name}-noise{seed}.png"
    record = {"name": name, "file": file, "noise_seed": seed, "class": of_class, "measured": measured}
    return {**record, "judged": judged or {}}


def line(start, slope, low=0.0, high=1.0):
    """Scores that follow alpha, as far as they can."""
    return np.clip(start + slope * np.array(ALPHAS), low, high)


def measured(records, features=None, judged_alphas=(), bounded=True):
    return quality.measure(records, ALPHAS, list(judged_alphas), features or {}, bounded)


# ---- requested against achieved


def test_what_is_met_as_far_as_scores_can_go_is_on_the_diagonal():
    found = measured([strip(str(s), line(s, 1)) for s in (0.05, 0.5, 0.9)])["calibration"]
    assert found["slope"] == pytest.approx(1)
    assert found["mean_absolute_miss"] == pytest.approx(0, abs=1e-12)
    assert found["met"] == 1
    assert found["requested"] == pytest.approx(found["achieved"])
    # at .5 the three can do .5, .5 and .1
    assert found["requested"][-1] == pytest.approx(1.1 / 3)
    assert 0.0 not in found["alphas"]


def test_without_bounds_a_request_is_alpha():
    found = measured([strip(str(s), line(s, 1)) for s in (0.05, 0.9)], bounded=False)["calibration"]
    assert found["requested"] == pytest.approx(found["alphas"])
    assert found["slope"] < 1


def test_half_of_what_was_asked_has_slope_a_half():
    found = measured([strip("a", line(0.5, 0.5)), strip("b", line(0.5, 0.5))])["calibration"]
    assert found["slope"] == pytest.approx(0.5)
    # misses are .05, .1 ... .25, twice
    assert found["mean_absolute_miss"] == pytest.approx(0.15)
    assert found["met"] == pytest.approx(0.2)
    assert np.array(found["ci95"]) == pytest.approx(np.repeat(found["achieved"], 2).reshape(-1, 2))


def test_bands_are_over_latents_and_not_strips():
    scores = [line(0.5, slope) for slope in (0.2, 0.4, 0.6)]
    once = measured([strip(str(i), values) for i, values in enumerate(scores)])["calibration"]
    often = [strip(str(i), values, seed) for i, values in enumerate(scores) for seed in range(5)]
    assert measured(often)["calibration"]["ci95"] == once["ci95"]


def test_saturated_tiles_are_counted_at_either_end():
    found = measured([strip("a", line(0.5, 1)), strip("b", line(0.1, 1))])["saturation"]
    # of the tiles of the first, those at -.5 and .5 (0 and 1); of the second those from -.5 to -.1
    assert (found["low"], found["high"]) == (pytest.approx(6 / 22), pytest.approx(1 / 22))
    assert measured([strip("a", line(0.5, 1))], bounded=False)["saturation"]["low"] is None


def test_edits_that_stop_beyond_a_third_are_told():
    stopping = np.clip(line(0.5, 1), 0.1, 0.8)
    beyond = measured([strip("a", stopping)])["saturation"]["beyond"]
    # above .3 nothing more, below -.3 half of what it was
    assert (beyond["up"], beyond["down"]) == (pytest.approx(0, abs=1e-9), pytest.approx(0.5))


def test_failures_are_found_by_class():
    good = [strip(f"good{i}", line(0.5, 1), of_class=2) for i in range(3)]
    bad = [strip("bad", line(0.5, 0.2), of_class=0), strip("fair", line(0.5, 0.3), of_class=0)]
    # all that a score of 1 can do is fall by .3, of .6 asked for
    edge = [strip("edge", np.where(np.array(ALPHAS) < 0, line(1, 0.3), 1), of_class=0)]
    found = measured([*good, *bad, *edge])["failures"]
    assert found["share"] == pytest.approx(1 / 6)
    first, second = found["by_class"]
    assert (first["class"], first["latents"], first["strips"]) == (0, 3, 3)
    assert first["share"] == pytest.approx(1 / 3)
    assert first["worst"][0] == {"file": "bad-noise0.png", "achieved": pytest.approx(0.2)}
    assert first["achieved"] == pytest.approx((0.2 + 0.3 + 0.15) / 3)
    assert (second["class"], second["share"]) == (2, 0)
    assert len(second["worst"]) == 3


# ---- noise


def features_of(angles):
    """Features [J, 2] at these angles."""
    return np.float16(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def noisy(between):
    """Two seeds of three latents that differ by an angle, after an edit by an angle of .6."""
    records, features = [], {}
    moved = np.array([1, 1, 0, 1, 1])
    for name in "abc":
        for seed in range(2):
            records.append(strip(name, line(0.5, 1 + seed * between), seed, redness=line(0.5, 0.1)))
            features[records[-1]["file"]] = features_of(moved * (0.6 + (seed - 0.5) * between))
    return records, features


def test_noise_is_measured_beside_the_edit():
    found = measured(*noisy(0.6), JUDGED)["diversity"]
    assert (found["latents"], found["seeds"]) == (3, 2)
    by = found["by"]
    # float16 features
    assert by["features"]["between_seeds"] == pytest.approx(1 - math.cos(0.6), rel=5e-3)
    assert by["features"]["by_the_edit"] == pytest.approx(1 - (math.cos(0.3) + math.cos(0.9)) / 2, rel=5e-3)
    assert "makes edits differ: over 2 seeds of 3 latents" in found["sentence"]
    assert by["redness"]["ratio"] == 0
    assert by["score"]["ratio"] > 0.1


def test_noise_that_does_nothing_is_called_so():
    found = measured(*noisy(0.01), JUDGED)["diversity"]
    assert found["sentence"].startswith("The noise does nothing that shows: ")


def test_without_features_the_score_tells():
    records, _ = noisy(0.6)
    found = measured(records)["diversity"]
    assert "features" not in found["by"]
    assert found["sentence"].endswith("in the score.")


def test_one_seed_tells_nothing_of_the_noise():
    assert measured([strip("a", line(0.5, 1)), strip("b", line(0.5, 1))])["diversity"] is None


# ---- what judges say


def judged_strips():
    random = np.random.default_rng(0)
    records, features = [], {}
    for i in range(8):
        for seed in range(2):
            judged = {
                "identity": [0.6, 0.8, 1.0, 0.9, 0.7],
                "class": [i, 1, 1, 1, 2],
                # the held-out score follows half of them
                "held out": [0.5 + (i % 2) * alpha / 2 for alpha in JUDGED],
            }
            record = strip(f"l{i}", line(0.5, 0.8), seed, judged=judged)
            records.append(record)
            base = random.normal(size=6)
            features[record["file"]] = np.float16(base + np.array(JUDGED)[:, None] * [10, 0, 0, 0, 0, 0])
    return records, features


def test_identity_is_told_beside_the_achieved_change():
    found = measured(*judged_strips(), JUDGED)["identity"]
    assert found["similarity"]["mean"] == pytest.approx([0.6, 0.8, 1.0, 0.9, 0.7])
    assert found["change"] == pytest.approx([-0.4, -0.24, 0, 0.24, 0.4])


def test_a_class_is_kept_that_is_that_of_the_original():
    found = measured(*judged_strips(), JUDGED)["class_kept"]
    assert found["share"]["mean"] == [1 / 8, 1, 1, 1, 0]
    (lo, hi), certain = found["share"]["ci95"][0], found["share"]["ci95"][1]
    assert lo < 1 / 8 < hi
    assert certain == [1, 1]


def test_drift_is_of_one_strip_a_latent():
    records, features = judged_strips()
    found = measured(records, features, JUDGED)["drift"]
    # the sets are shifted, 10 alpha along one axis; float16 features
    assert found["distance"] == pytest.approx([25, 9, 0, 9, 25], rel=1e-2)
    assert found["distance"][2] == 0
    assert (found["samples"], found["dimensions"]) == (8, 6)
    assert found["floor"] > 0
    others = {file: values * (1 if "noise0" in file else 3) for file, values in features.items()}
    assert measured(records, others, JUDGED)["drift"] == found


def test_the_held_out_assessor_catches_edits_that_fool_the_first():
    found = measured(*judged_strips(), JUDGED)["held_out"]
    assert found["first_achieved"] == pytest.approx(0.8)
    assert found["achieved"] == pytest.approx(0.25)
    assert (found["rose"], found["fooled"]) == (1, 0.5)
    assert found["change"] == pytest.approx([-0.125, -0.075, 0, 0.075, 0.125])
    changes = np.tile(0.8 * np.delete(JUDGED, 2), 8)
    theirs = np.concatenate([(i % 2) * np.delete(JUDGED, 2) / 2 for i in range(8)])
    assert found["correlation"] == pytest.approx(np.corrcoef(changes, theirs)[0, 1])


def test_what_was_not_asked_for_is_none():
    found = measured([strip("a", line(0.5, 1))])
    assert all(found[name] is None for name in ("diversity", "identity", "class_kept", "drift", "held_out"))


def test_without_zero_nothing_is_compared_with_it():
    found = quality.measure([{**strip("a", [0.4, 0.5])}], [0.1, 0.2], [], {}, True)
    assert all(found[name] is None for name in ("calibration", "saturation", "failures"))


def test_the_same_strips_give_the_same_json():
    records, features = judged_strips()
    for record in records:
        record["measured"]["object size"] = [math.nan] * len(ALPHAS)
    first, second = (json.dumps(measured(records, features, JUDGED), allow_nan=False) for _ in range(2))
    assert first == second


# ---- the figure


def test_runs_with_different_judges_share_a_figure(tmp_path):
    runs = {"learned $x_1": measured(*judged_strips(), JUDGED), "_random": measured([strip("a", line(0.5, 0.1))])}
    quality_figures.draw(tmp_path / "quality.png", runs)
    with PIL.Image.open(tmp_path / "quality.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24)}
    assert {(31, 119, 180), (255, 127, 14)} <= colours  # C0 and C1


def test_runs_have_the_colours_and_markers_of_their_curves_also_beyond_ten(monkeypatch, tmp_path):
    found = measured(*judged_strips(), JUDGED)
    figures = []
    monkeypatch.setattr(quality_figures, "write", lambda figure, path: figures.append(figure))
    quality_figures.draw(tmp_path / "quality.png", {str(run): found for run in range(12)})
    expected = [(curves.style(run)["color"], curves.style(run)["marker"]) for run in range(12)]
    assert len(set(expected)) == 12
    legend = figures[0].legends[0]
    assert [(line.get_color(), line.get_marker()) for line in legend.legend_handles] == expected
    panels = {axes.get_title(): axes for axes in figures[0].axes}
    for title in (
        "requested and achieved",
        "identity kept",
        "class kept",
        "drift of the whole set",
        "a held-out assessor",
    ):
        lines = [(line.get_color(), line.get_marker()) for line in panels[title].lines]
        assert set(expected) <= set(lines), title


def test_an_evaluation_without_zero_still_has_a_figure(tmp_path):
    found = quality.measure([strip("a", [0.4, 0.5])], [0.1, 0.2], [], {}, True)
    quality_figures.draw(tmp_path / "quality.png", {"a": found})
    assert (tmp_path / "quality.png").exists()
