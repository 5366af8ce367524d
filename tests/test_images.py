"""Pictures of every kind: read as people see them, or refused by name."""

import io
import pathlib
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from latentjax import pictures
from latentjax.data import images
from latentjax.errors import InputError

# 6 x 8 flat fields of 8 x 8 pixels: JPEG's blocks, so that even lossy files come close
FIELDS = np.random.default_rng(0).integers(40, 216, (6, 8, 3), np.uint8)
PIXELS = np.kron(FIELDS, np.ones((8, 8, 1), np.uint8))
GREY = PIXELS[..., 0]
LOSSY = 2.0  # levels, on average


def saved(image: Image.Image, kind: str, **options) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream


def pixels(stream: io.BytesIO, size: int | None = None) -> np.ndarray:
    image = images.read(stream, "picture", size)
    assert image.mode == "RGB"
    return np.asarray(image)


def distance(stream: io.BytesIO, expected: np.ndarray) -> float:
    found = pixels(stream)
    assert found.shape == expected.shape
    return float(np.abs(found.astype(int) - expected).mean())


def refusal(file: io.BytesIO | pathlib.Path) -> str:
    with pytest.raises(InputError) as caught:
        images.read(file, "the/picture.png")
    assert caught.value.where == "the/picture.png"
    assert "\n" not in str(caught.value)
    return caught.value.what


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG by hand: Pillow writes no 16-bit colours."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


def rows_of(levels: np.ndarray) -> bytes:
    """PNG rows, each after its filter byte, of big-endian 16-bit levels."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_lossless_pictures_keep_their_pixels(kind):
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(PIXELS), kind)), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_pictures_come_close(kind):
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    assert distance(saved(Image.fromarray(grey), kind, quality=95), grey) < LOSSY


def test_cmyk_is_converted_also_where_it_is_stored_inverted():
    cmyk = Image.fromarray(PIXELS).convert("CMYK")
    assert distance(saved(cmyk, "TIFF"), PIXELS) == 0
    inverted = saved(cmyk, "JPEG", quality=95)  # Pillow writes Adobe's marker and inverts, as Photoshop does
    start = inverted.getvalue().index(b"\xff\xee\x00\x0eAdobe")
    assert distance(inverted, PIXELS) < LOSSY
    # without the marker CMYK is taken as inverted too, as browsers do
    unmarked = inverted.getvalue()[:start] + inverted.getvalue()[start + 16 :]
    assert distance(io.BytesIO(unmarked), PIXELS) < LOSSY


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palettes_are_looked_up(kind):
    image = Image.fromarray(PIXELS).quantize(64)
    assert distance(saved(image, kind), np.asarray(image.convert("RGB"))) == 0


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_white(kind):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 4, 8))
    found = pixels(saved(image, kind, transparency=1))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 7].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_over_white(kind):
    levels = np.dstack(
        [np.full((8, 8, 3), 100, np.uint8), np.repeat([0, 255], 4).astype(np.uint8)[:, None].repeat(8, 1)]
    )
    options = {"lossless": True} if kind == "WEBP" else {}
    found = pixels(saved(Image.fromarray(levels), kind, **options))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[7, 7].tolist() == [100, 100, 100]


def test_half_transparent_grey_is_halfway_to_white():
    levels = np.dstack([np.full((4, 4), 100, np.uint8), np.full((4, 4), 128, np.uint8)])
    found = pixels(saved(Image.fromarray(levels, "LA"), "PNG"))
    assert abs(int(found[0, 0, 0]) - (255 + 100) / 2) <= 1
    # Colours below full transparency must not shine through at the edges when the picture is resized.
    assert (pixels(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG"), size=3) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind):
    levels = GREY.astype(np.uint16) * 257
    expected = np.repeat(GREY[..., None], 3, axis=-1)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(levels), kind)), expected)


def test_big_endian_sixteen_bit_grey_is_read_too():
    levels = Image.frombytes("I;16B", GREY.shape[::-1], (GREY.astype(np.uint16) * 257).astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(saved(levels, "TIFF"))[..., 1], GREY)


def test_sixteen_bit_colours_are_scaled():
    levels = PIXELS.astype(np.uint16) * 257
    found = pixels(png(64, 48, 16, 2, rows_of(levels.reshape(48, -1))))
    np.testing.assert_array_equal(found, PIXELS)


def test_the_transparent_level_of_sixteen_bit_grey_is_white():
    levels = np.array([[0x1234, 0x8080], [0x1235, 0]], np.uint16)
    found = pixels(png(2, 2, 16, 0, rows_of(levels), (b"tRNS", b"\x12\x34")))
    assert found[..., 0].tolist() == [[255, 128], [18, 0]]


def test_one_bit_pictures_are_black_and_white():
    image = Image.fromarray(GREY > 128)
    expected = np.where(GREY > 128, 255, 0)
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(pixels(saved(image, kind))[..., 0], expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_turned_gives_an_upright_picture(kind, orientation):
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    # how the stored picture must be turned to be upright, by EXIF's definition of its first row and column
    upright = {
        1: grey, 2: grey[:, ::-1], 3: grey[::-1, ::-1], 4: grey[::-1],
        5: grey.swapaxes(0, 1), 6: np.rot90(grey, -1), 7: grey[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(grey),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    assert distance(saved(Image.fromarray(grey), kind, exif=exif, **options), upright) < LOSSY


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0no directory of tags", b"Exif\0\0MM\0*\0\0"])
def test_a_picture_of_damaged_exif_is_read_as_it_is_stored(kind, exif):
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    stream = saved(Image.fromarray(grey), kind, exif=exif)
    assert distance(stream, grey) < LOSSY


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_are_refused(kind):
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS), Image.fromarray(PIXELS[::-1].copy())]
    stream = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert refusal(stream) == "is animated (3 frames)"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_of_one_frame_is_a_picture(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(PIXELS), kind, save_all=True, **options)), PIXELS)


def test_a_tiff_of_several_pages_is_refused():
    pages = [Image.fromarray(PIXELS), Image.fromarray(PIXELS)]
    assert refusal(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])) == "holds 2 pictures"


def test_a_phones_mpo_gives_its_first_picture():
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    second = Image.fromarray(255 - grey)
    stream = saved(Image.fromarray(grey), "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(stream) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert distance(stream, grey) < LOSSY


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_pictures_are_refused(kind, share, recwarn):
    data = saved(Image.fromarray(PIXELS), kind).getvalue()
    assert "damaged" in (what := refusal(io.BytesIO(data[: int(share * len(data))]))) or "cannot be decoded" in what


def test_a_flipped_bit_in_a_png_is_noticed():
    data = saved(Image.fromarray(PIXELS), "PNG").getvalue()
    for position in range(40, len(data) - 20, 17):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        refusal(io.BytesIO(damaged))


def test_what_is_no_picture_is_refused(tmp_path):
    empty, text, missing = (tmp_path / name for name in ("empty.png", "text.jpg", "missing.png"))
    empty.write_bytes(b"")
    text.write_text("no picture")
    assert refusal(empty) == refusal(io.BytesIO()) == "is empty"
    assert refusal(text).startswith("is no picture (JPEG, ")
    assert refusal(missing) == "cannot be read (No such file or directory)"


def test_programs_that_draw_are_not_run():
    assert refusal(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")).startswith("is no picture")


def test_pixels_without_a_known_white_are_refused():
    for levels in (np.float32(PIXELS[..., 0]), np.int32(PIXELS[..., 0])):
        assert "whose white is not known" in refusal(saved(Image.fromarray(levels), "TIFF"))


@pytest.mark.parametrize(
    ("side", "what"), [(10_001, "has 10001 x 10001 pixels, over 100 million"), (20_000, "has over 100 million pixels")]
)
def test_huge_pictures_are_refused_before_they_are_decoded(side, what):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert refusal(png(side, side, 8, 0, b"")).startswith(what)


def test_just_below_the_limit_pillow_neither_warns_nor_refuses():
    wide = png(100_000, 1000, 1, 0, (b"\0" + b"\xff" * 12_500) * 1000)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with images.large_ones_welcome():
            assert (pixels(wide, size=4) == 255).all()
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pictures_are_resized_to_a_square_bilinearly_with_antialiasing():
    expected = Image.fromarray(PIXELS).resize((12, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(PIXELS), "PNG"), size=12), np.asarray(expected))
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 32)))
    # without antialiasing every fourth column would be taken, and those are all black
    assert np.ptp(pixels(saved(stripes, "PNG"), size=16)[4:12, 4:12]) < 16
    assert pixels(saved(stripes, "PNG"), size=16).mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize(("kind", "tolerance"), [("png", 0), ("jpeg", LOSSY)])
def test_what_is_encoded_is_decoded_and_resized(kind, tolerance):
    data = pictures.encoded(Image.fromarray(PIXELS[:, :48]), kind, quality=95)
    found = images.decoded(data, 48)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - PIXELS[:, :48]).mean() <= tolerance
    assert images.decoded(data, 20).shape == (20, 20, 3)
    wide = pictures.encoded(Image.fromarray(PIXELS), kind, quality=95)
    assert images.decoded(wide).shape == PIXELS.shape  # without a size, as it is
