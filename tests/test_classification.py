"""What is measured of an assessor, by examples worked out by hand and by scikit-learn's own words for them."""

import json
import sys

import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from latentjax.errors import InputError
from latentjax.report import classification
from latentjax.report.classification import binned, calibration_error, measure, selection, temperature

NAMES = ("plain", "bred")
# Of class 1, two are found and one is missed; one of class 0 is taken for it.
TARGETS = np.array([0, 0, 1, 1, 1])
DIFFERENCES = np.array([-2.0, 1.0, 3.0, 0.5, -1.0])
LOGITS = np.stack([np.ones(5), 1 + DIFFERENCES], 1)


def drawn(count=4000, classes=3, seed=0):
    """Logits, and labels drawn with just the probabilities that they give."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(count, classes))
    cumulated = special.softmax(logits, axis=1).cumsum(1)
    return logits, (random.uniform(size=(count, 1)) > cumulated).sum(1)


def test_two_classes_are_measured_by_the_second_one():
    found = measure("softmax", LOGITS, TARGETS, NAMES)
    assert found["confusion"] == [[1, 1], [1, 2]]
    assert (found["count"], found["accuracy"]) == (5, pytest.approx(3 / 5))
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # of the 6 pairs of one of either class, two are the wrong way round: .5 and -1 are below 1
    assert found["auc"] == pytest.approx(4 / 6)
    plain, bred = found["per_class"]
    assert plain == {"name": "plain", "count": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert (bred["name"], bred["count"]) == ("bred", 3)
    right = np.array([-2, 1, -3, -0.5, 1])
    assert found["nll"] == pytest.approx(np.log1p(np.exp(right)).mean())


def test_one_logit_is_measured_as_the_difference_of_two():
    assert measure("sigmoid", DIFFERENCES[:, None], TARGETS, NAMES) == measure("softmax", LOGITS, TARGETS, NAMES)


def test_several_classes_are_measured_by_the_mean_of_each():
    logits, labels = drawn()
    found, predicted = measure("softmax", logits, labels, "abc"), logits.argmax(1)
    for name, score in (("precision", metrics.precision_score), ("f1", metrics.f1_score)):
        assert found[name] == pytest.approx(score(labels, predicted, average="macro"))
        each = [score(labels, predicted, labels=[c], average="macro") for c in range(3)]
        assert [row[name] for row in found["per_class"]] == pytest.approx(each)
    probability = special.softmax(logits, axis=1)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, probability, multi_class="ovr"))
    assert found["nll"] == pytest.approx(metrics.log_loss(labels, probability))


def test_what_a_missing_class_leaves_undefined_is_none():
    found = measure("sigmoid", DIFFERENCES, np.zeros(5), NAMES)
    assert (found["auc"], found["f1"], found["recall"]) == (None, None, None)
    assert found["precision"] == 0
    never = measure("sigmoid", -abs(DIFFERENCES), TARGETS, NAMES)
    assert (never["precision"], never["recall"], never["f1"]) == (None, 0, 0)


def test_means_over_classes_leave_out_those_without_pictures():
    logits = np.eye(3)[[0, 0, 1, 2]]
    found = measure("softmax", logits, [0, 0, 1, 1], "abc")
    assert found["recall"] == pytest.approx((1 + 0.5) / 2)
    assert found["auc"] is None
    assert found["per_class"][2] == {"name": "c", "count": 0, "precision": 0.0, "recall": None, "f1": None}


def test_the_calibration_error_weighs_the_bins_by_their_pictures():
    # three pictures of .9, two right; one of .55, wrong; an end of a bin, here 9/15, belongs to the lower one
    bins = binned(np.array([0.9, 0.9, 0.9, 0.55, 9 / 15]), np.array([True, True, False, False, True]))
    assert bins.count[[8, 13]].tolist() == [2, 3]
    assert bins.predicted[13] == pytest.approx(0.9)
    assert bins.observed[13] == pytest.approx(2 / 3)
    expected = (3 * (0.9 - 2 / 3) + 2 * abs((0.55 + 0.6) / 2 - 0.5)) / 5
    assert calibration_error(bins) == pytest.approx(expected)


def test_the_calibration_error_is_that_of_the_predicted_class():
    sure = np.array([[0.0, np.log(4)], [np.log(4), 0.0]])
    assert measure("softmax", sure, [1, 1], NAMES)["ece"] == pytest.approx(0.8 - 0.5)


def test_probabilities_that_come_true_have_hardly_an_error():
    logits, labels = drawn()
    assert measure("softmax", logits, labels, "abc")["ece"] < 0.02
    assert measure("softmax", 3 * logits, labels, "abc")["ece"] > 0.1


def test_the_reliability_of_two_classes_is_that_of_the_second_and_else_of_the_predicted_one():
    bins = classification.reliability("softmax", np.array([[np.log(4), 0.0]] * 5), [0, 0, 0, 1, 0])
    assert (bins.count[2], bins.predicted[2], bins.observed[2]) == (5, pytest.approx(0.2), pytest.approx(0.2))
    three = classification.reliability("softmax", np.log([[0.1, 0.5, 0.4]] * 2), [1, 0])
    assert (three.count[7], three.predicted[7], three.observed[7]) == (2, pytest.approx(0.5), 0.5)


@pytest.mark.parametrize(("classes", "factor"), [(2, 3.0), (3, 0.5), (3, 1.0)])
def test_the_temperature_undoes_a_scale(classes, factor):
    logits, labels = drawn(classes=classes)
    # the labels are a sample: its best temperature is within a few hundredths of the true one
    assert temperature(factor * logits, labels, "softmax") == pytest.approx(factor, rel=0.06)


def test_the_temperature_has_the_lowest_likelihood_loss():
    logits, labels = drawn(classes=2)
    difference = 2 * (logits[:, 1] - logits[:, 0])
    best = temperature(difference, labels, "sigmoid")
    assert best == pytest.approx(temperature(2 * logits, labels, "softmax"), rel=1e-4)
    nlls = [measure("sigmoid", difference / t, labels, NAMES)["nll"] for t in (0.98 * best, best, 1.02 * best)]
    assert nlls[1] == min(nlls)


def test_the_temperature_is_bounded():
    perfect = np.array([[-1.0], [1.0]])
    assert temperature(perfect, [0, 1], "sigmoid") == pytest.approx(0.05, rel=1e-3)
    assert temperature(perfect, [1, 0], "sigmoid") == pytest.approx(20, rel=1e-3)


def test_a_regression_is_measured_by_its_errors():
    found = measure("regression", [[1.0], [2.0], [4.0]], [1.0, 3.0, 8.0], ())
    assert found["mae"] == pytest.approx((0 + 1 + 4) / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(17 / 3))
    assert found["r2"] == pytest.approx(1 - 17 / 26)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 3, 8])[0, 1])
    assert found["spearman"] == pytest.approx(1)


def test_a_regression_of_equal_numbers_has_no_correlation():
    found = measure("regression", [[1.0], [2.0]], [3.0, 3.0], ())
    assert (found["r2"], found["pearson"], found["spearman"]) == (None, None, None)
    assert measure("regression", [[1.0], [1.0]], [1.0, 3.0], ())["pearson"] is None


def test_the_best_is_chosen_by_f1_or_r2_or_what_stands_in_for_them():
    assert selection(measure("softmax", LOGITS, TARGETS, NAMES)) == pytest.approx(2 / 3)
    assert selection(measure("regression", [[1.0], [2.0], [4.0]], [1.0, 3.0, 8.0], ())) == pytest.approx(9 / 26)
    assert selection(measure("sigmoid", DIFFERENCES, np.zeros(5), NAMES)) == pytest.approx(2 / 5)
    assert selection(measure("regression", [[1.0], [2.0]], [3.0, 3.0], ())) == pytest.approx(-np.sqrt(2.5))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "regression"])
def test_what_is_measured_is_plain_json(output):
    logits = np.float32(LOGITS if output == "softmax" else LOGITS[:, 1:])
    found = measure(output, logits, TARGETS, tuple(np.array(NAMES)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_no_pictures_and_logits_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match=r"^validation: has no pictures; "):
        measure("softmax", np.empty((0, 2)), [], NAMES)
    with pytest.raises(InputError, match=r"^assessor: gives logits that are not finite; "):
        measure("softmax", np.where(LOGITS > 2, np.inf, LOGITS), TARGETS, NAMES)


def test_a_missing_scikit_learn_is_said_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"^scikit-learn: is not installed; pip install -r requirements-report\.txt$"):
        measure("softmax", LOGITS, TARGETS, NAMES)
