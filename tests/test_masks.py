"""Masks find drawn objects, functions are called as documented, and what is wrong is told in one line."""

import hashlib
import sys

import numpy as np
import pytest
import skimage.filters
import skimage.measure

from latentjax import masks
from latentjax.errors import InputError

SIDE = 96
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
SHAPES = {
    "disc": (X - 0.45) ** 2 + (Y - 0.55) ** 2 < 0.2**2,
    "ellipse": ((X + Y - 1) / 0.4) ** 2 + ((X - Y) / 0.2) ** 2 < 1,
    "rectangle": (abs(X - 0.6) < 0.25) & (abs(Y - 0.4) < 0.15),
    "disc at the border": (X - 0.4) ** 2 + Y**2 < 0.3**2,
    "rectangle at the border": (X < 0.5) & (abs(Y - 0.6) < 0.2),
}


def background_of(kind: str, colour: list[int], rng: np.random.Generator) -> np.ndarray:
    """Colours [SIDE, SIDE, 3]."""
    slope = np.array([[60, -30, 20], [-20, 50, 40]]) * ("gradient" in kind)
    noise = rng.normal(0, 10, (SIDE, SIDE, 3)) * ("noise" in kind)
    return colour + (X - 0.5)[..., None] * slope[0] + (Y - 0.5)[..., None] * slope[1] + noise


def overlap(found: np.ndarray, drawn: np.ndarray) -> float:
    """Intersection over union."""
    return (found & drawn).sum() / (found | drawn).sum()


def levels(colours: np.ndarray) -> np.ndarray:
    return np.round(colours.clip(0, 255)).astype(np.uint8)


FAR, NEAR = ([90, 110, 60], [200, 60, 80]), ([128, 128, 128], [160, 150, 110])
KINDS = ["plain", "gradient", "noise", "gradient and noise"]


# two standard deviations of the noise away, an object is not to be seen in single pixels
@pytest.mark.parametrize(("kind", "colours"), [*((kind, FAR) for kind in KINDS), *((kind, NEAR) for kind in KINDS[:2])])
def test_the_background_mask_is_the_drawn_object(kind, colours):
    rng = np.random.default_rng(0)
    behind, before = colours
    noisy = before + rng.normal(0, 5, (SIDE, SIDE, 3))
    images = [np.where(drawn[..., None], noisy, background_of(kind, behind, rng)) for drawn in SHAPES.values()]
    found = masks.load("background")(levels(np.stack(images)))
    for name, mask in zip(SHAPES, found, strict=True):
        assert overlap(mask, SHAPES[name]) > 0.9, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_without_an_object_has_an_empty_mask(kind):
    rng = np.random.default_rng(1)
    images = np.stack([background_of(kind, colour, rng) for colour in ([90, 110, 60], [160, 120, 140])])
    assert not masks.load("background")(levels(images)).any()


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_flat_picture_has_an_empty_mask(level):
    assert not masks.load("background")(np.full((1, 32, 32, 3), level, np.uint8)).any()


def test_a_picture_of_other_proportions_has_its_mask():
    image = np.full((1, 40, 90, 3), 200, np.uint8)
    image[0, 10:30, 20:60] = 60
    found = masks.load("background")(image)[0]
    assert overlap(found, image[0, ..., 0] == 60) > 0.9


def test_otsu_parts_values_where_scikit_image_does():
    rng = np.random.default_rng(2)
    for share in (0.02, 0.2, 0.5):
        values = np.where(rng.random(5000) < share, rng.normal(5, 1, 5000), rng.normal(0, 1, 5000))
        # scikit-image names the centre of the bin below
        half_a_bin = np.ptp(values) / 512
        assert masks.otsu(values) == pytest.approx(skimage.filters.threshold_otsu(values) + half_a_bin)


def test_one_component_is_kept_the_largest_or_the_first_row_by_row():
    mask = np.zeros((3, 20, 20), bool)
    mask[0, 10:14, 10:14] = mask[0, 1:3, 15:17] = mask[0, 3, 17] = mask[0, 2, 0] = True
    largest, first = (
        masks.Masker("", lambda images: mask, which)(np.zeros((3, 20, 20, 3))) for which in ("largest", "first")
    )
    labels = skimage.measure.label(mask[0])
    np.testing.assert_array_equal(largest[0], labels == labels[12, 12])
    np.testing.assert_array_equal(first[0], labels == 1)
    assert first[0].sum() == 5  # a corner connects
    assert not largest[1:].any()


def refusal(name: str) -> str:
    with pytest.raises(InputError) as refused:
        masks.load(name)
    line = str(refused.value)
    assert "\n" not in line
    return line


FUNCTIONS = """
import numpy as np
threshold = 100
def bright(images):
    bright = images[..., 0] > threshold
    images[:] = 0
    return bright
def grey(images): return images.mean(-1)
def single(images): return np.ones(images.shape[1:3], bool)
def broken(images): return 1 / 0
"""


@pytest.fixture
def functions(tmp_path):
    (tmp_path / "of mine.py").write_text(FUNCTIONS)
    return f"python:{tmp_path / 'of mine.py'}"


def test_a_function_makes_masks_of_which_the_largest_part_is_kept(functions, tmp_path):
    images = np.zeros((2, 16, 16, 3), np.uint8)
    images[0, 2:6, 2:6] = images[0, 10, 10] = 200
    before = images.copy()
    masker = masks.load(f"{functions}:bright")
    found = masker(images)
    assert found.dtype == bool
    assert (found[0].sum(), found[1].sum()) == (16, 0)
    np.testing.assert_array_equal(images, before)
    assert masker.identity == hashlib.sha256(FUNCTIONS.encode()).hexdigest() + ":bright"


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        ("grey", r"grey: gives float64 \[2, 8, 8\] for images \[2, 8, 8, 3\]; return bool \[2, 8, 8\]$"),
        ("single", r"single: gives bool \[8, 8\] for images"),
        ("broken", r"broken: stops with ZeroDivisionError: division by zero; correct it$"),
    ],
)
def test_a_function_that_returns_something_else_is_told(functions, function, complaint):
    with pytest.raises(InputError, match=complaint):
        masks.load(f"{functions}:{function}")(np.zeros((2, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", ["missing", "threshold"])
def test_a_function_that_is_not_there_is_told(functions, name):
    assert f"of mine.py: has no function '{name}'; name one" in refusal(f"{functions}:{name}")


DATACLASS = """
from __future__ import annotations
import dataclasses
@dataclasses.dataclass
class Level:
    level: int
    above: dataclasses.InitVar[int] = 0
    def __post_init__(self, above): self.level += above
def bright(images): return images[..., 0] > Level(90, 10).level
"""


def test_a_python_file_may_have_dataclasses_whose_annotations_are_texts(tmp_path):
    (tmp_path / "a.py").write_text(DATACLASS)
    (tmp_path / "b.py").write_text(DATACLASS.replace("> Level", "< Level"))
    above, below = (masks.load(f"python:{tmp_path / name}.py:bright") for name in "ab")
    images = np.full((1, 8, 8, 3), 101, np.uint8)
    assert above(images).all()
    assert not below(images).any()


def test_a_python_file_that_stops_is_told(tmp_path):
    (tmp_path / "a.py").write_text("import not_there_at_all")
    before = set(sys.modules)
    assert "a.py: cannot be imported (ModuleNotFoundError: No module" in refusal(f"python:{tmp_path / 'a.py'}:f")
    assert set(sys.modules) == before
    (tmp_path / "a.txt").write_text("")
    assert refusal(f"python:{tmp_path / 'a.txt'}:f").endswith(
        "a.txt, which is no Python file; give a file that ends in .py"
    )


@pytest.mark.parametrize("name", ["onnx:/no/model.onnx", "python:/no/file.py:function", "onnx:/"])
def test_a_file_that_is_not_there_is_told(name):
    assert refusal(name).startswith("config.evaluate.masks: names /")


@pytest.mark.parametrize("name", ["foreground", "onnx", "onnx:", "python:file.py", "background:3"])
def test_another_name_is_told(name):
    expected = (
        f"config.evaluate.masks: is {name!r}; give background, onnx:FILE, python:FILE.py:FUNCTION, or leave it empty"
    )
    assert refusal(name) == expected


def test_no_name_is_no_masker():
    assert masks.load("") is None
