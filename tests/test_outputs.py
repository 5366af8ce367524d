"""What a score is: the four outputs are their formulas, have gradients, and refuse what makes no score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from latentjax.assessors.outputs import OUTPUTS, Output
from latentjax.errors import InputError

# class 2 is the largest in the first and third row, and not in the others
LOGITS = np.array(
    [[0.5, -1.0, 2.0, 0.1], [3.0, 0.2, 1.0, -2.0], [-0.3, -4.0, 0.7, 0.6], [0.0, 5.0, -1.0, 4.0]], np.float32
)
ALL = [
    (Output("softmax", 4, 2), lambda x: x.softmax(1)[:, 2]),
    (Output("softmax", 4, 0), lambda x: x.softmax(1)[:, 0]),
    (Output("sigmoid", 4, 2), lambda x: x[:, 2].sigmoid()),
    (Output("regression", 4, 2), lambda x: x[:, 2]),
    (Output("regression", 4, 1, centre=0.5, slope=-2.0), lambda x: -2 * (x[:, 1] - 0.5)),
    (Output("margin", 4, 2), lambda x: (x[:, 2] - x[:, [0, 1, 3]].amax(1)).sigmoid()),
    (Output("margin", 4, 3, 0.5, 3.0), lambda x: (3 * (x[:, 3] - x[:, :3].amax(1) - 0.5)).sigmoid()),
]


@pytest.mark.parametrize(("output", "expected"), ALL)
def test_scores_and_gradients_are_pytorchs(output, expected):
    theirs = torch.from_numpy(LOGITS).requires_grad_()
    scores = expected(theirs)
    scores.sum().backward()
    # float32 rounding of an exponential and a division
    np.testing.assert_allclose(output(jnp.asarray(LOGITS)), scores.detach(), rtol=1e-6)
    gradient = jax.grad(lambda x: output(x).sum())(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, theirs.grad, rtol=1e-5, atol=1e-7)
    assert (np.abs(gradient).max(1) > 0).all()


def test_a_margin_is_above_half_where_the_class_is_the_maximum():
    scores = np.asarray(Output("margin", 4, 2)(jnp.asarray(LOGITS)))
    assert ((scores > 0.5) == [True, False, True, False]).all()
    m = [2.0 - 0.5, 1.0 - 3.0, 0.7 - 0.6, -1.0 - 5.0]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array(m))), rtol=1e-6)


def test_a_margin_of_two_classes_is_their_softmax():
    x = jnp.asarray(LOGITS[:, :2])
    np.testing.assert_allclose(Output("margin", 2)(x), Output("softmax", 2)(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Output("softmax", 2), lambda x: jax.nn.softmax(x)[:, 1]),
        (Output("margin", 2), lambda x: jax.nn.sigmoid(x[:, 1] - x[:, 0])),
        (Output("sigmoid", 1), lambda x: jax.nn.sigmoid(x[:, 0])),
        (Output("regression", 1), lambda x: x[:, 0]),
    ],
)
def test_the_class_is_the_only_one_or_class_1_of_2(output, expected):
    x = jnp.asarray(LOGITS[:, : output.num_classes])
    np.testing.assert_array_equal(output(x), expected(x))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_scores_are_float32_whatever_the_logits_are(kind):
    x = jnp.asarray(LOGITS, jnp.bfloat16)
    scores = Output(kind, 4, 2)(x)
    assert (scores.shape, scores.dtype) == ((4,), jnp.float32)
    np.testing.assert_array_equal(scores, Output(kind, 4, 2)(x.astype(jnp.float32)))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_saturated_and_tied_logits_have_finite_gradients(kind):
    x = jnp.array([[1e4, -1e4, -1e4], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]])
    scores, gradient = jax.value_and_grad(lambda x: Output(kind, 3, 0)(x).sum())(x)
    assert jnp.isfinite(scores)
    assert jnp.isfinite(gradient).all()


def test_only_a_regression_leaves_zero_to_one():
    x = jnp.asarray(LOGITS)
    for kind in OUTPUTS:
        scores = Output(kind, 4, 1)(x)
        assert bool(((scores >= 0) & (scores <= 1)).all()) == (kind != "regression")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("tanh", 2), "config.assessor.output: 'tanh' is unknown; use one of softmax, sigmoid, regression, margin"),
        ((["softmax"], 2), "config.assessor.output: ['softmax'] is unknown; use one of "),
        (("softmax", 1), "config.assessor.output: softmax compares classes, and the assessor has 1; use sigmoid or "),
        (("margin", 1), "config.assessor.output: margin compares classes, and the assessor has 1; use sigmoid or "),
        (("softmax", 3, 3), "config.assessor.output_class: is 3, and the assessor's classes are 0 to 2; give one"),
        (("sigmoid", 3, -1), "config.assessor.output_class: is -1, and the assessor's classes are 0 to 2; give one"),
        (("sigmoid", 3, "1"), "config.assessor.output_class: is '1', and"),
        (("sigmoid", 3, 1.0), "config.assessor.output_class: is 1.0, and"),
        (("sigmoid", 3, True), "config.assessor.output_class: is True, and"),
        (("softmax", 2, 1, 0.5), "config.assessor.centre: is for the outputs regression and margin, and this one is s"),
        (("softmax", 2, 1, None, 2.0), "config.assessor.slope: is for the outputs regression and margin, and this on"),
        (("sigmoid", 2, 1, 0.0), "config.assessor.centre: is for the outputs"),
        (("sigmoid", 2, 1, None, 1.0), "config.assessor.slope: is for the outputs"),
        (("margin", 2, 1, 0.5, 0.0), "config.assessor.slope: is 0.0; give finite numbers, and a slope other than 0"),
        (("regression", 2, 1, None, 0), "config.assessor.slope: is 0; give finite numbers"),
        (("regression", 2, 1, None, float("inf")), "config.assessor.slope: is inf; give finite numbers"),
        (("margin", 2, 1, float("nan")), "config.assessor.centre: is nan; give finite numbers"),
        (("margin", 2, 1, -1e31), "config.assessor.centre: is -1e+31; give finite numbers"),
        (("margin", 2, 1, "far"), "config.assessor.centre: is 'far'; give finite numbers"),
    ],
)
def test_an_output_that_makes_no_score_is_refused(settings, said):
    with pytest.raises(InputError) as caught:
        Output(*settings)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "classes"), [("softmax", 1000), ("margin", 3), ("sigmoid", 2), ("regression", 2)])
def test_the_class_is_needed_when_the_score_is_asked_for(kind, classes):
    output = Output(kind, classes)
    with pytest.raises(InputError) as caught:
        output(jnp.zeros((1, classes)))
    said = f"config.assessor.output_class: is not set, and the assessor has {classes} classes; say which one is scored"
    assert str(caught.value) == f"{said}, 0 to {classes - 1}"
