"""Properties agree with plain numpy, scikit-image and the standard library, and their gradients are finite."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.color
import skimage.measure

from latentjax import properties
from latentjax.errors import InputError

COLOURS = {"black": (-1, -1, -1), "grey": (0, 0, 0), "white": (1, 1, 1), "red": (1, -1, -1), "cyan": (-1, 1, 1)}


def compiled(measure):
    """Gives numpy's arrays; one operation at a time, compiling takes much longer."""
    whole = jax.jit(measure)
    return lambda images: np.asarray(whole(images))


redness, soft_redness = compiled(properties.redness), compiled(properties.soft_redness)
colourfulness, brightness = compiled(properties.colourfulness), compiled(properties.brightness)
simplicity = compiled(properties.simplicity)


def flat(name: str) -> np.ndarray:
    """An image [1, 8, 8, 3] of one colour."""
    return np.broadcast_to(np.float32(COLOURS[name]), (1, 8, 8, 3))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three random pictures [3, 24, 20, 3]: any colours, reddish ones, muted ones."""
    rng = np.random.default_rng(0)
    any_colour = rng.uniform(-1, 1, (24, 20, 3))
    reddish = rng.uniform(-1, 1, (24, 20, 3)) * 0.4 + np.array([0.4, -0.5, -0.5])
    muted = 0.3 * rng.uniform(-1, 1, (24, 20, 3))
    return np.stack([any_colour, reddish, muted]).astype(np.float32)


@pytest.fixture(scope="module")
def levels(images) -> np.ndarray:
    """The same pictures in [0, 1], in float64."""
    return (images.astype(np.float64) + 1) / 2


def test_redness_is_the_share_of_red_pixels_by_colorsys(images, levels):
    def is_red(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return (hue < 0.1 or hue > 0.9) and saturation > 0.5 and value > 0.2

    expected = [np.mean([is_red(pixel) for pixel in image.reshape(-1, 3)]) for image in levels]
    assert 0 < expected[0] < expected[1]
    # A share of counted pixels: only float32's division may differ.
    np.testing.assert_allclose(redness(images), expected, rtol=1e-6)


def test_only_red_is_red_for_both_rednesses():
    images = np.concatenate([flat(name) for name in COLOURS])
    expected = [name == "red" for name in COLOURS]
    np.testing.assert_array_equal(redness(images), expected)
    # The soft one may keep 2 % of doubt.
    np.testing.assert_allclose(soft_redness(images), expected, atol=0.02)


def test_redness_begins_at_its_bounds_and_the_soft_one_is_half_there():
    inside = [(0.099, 1, 1), (0.901, 1, 1), (0, 0.501, 0.9), (0, 1, 0.201)]
    outside = [(0.101, 1, 1), (0.899, 1, 1), (0, 0.499, 0.9), (0, 1, 0.199)]
    colours = np.array([colorsys.hsv_to_rgb(*hsv) for hsv in inside + outside], np.float32)
    images = 2 * colours.reshape(8, 1, 1, 3) - 1
    np.testing.assert_array_equal(redness(images), [1] * 4 + [0] * 4)
    # One sigmoid is at .5; the others are near 1, but for the hue of a dark or a pale red.
    soft = soft_redness(images)
    assert ((soft > 0.3) & (soft < 0.5)).all()


def test_hues_on_both_sides_of_red_count_alike():
    pinkish, orange = [1.0, -1.0, -0.5], [1.0, -0.5, -1.0]
    images = np.stack([np.broadcast_to(np.float32(c), (4, 4, 3)) for c in (pinkish, orange)])
    np.testing.assert_array_equal(redness(images), [1, 1])
    soft = soft_redness(images)
    assert soft[0] > 0.9
    np.testing.assert_allclose(soft[0], soft[1], rtol=1e-6)  # mirrored sums, float32 rounding


def test_soft_redness_agrees_with_redness_pixel_by_pixel():
    colours = np.random.default_rng(0).uniform(-1, 1, (4000, 1, 1, 3)).astype(np.float32)
    hard, soft = redness(colours), soft_redness(colours)
    # A soft edge misjudges only the pixels near a bound: a few in a hundred of random colours.
    assert np.mean((soft > 0.5) == (hard > 0.5)) > 0.95


def test_colourfulness_is_the_published_formula(images, levels):
    red, green, blue = np.moveaxis(255 * levels, -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = rg.var(axis=(1, 2)) + yb.var(axis=(1, 2))
    offset = rg.mean(axis=(1, 2)) ** 2 + yb.mean(axis=(1, 2)) ** 2
    expected = np.sqrt(spread) + 0.3 * np.sqrt(offset)
    # float32 sums, and 1e-6 under each root.
    np.testing.assert_allclose(colourfulness(images), expected, rtol=1e-5)


def test_a_grey_image_has_the_colourfulness_that_its_docstring_says():
    np.testing.assert_allclose(colourfulness(flat("grey")), 1.3e-3, rtol=1e-3)


def test_brightness_is_the_mean_grey_level(images, levels):
    expected = (levels @ [0.299, 0.587, 0.114]).mean(axis=(1, 2))
    np.testing.assert_allclose(brightness(images), expected, rtol=1e-5)  # float32 sums
    # .299 + .587 + .114 in float32
    np.testing.assert_allclose(brightness(flat("white")), 1, rtol=1e-6)


def test_simplicity_is_one_minus_the_entropy_of_the_grey_histogram(images, levels):
    grey = np.round(255 * (levels @ [0.299, 0.587, 0.114]))
    expected = []
    for image in grey:
        share = np.histogram(image, bins=256, range=(-0.5, 255.5))[0] / image.size
        share = share[share > 0]
        expected.append(1 + (share * np.log2(share)).sum() / 8)
    # float32 logarithms; one pixel rounded the other way would move it by about 1e-4.
    np.testing.assert_allclose(simplicity(images), expected, atol=1e-5)


def test_simplicity_spans_zero_to_one():
    ramp = np.arange(256, dtype=np.float32).reshape(16, 16, 1).repeat(3, axis=-1) / 127.5 - 1
    least, most = simplicity(np.stack([ramp, np.ones_like(ramp)]))
    assert least == pytest.approx(0, abs=1e-6)  # float32
    assert most == 1


@pytest.mark.parametrize("measure", [properties.soft_redness, properties.colourfulness, properties.brightness])
def test_gradients_are_finite_on_flat_images(measure):
    images = np.concatenate([flat(name) for name in COLOURS])
    assert np.isfinite(jax.jit(jax.grad(lambda images: measure(images).sum()))(images)).all()


def test_a_grey_image_feels_which_way_red_lies():
    gradient = np.asarray(jax.jit(jax.grad(lambda images: properties.soft_redness(images).sum()))(flat("grey")))
    assert (gradient[..., 0] > 0).all()
    assert (gradient[..., 1:] < 0).all()


@pytest.mark.parametrize("name", [*properties.PROPERTIES, "soft_redness"])
def test_of_float32_and_of_bfloat16_properties_are_float32_rows(images, name):
    for kind in (jnp.float32, jnp.bfloat16):
        row = jax.eval_shape(getattr(properties, name), jnp.asarray(images, kind))
        assert (row.shape, row.dtype) == ((3,), jnp.float32)


@pytest.mark.parametrize("wrong", [np.zeros((8, 8, 3), np.float32), np.zeros((1, 3, 8, 8), np.float32)])
def test_images_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match=r"images: have the shape .*; give \[B, H, W, 3\]"):
        properties.brightness(wrong)


def test_levels_that_are_not_in_minus_one_to_one_are_refused():
    with pytest.raises(InputError, match="are of type uint8"):
        properties.brightness(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """200 random pictures [200, 64, 64, 3], levels 0 to 255: noisy, smooth, muted, reddish, or within a few levels."""
    rng = np.random.default_rng(1)
    levels = rng.uniform(0, 255, (200, 64, 64, 3))
    smooth = scipy.ndimage.zoom(rng.uniform(0, 255, (80, 8, 8, 3)), (1, 8, 8, 1), order=1)
    levels[40:120] = smooth + rng.normal(0, 4, smooth.shape)
    levels[80:120] = 0.4 * levels[80:120] + rng.uniform(0, 150, (40, 1, 1, 3))
    levels[120:160] = 0.4 * levels[120:160] + [120, 30, 30]
    levels[160:] = rng.uniform(0, 200, (40, 1, 1, 1)) + rng.uniform(0, 1, (40, 64, 64, 3)) * rng.uniform(2, 60)
    return np.float32(levels.clip(0, 255))


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    """200 random objects [200, 48, 64]: turned ellipses and rectangles, some cut by the border, and grown noise."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:48, :64]

    def drawn(index: int) -> np.ndarray:
        (cy, cx), (a, b), angle = rng.uniform((6, 6), (42, 58)), rng.uniform(2, 24, 2), rng.uniform(0, np.pi)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        if index % 3 == 0:
            return (along / a) ** 2 + (across / b) ** 2 < 1
        if index % 3 == 1:
            return (np.abs(along) < a) & (np.abs(across) < b)
        return scipy.ndimage.gaussian_filter(rng.normal(size=(48, 64)), 3) > 0.05

    return np.stack([drawn(index) for index in range(200)])


def red_share(levels: np.ndarray) -> float:
    hue, saturation, value = np.moveaxis(skimage.color.rgb2hsv(levels / 255), -1, 0)
    # quotients of whole levels such as .1 are inexact; a pixel at a bound is not beyond it
    tiny = 1e-9
    reddish = (hue < 0.1 - tiny) | (hue > 0.9 + tiny)
    return np.mean(reddish & (saturation > 0.5 + tiny) & (value > 0.2 + tiny))


def hasler(levels: np.ndarray, bend=lambda x: x) -> float:
    red, green, blue = np.moveaxis(levels, -1, 0)
    rg, yb = bend(red - green), bend((red + green) / 2 - blue)
    return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())


def grey(levels: np.ndarray) -> np.ndarray:
    return levels @ [0.299, 0.587, 0.114]


def density_entropy(levels: np.ndarray) -> float:
    density, _ = np.histogram(levels, bins=int(levels.max()) + 1, density=True)
    return -np.sum(density * np.log(density + 1e-10))


PLAIN = {
    "ours": {
        "redness": red_share,
        "colourfulness": hasler,
        "brightness": lambda levels: grey(levels).mean() / 255,
        "simplicity": lambda levels: 1 - skimage.measure.shannon_entropy(np.round(grey(levels))) / 8,
    },
    "published": {
        "redness": red_share,
        "colourfulness": lambda levels: hasler(levels, np.abs),
        "brightness": lambda levels: grey(levels).mean() / 255,
        "entropy": density_entropy,
    },
}


def as_published(levels: np.ndarray) -> np.ndarray:
    """An 8-bit picture [64, 64, 3] at 256 x 256; eighths are exact in float64, and so are halves, rounded up."""
    place = (np.arange(256) + 0.5) / 4 - 0.5
    before = np.floor(place).astype(int)
    share = (place - before)[:, None, None]
    for _ in range(2):
        levels = (1 - share) * levels[before.clip(0)] + share * levels[(before + 1).clip(max=63)]
        levels = levels.swapaxes(0, 1)
    return np.floor(levels + 0.5)


def agree(form: str, name: str, pictures: np.ndarray) -> None:
    """Asserts that a property of levels is what `PLAIN` says of the form's pictures, as they are or 8-bit ones."""
    measure = jax.jit(lambda images: properties.IMAGE_PROPERTIES[form][name](images))  # not compiled before a fault
    measured = np.concatenate([measure(some / 127.5 - 1) for some in np.split(pictures, len(pictures) // 20)])
    levels = map(as_published, np.round(pictures)) if form == "published" else np.float64(pictures)
    # float32 sums and logarithms; a grey level half between two whole ones may be rounded otherwise than in float64,
    # which moves simplicity by 3e-5. A pixel of 64 x 64 on the wrong side of a bound is 2.4e-4 of redness.
    np.testing.assert_allclose(measured, [PLAIN[form][name](each) for each in levels], rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize(("form", "name"), [(form, name) for form in PLAIN for name in PLAIN[form]])
def test_pictures_have_the_properties_that_numpy_and_scikit_image_find(pictures, form, name):
    # the published form enlarges its pictures
    agree(form, name, pictures[::10] if form == "published" else pictures[:, :48, :48])


@pytest.mark.parametrize(
    ("constant", "wrong", "form", "name"),
    [
        ("HUE", 0.102, "ours", "redness"),
        ("SATURATION", 0.51, "published", "redness"),
        ("VALUE", 0.205, "ours", "redness"),
        ("GREY_WEIGHTS", (0.3, 0.587, 0.113), "published", "brightness"),
        ("PUBLISHED_SIDE", 255, "published", "entropy"),
    ],
)
def test_a_fault_is_seen_in_20_pictures(pictures, monkeypatch, constant, wrong, form, name):
    monkeypatch.setattr(properties, constant, wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        agree(form, name, pictures[::10])


def test_published_forms_resize_without_antialias():
    row = np.arange(1024).reshape(1, 1024, 1, 1)
    # of four rows, the middle two are those next to the new row's centre
    images = np.where((row % 4 == 1) | (row % 4 == 2), np.ones((1, 1024, 8, 3), np.float32), -1)
    assert jax.jit(properties.published_brightness)(images) == pytest.approx(1)
    assert brightness(images) == pytest.approx(0.5)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_the_published_entropy_of_a_flat_picture_is_that_of_numpy_histogram(level):
    images = np.full((1, 8, 8, 3), level / 127.5 - 1, np.float32)
    # -(level + 1) ln(level + 1) in float32; the 1e-10 is lost in it
    expected = density_entropy(np.full(192, level))
    np.testing.assert_allclose(jax.jit(properties.published_entropy)(images), [expected], rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def regions(masks) -> list:
    """scikit-image's view of each mask."""
    return [skimage.measure.regionprops(mask.astype(np.uint8))[0] for mask in masks]


def test_200_masks_have_the_size_that_scikit_image_finds(masks, regions):
    area = np.array([region.area for region in regions])
    # counts, and one rounded division
    np.testing.assert_allclose(jax.jit(properties.object_size)(masks), area / (48 * 64), rtol=3e-7)
    np.testing.assert_allclose(jax.jit(properties.published_object_size)(masks), area * 256**2 / (48 * 64), rtol=3e-7)


def test_200_masks_have_the_centredness_that_scikit_image_finds(masks, regions):
    y, x = np.array([region.centroid for region in regions]).T
    ours = 1 - np.abs((y + 0.5) / 48 - 0.5) - np.abs((x + 0.5) / 64 - 0.5)
    # pixel centres of 48 x 64 in pixels of 256 x 256, both counted from 0
    y, x = (y + 0.5) * 256 / 48 - 0.5, (x + 0.5) * 256 / 64 - 0.5
    published = 1 - (np.abs(x - 128) + np.abs(y - 128)) / 256
    # float32 sums of thousands of pixels
    np.testing.assert_allclose(jax.jit(properties.centredness)(masks), ours, atol=1e-6)
    np.testing.assert_allclose(jax.jit(properties.published_centredness)(masks), published, atol=1e-6)


def test_200_masks_have_the_squareness_that_scikit_image_finds(masks, regions):
    expected = [region.axis_minor_length / region.axis_major_length for region in regions]
    assert min(expected) < 0.3
    # the minor axis is a difference of float32 sums; 1/12 for a pixel's width would add .001 and more
    np.testing.assert_allclose(jax.jit(properties.squareness)(masks), expected, atol=1e-5)


def test_a_published_mask_is_measured_as_it_is_at_256():
    mask = np.zeros((1, 256, 256), bool)
    mask[0, 100:110, 30:50] = True
    assert jax.jit(properties.published_object_size)(mask)[0] == 200
    expected = 1 - (abs(39.5 - 128) + abs(104.5 - 128)) / 256
    assert jax.jit(properties.published_centredness)(mask)[0] == pytest.approx(expected, abs=1e-6)


def test_a_pixel_is_square_and_a_line_is_not():
    masks = np.zeros((3, 9, 9), bool)
    masks[0, 2, 3] = True
    masks[1, 4, 1:8] = True
    masks[2] = np.eye(9, dtype=bool)
    # a slanted line's minor axis is the root of a rounded 0
    np.testing.assert_allclose(jax.jit(properties.squareness)(masks), [1, 0, 0], atol=1e-3)


@pytest.mark.parametrize("form", properties.MASK_PROPERTIES)
def test_an_empty_mask_has_nan_and_leaves_its_neighbours_alone(form):
    masks = np.zeros((3, 16, 16), bool)
    masks[1, 4:9, 4:12] = True
    for measure in properties.MASK_PROPERTIES[form].values():
        values = jax.jit(measure)(masks)
        np.testing.assert_array_equal(np.isfinite(values), [False, True, False])
        assert values.dtype == jnp.float32


@pytest.mark.parametrize("wrong", [np.zeros((8, 8), bool), np.zeros((1, 8, 8), np.float32)])
def test_masks_of_another_shape_or_type_are_refused(wrong):
    with pytest.raises(InputError, match=r"masks: are .*; give bool, \[B, H, W\]"):
        properties.centredness(wrong)
