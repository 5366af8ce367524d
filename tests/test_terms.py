"""Several assessors as one, and scores that an edit should leave alone."""

import numpy as np
import pytest

from latentjax import networks, terms, weights
from latentjax.errors import InputError

IMAGES = np.float32(np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)))
COLOUR = {"weights": "embedded:colourfulness", "weight": 0.75, "centre": 3.0, "slope": 2.0}
BRIGHT = {"weights": "embedded:brightness", "weight": -0.25}
KEPT = {"weights": "embedded:brightness", "weight": 10, "keep": True}


def test_scores_are_the_weighted_sum():
    both = terms.load([COLOUR, BRIGHT, KEPT])
    colourful = networks.load_assessor("embedded:colourfulness", centre=3.0, slope=2.0)(IMAGES)
    bright = networks.load_assessor("embedded:brightness")(IMAGES)
    np.testing.assert_allclose(both.apply(both.state, IMAGES), 0.75 * colourful - 0.25 * bright, rtol=1e-6)
    np.testing.assert_allclose(both.kept(both.state, IMAGES), bright[:, None], rtol=1e-6)
    assert both.kept_weights == (10.0,)


def test_one_term_of_weight_1_is_the_assessor_itself():
    one = terms.load([{"weights": "embedded:colourfulness"}])
    expected = networks.load_assessor("embedded:colourfulness")(IMAGES)
    np.testing.assert_allclose(one.apply(one.state, IMAGES), expected, rtol=1e-6)


def test_names_tell_terms_apart():
    names = [term.name for term in terms.load([COLOUR, BRIGHT, KEPT]).terms]
    assert names == ["colourfulness", "brightness", "brightness-2"]


def test_what_identifies_the_scores_holds_weights_and_settings():
    one, other = (terms.load([{**COLOUR, "slope": slope}]).settings for slope in (1.0, 2.0))
    assert one != other
    assert terms.load([COLOUR]).settings[0]["weight"] == 0.75


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["embedded:brightness"], r"terms\[0\]: is no term"),
        ([{"weight": 1.0}], r"terms\[0\]: is no term"),
        ([COLOUR, {**BRIGHT, "wieght": 2}], r"terms\[1\]: has the unknown field 'wieght'"),
        ([{**COLOUR, "weight": 0}], r"terms\[0\]: has the weight 0"),
        ([{**COLOUR, "weight": float("nan")}], r"terms\[0\]: has the weight nan"),
        ([{**COLOUR, "weight": "1"}], r"terms\[0\]: has the weight '1'"),
        ([{**KEPT, "weight": -1.0}], r"terms\[0\]: has the weight -1.0"),
        ([{**COLOUR, "keep": "yes"}], r"terms\[0\]: has keep 'yes'"),
        ([KEPT], "keeps every score"),
        ([{"weights": "embedded:beauty"}], "embedded:beauty"),
    ],
)
def test_what_is_no_term_is_refused(entries, said):
    with pytest.raises(InputError, match=said):
        terms.load(entries)


def test_a_class_that_is_not_chosen_is_told_at_once():
    config = {"variant": "b0", "num_classes": 3}
    module = weights.abstract("efficientnet", config)
    assessor = networks.Assessor(module, {"kind": "efficientnet", "config": config})
    with pytest.raises(InputError, match=r"config\.assessor\.output_class: is not set"):
        terms.Terms([terms.Term("score", assessor, 1.0, False)])
