"""Whether an assessor is usable as a target: what is measured, on networks small enough to check by other means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import networks, usability, weights
from latentjax.assessors import efficientnet
from latentjax.errors import InputError
from latentjax.usability import Change, Gradients, Usability, verdict


@pytest.fixture(scope="module")
def build():
    """Small EfficientNets with random weights, by the settings of their output; the same one for the same settings."""
    known = {}

    def make(num_classes, **settings):
        key = (num_classes, *settings.items())
        if key not in known:
            config = {"variant": "b0", "num_classes": num_classes, "image_size": 16, **settings}
            record = {"kind": "efficientnet", "config": config}
            known[key] = networks.Assessor(weights.build(**record), record)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        first, second, *_ = efficientnet.STAGES
        patch.setattr(efficientnet, "STAGES", (first._replace(stride=2), second._replace(repeats=1)))
        yield make


@pytest.fixture(scope="module")
def photographs():
    """Smooth pictures with a little noise, uint8 [11, 32, 32, 3]."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (11, 4, 4, 3))
    smooth = np.stack([np.asarray(jax.image.resize(picture, (32, 32, 3), "cubic")) for picture in coarse])
    return np.uint8(np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255))


def brightness(slope=6.0):
    return networks.load_assessor("embedded:brightness", slope=slope)


def by_name(changes):
    return {change.name: change for change in changes}


def test_scores_of_all_batches_are_joined():
    batches = [jnp.full((3, 4, 4, 3), value) for value in (-1.0, 0.0, 1.0)]
    scores = usability.generated_scores(brightness(), iter(batches))
    np.testing.assert_allclose(scores, np.repeat(1 / (1 + np.exp([3.0, 0.0, -3.0])), 3), rtol=1e-5)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match=r"^assessor: gives generated images scores that are not finite; "):
        usability.generated_scores(brightness(), [jnp.full((1, 4, 4, 3), np.nan)])


def test_saturated_scores_are_counted_at_either_end():
    assert usability.saturated(np.array([0.01, 0.02, 0.5, 0.99, 1.0])) == (1 / 5, 2 / 5)


def test_gradients_are_those_of_finite_differences(tiny_generator):
    generator, assessor = networks.load_generator(tiny_generator), brightness(slope=20.0)
    random = np.random.default_rng(1)
    z, y = random.normal(size=(5, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    found = usability.gradient_norms(generator, assessor, z, y, batch=4)  # the last batch is padded

    def scores_at(z):
        return np.asarray(assessor(generator(jnp.asarray(z, jnp.float32), jnp.asarray(y))))

    step = 1e-2
    slopes = [(scores_at(z + step * axis) - scores_at(z - step * axis)) / (2 * step) for axis in np.eye(6)]
    expected = np.linalg.norm(slopes, axis=0)
    # central differences in float32: scores are exact to 1e-7, their differences over the step to 1e-5
    np.testing.assert_allclose(found.latents, expected, rtol=1e-2, atol=2e-5)
    np.testing.assert_allclose(found.reach, found.latents * np.linalg.norm(z, axis=1), rtol=1e-6)
    # a score of the mean grey level: d score / d pixel is s (1 - s) slope w / (2 H W) in each channel of weight w
    scores = scores_at(z)
    whole = scores * (1 - scores) * 20 / 2 * np.linalg.norm([0.299, 0.587, 0.114]) / 8
    np.testing.assert_allclose(found.images, whole, rtol=1e-4)


def test_a_saturated_assessor_has_hardly_a_gradient(tiny_generator):
    generator = networks.load_generator(tiny_generator)
    z, y = np.ones((2, 6), np.float32), np.eye(3, dtype=np.float32)[:2]
    usable, steep = (networks.load_assessor("embedded:brightness", centre=0.0, slope=slope) for slope in (1.0, 100.0))
    reach = [usability.gradient_norms(generator, assessor, z, y).reach.max() for assessor in (usable, steep)]
    assert reach[1] < 1e-6 < reach[0]


def test_even_pictures_are_not_changed_by_jpeg_and_resizing(build):
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    for change in usability.robustness(build(2), grey):
        # Pillow's resampling and JPEG keep this grey exactly
        assert (change.mean_change, change.flipped, change.relative) == (pytest.approx(0, abs=1e-6), 0, None)


def test_harsher_changes_change_more(photographs):
    images = photographs / np.float32(127.5) - 1
    centre = float(networks.load_assessor("embedded:colourfulness").statistic(images).mean())
    assessor = networks.load_assessor("embedded:colourfulness", centre=centre, slope=10.0)
    found = by_name(usability.robustness(assessor, photographs))
    qualities = [found[f"JPEG of quality {quality}"].mean_change for quality in (95, 50, 25)]
    assert qualities == sorted(qualities)
    assert 0 < found["resizing to 1/2 and back"].mean_change < found["resizing to 1/4 and back"].mean_change
    # the changes of a score are counted in deviations of the scores
    deviation = np.asarray(assessor(images)).std()
    for change in found.values():
        assert change.relative == pytest.approx(change.mean_change / deviation, rel=1e-3)


def test_flips_are_counted_where_labels_change():
    pictures = np.zeros((4, 16, 16, 3), np.uint8)
    pictures[:2, ::2, :, 0] = 255  # two have red stripes, which run together when they are shrunk
    # the colourfulness of the stripes is 185, that of the even red 43
    assessor = networks.load_assessor("embedded:colourfulness", centre=float(np.log(100)))
    found = by_name(usability.robustness(assessor, pictures))
    assert found["resizing to 1/2 and back"].flipped == 0.5


def test_antialias_matters_only_where_pictures_are_larger_than_the_network_looks_at(build, photographs):
    assessor = build(2)
    assert usability.ANTIALIASED in by_name(usability.robustness(assessor, photographs))
    assert usability.ANTIALIASED not in by_name(usability.robustness(assessor, photographs[:, ::2, ::2]))
    assert usability.ANTIALIASED not in by_name(usability.robustness(brightness(), photographs))


def test_the_change_by_antialias_is_that_of_resizing_before_judging(build, photographs):
    assessor = build(2)
    found = by_name(usability.robustness(assessor, photographs, batch=4))[usability.ANTIALIASED]
    images = photographs / np.float32(127.5) - 1
    small = jax.image.resize(images, (len(images), 16, 16, 3), "linear", antialias=True)
    expected = np.abs(np.asarray(assessor(small)) - np.asarray(assessor(images))).mean()
    # Pillow rounds to eight bits
    assert found.mean_change == pytest.approx(expected, rel=0.1)


def test_pictures_may_be_bytes_or_floats(build, photographs):
    as_floats = usability.robustness(build(2), photographs / np.float32(127.5) - 1)
    for ours, theirs in zip(usability.robustness(build(2), photographs), as_floats, strict=True):
        assert ours == pytest.approx(theirs) if isinstance(ours, float) else ours == theirs


def test_several_classes_need_no_scored_one(build, photographs):
    assessor, two = build(3), build(3, output_class=2)
    found, of_one = usability.robustness(assessor, photographs), usability.robustness(two, photographs)
    assert [change.flipped for change in found] == [change.flipped for change in of_one]
    assert [change.mean_change for change in found] != [change.mean_change for change in of_one]
    with pytest.raises(InputError, match=r"^config\.assessor\.output_class: is not set"):
        usability.generated_scores(assessor, [jnp.asarray(photographs, jnp.float32)])


def test_a_regression_has_no_labels_to_flip(build, photographs):
    found = usability.robustness(build(1, output="regression", slope=100.0), photographs)
    assert {change.flipped for change in found} == {None}
    assert all(change.mean_change > 0 for change in found)


SPREAD = np.linspace(0.1, 0.9, 100)
HIGH = np.concatenate([np.full(63, 0.99), np.linspace(0.3, 0.9, 37)])
STEEP = Gradients(np.full(100, 0.1), np.full(100, 0.01), np.full(100, 0.5))
FLAT = STEEP._replace(reach=np.concatenate([np.full(41, 1e-3), np.full(59, 0.5)]))


def test_nothing_is_held_against_a_usable_assessor():
    harsh = (Change("JPEG of quality 25", 0.3, 0.9, 0.4), Change("JPEG of quality 75", 0.01, 0.02, 0.01))
    (sentence,) = verdict(Usability(SPREAD, STEEP, harsh), "softmax", 2)
    assert sentence == "Nothing was found that stands against the assessor as a target."


@pytest.mark.parametrize(
    ("found", "output", "classes", "said"),
    [
        (
            Usability(HIGH, STEEP),
            "softmax",
            2,
            "63 % of the generated images score above 0.98 and 0 % below 0.02: there is hardly a gradient; use "
            "--config.assessor.calibrate=true in the main job.",
        ),
        (
            Usability(1 - HIGH, STEEP),
            "sigmoid",
            2,
            "63 % below 0.02: there is hardly a gradient; use --config.assessor.output=regression and "
            "--config.assessor.calibrate=true",
        ),
        (Usability(HIGH, STEEP), "softmax", 3, "use --config.assessor.output=margin and --config.assessor.calibrate"),
        (Usability(0.5 + SPREAD / 100, STEEP), "softmax", 2, "hardly differ (standard deviation 0.002)"),
        (Usability(SPREAD, FLAT), "softmax", 2, "At 41 % of the latents there is hardly a gradient"),
        (Usability(100 * SPREAD, FLAT), "regression", 1, "a standard deviation of 23.3, and the main job asks for"),
        (
            Usability(SPREAD, None, (Change("JPEG of quality 75", 0.1, 0.3, 0.18),)),
            "softmax",
            2,
            "After JPEG of quality 75, 18 % of the labels flip: the assessor heeds compression; ",
        ),
        (
            Usability(SPREAD, None, (Change(usability.ANTIALIASED, 2.0, 0.4, None),)),
            "regression",
            1,
            "After resizing with antialias first, scores change by 2 on average: ",
        ),
        (Usability(), "softmax", 2, "No generated images were looked at: set --config.generator.weights"),
        (Usability(), "softmax", 3, "to be told which class is scored, by --config.assessor.output_class."),
    ],
)
def test_what_stands_against_an_assessor_is_said_with_what_to_do(found, output, classes, said):
    (sentence,) = verdict(found, output, classes)
    assert said in sentence
