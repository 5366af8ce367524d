"""Eight bits, strips, overviews, contact sheets, PNG files."""

import concurrent.futures
import hashlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from latentjax import pictures

ALPHAS = [round(-0.5 + 0.1 * k, 1) for k in range(11)]
SCORES = np.linspace(0, 1, 11)
NAMES = ["info?k=0011930f&x=1.1", "two\nlines\ttab", "é日本 $x_1$ <b>", "undecodable \udcff", "long " * 200, " "]


def tiles(size: int, level: int | None = None) -> np.ndarray:
    """[11, size, size, 3]: random pixels, or all of one level."""
    if level is None:
        return np.random.default_rng(0).integers(0, 256, (11, size, size, 3), np.uint8)
    return np.full((11, size, size, 3), level, np.uint8)


def columns(size: int) -> list[int]:
    """Left edges of a strip's tiles, for sizes at least as wide as their labels."""
    gap = max(4, size // 32)
    return [gap + k * (size + gap) for k in range(11)]


def test_levels_survive_the_way_to_minus_one_to_one_and_back():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pictures.to_uint8(levels / np.float32(127.5) - 1), levels)


def test_levels_are_rounded_and_clipped():
    given = jnp.array([-3.0, -1.0, (0.6 / 127.5) - 1, (0.4 / 127.5) - 1, 1.0, 3.0])
    np.testing.assert_array_equal(pictures.to_uint8(given), [0, 0, 1, 0, 255, 255])


def test_to_uint8_stays_on_the_device_and_compiles():
    images = jnp.zeros((2, 4, 4, 3), jnp.bfloat16)
    levels = jax.jit(pictures.to_uint8)(images)
    assert isinstance(levels, jax.Array)
    assert levels.dtype == jnp.uint8
    assert (levels == 128).all()


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_a_strip_shows_every_tile_below_its_badge_unchanged(size):
    given = tiles(size)
    image = pictures.strip(given, ALPHAS, SCORES)
    gap = max(4, size // 32)
    assert image.width == gap + 11 * (size + gap)
    # Labels and gaps take less than half a tile at 64 pixels and less again above.
    assert size < image.height < 1.5 * size
    pixels, below_badge = np.asarray(image), size // 2
    for tile, left in zip(given, columns(size), strict=True):
        shown = pixels[gap + below_badge : gap + size, left : left + size]
        np.testing.assert_array_equal(shown, tile[below_badge:])


@pytest.mark.parametrize("size", [64, 512])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_badge_is_dark_with_light_digits_on_any_background(size, level):
    pixels = np.asarray(pictures.strip(tiles(size, level), ALPHAS, SCORES).convert("L"))
    gap = max(4, size // 32)
    badge = pixels[gap + 1 : gap + 11, columns(size)[3] + 1 : columns(size)[3] + 21]
    assert badge.min() < 40
    assert badge.max() > 200


def test_scores_and_alphas_are_what_a_strip_differs_by():
    first = pictures.strip(tiles(64, 90), ALPHAS, SCORES)
    other_score = pictures.strip(tiles(64, 90), ALPHAS, SCORES + 0.01)
    other_alpha = pictures.strip(tiles(64, 90), [2 * alpha for alpha in ALPHAS], SCORES)
    assert first.size == other_score.size == other_alpha.size
    assert first.tobytes() != other_score.tobytes()
    assert first.tobytes() != other_alpha.tobytes()


@pytest.mark.parametrize("zero", [0.0, -0.0, -5.5e-17, 1e-8])
def test_only_alpha_zero_is_framed_even_with_float_error(zero):
    alphas = [*ALPHAS[:5], zero, *ALPHAS[6:]]
    pixels = np.asarray(pictures.strip(tiles(64, 90), alphas, SCORES))
    framed = [tuple(pixels[30, left - 1]) == pictures.ACCENT for left in columns(64)]
    assert framed == [index == 5 for index in range(11)]


@pytest.mark.parametrize(
    ("alpha", "label"),
    [(-0.5, "-0.5"), (np.float32(0.1), "+0.1"), (0.25, "+0.25"), (1, "+1.0"), (-2, "-2.0"), (0, "original")],
)
def test_alpha_is_labelled_with_its_sign(alpha, label):
    assert pictures._alpha_label(float(alpha)) == label


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [16, 64])
def test_any_title_is_one_line_as_wide_as_the_strip(name, size):
    plain = pictures.strip(tiles(size), ALPHAS, SCORES)
    titled = pictures.strip(tiles(size), ALPHAS, SCORES, title=name)
    assert titled.width == plain.width
    assert plain.height < titled.height < plain.height + 20


def test_names_in_letters_that_the_font_lacks_stay_apart():
    drawn = {pictures.strip(tiles(64), ALPHAS, SCORES, title=name).tobytes() for name in ("é", "ü", "日", "本")}
    assert len(drawn) == 4


def test_a_long_title_keeps_both_ends():
    font = pictures._font(12)
    shortened = pictures._fit("start" + "x" * 500 + "end", font, 200)
    assert shortened.startswith("start")
    assert shortened.endswith("end")
    assert 150 < font.getlength(shortened) <= 200


def test_strips_drawn_in_threads_are_the_same():
    def draw(_):
        return pictures.strip(tiles(32), ALPHAS, SCORES, title="same").tobytes()

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert set(threads.map(draw, range(16))) == {draw(0)}


def test_as_many_alphas_and_scores_as_tiles():
    with pytest.raises(ValueError, match="zip"):
        pictures.strip(tiles(64), ALPHAS, SCORES[:-1])


@pytest.mark.parametrize("side", [16, 64, 130, 512])
@pytest.mark.parametrize("alphas", [[-0.5, 0.0, 0.125], [0.0], np.linspace(-0.5, 0.5, 11).tolist()])
def test_tiles_are_found_in_a_strip_to_the_pixel(tmp_path, side, alphas):
    shown = (
        np.full((len(alphas), side, side, 3), 77, np.uint8)
        + np.arange(len(alphas), dtype=np.uint8)[:, None, None, None]
    )
    pictures.save(pictures.strip(shown, alphas, [0.5] * len(alphas), title="a name"), tmp_path / "strip.png")
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    found = pictures.layout_of(tmp_path / "strip.png", alphas)
    assert found.tile == (side, side)
    for tile, left in zip(shown, found.left, strict=True):
        cut = strip[found.top : found.top + side, left : left + side]
        # below the score's plate
        assert (cut[side // 2 :] == tile[side // 2 :]).all() if side > 40 else (cut[-1] == tile[-1]).all()
        # the frame is right outside
        assert (strip[found.top + side, left : left + side] != tile[-1]).any()
        assert (strip[found.top + side - 1, left - 1] != tile[-1, 0]).any()


def test_what_is_no_strip_has_no_tiles(tmp_path):
    for size in ((300, 5), (301, 170)):
        Image.new("RGB", size).save(tmp_path / "other.png")
        assert pictures.layout_of(tmp_path / "other.png", ALPHAS) is None
    pictures.save(pictures.strip(tiles(64), ALPHAS, SCORES), tmp_path / "untitled.png")
    assert pictures.layout_of(tmp_path / "untitled.png", ALPHAS) is None
    assert pictures.layout_of(tmp_path / "missing.png", ALPHAS) is None


@pytest.mark.parametrize("title", ["", "all strips"])
def test_an_overview_stacks_strips_beside_their_labels(title):
    strips = [pictures.strip(tiles(64), ALPHAS, SCORES, title=name) for name in ("", "two")]
    image = pictures.overview(strips, NAMES[:2], title=title)
    assert strips[0].width < image.width < 1.35 * strips[0].width
    top = image.height - sum(one.height for one in strips)
    assert (top > 0) == bool(title)
    left = image.width - strips[0].width
    np.testing.assert_array_equal(np.asarray(image)[top : top + strips[0].height, left:], np.asarray(strips[0]))


def test_every_row_of_an_overview_needs_a_label():
    strips = [pictures.strip(tiles(32), ALPHAS, SCORES)] * 2
    with pytest.raises(ValueError, match="zip"):
        pictures.overview(strips, ["one"])


def test_a_png_is_written_whole_under_any_name(tmp_path):
    image = Image.fromarray(tiles(16)[0])
    for name in ("plain.png", "info?k=00&x=1.1", "no ending", "x" * 255):
        path = tmp_path / name
        path.write_bytes(b"old")
        assert pictures.save(image, path) == hashlib.sha256(path.read_bytes()).hexdigest()
        np.testing.assert_array_equal(Image.open(path), tiles(16)[0])
    assert len(list(tmp_path.iterdir())) == 4


def test_a_png_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        pictures.save(Image.fromarray(tiles(16)[0]), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_quality_and_compress_level_trade_bytes_for_pixels_and_time():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 8, (32, 32, 3), np.uint8) * 32)
    assert len(pictures.encoded(noise, "jpg", 30)) < len(pictures.encoded(noise, "jpeg", 95))
    stored, packed = (pictures.encoded(noise, "png", compress_level=level) for level in (0, 9))
    assert len(packed) < len(stored)
    for data in (stored, packed):
        np.testing.assert_array_equal(Image.open(io.BytesIO(data)), noise)
