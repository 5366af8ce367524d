"""Images as people see them: eight bits, strips along alpha, sheets, files."""

import bisect
import functools
import hashlib
import io
import math
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, EDGE, ACCENT = (255, 255, 255), (40, 40, 40), (190, 190, 190), (0, 90, 200)
BADGE, BADGE_INK = (20, 20, 20), (255, 255, 255)


def to_uint8(images: jax.Array) -> jax.Array:
    """Images in [-1, 1], any shape -> uint8, rounded (not truncated) and clipped; stays on the device."""
    levels = (jnp.asarray(images, jnp.float32) + 1) * 127.5
    return jnp.round(jnp.clip(levels, 0, 255)).astype(jnp.uint8)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


def _text_size(width: int) -> int:
    """Font size in pixels for a tile this wide: legible on 64, not shouting on 512."""
    return max(10, 6 + width // 20)


def _fit(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text` on one line, shortened in the middle (file names differ at both ends) to `width` pixels."""
    # The built-in font draws every letter outside ASCII as the same box: escaped, names stay apart.
    clean = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    if font.getlength(clean) <= width:
        return clean
    kept = len(clean)
    while kept and font.getlength(_shorten(clean, kept)) > width:
        kept -= max(1, kept // 50)
    return _shorten(clean, kept) if kept else ""


def _shorten(text: str, kept: int) -> str:
    return text[: (kept + 1) // 2] + "..." + text[len(text) - kept // 2 :]


def _is_original(alpha: float) -> bool:
    # A grid of alphas made by adding up steps misses 0 by float error.
    return abs(alpha) < 5e-4


def _alpha_label(alpha: float) -> str:
    """ "-0.5", "+0.25"; "original" for 0."""
    if _is_original(alpha):
        return "original"
    text = f"{alpha:+.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _framed(canvas: Image.Image, tile: np.ndarray, x: int, y: int, colour: tuple, rim: int) -> None:
    """Pastes `tile` [H, W, 3] at (x, y), with a rim of that many pixels around it: white tiles end too."""
    height, width, _ = tile.shape
    box = (x - rim, y - rim, x + width - 1 + rim, y + height - 1 + rim)
    ImageDraw.Draw(canvas).rectangle(box, fill=colour)
    canvas.paste(Image.fromarray(tile), (x, y))


def _badge(draw: ImageDraw.ImageDraw, x: int, y: int, score: float, font: ImageFont.FreeTypeFont) -> None:
    """The score on a dark plate with a light rim, to stand out on any picture; its corner is (x, y)."""
    text, pad = f"{score:.2f}", max(2, int(font.size) // 5)
    width = math.ceil(font.getlength(text)) + 2 * pad
    height = math.ceil(0.75 * font.size) + 2 * pad
    draw.rectangle((x, y, x + width + 1, y + height + 1), fill=BADGE, outline=BADGE_INK)
    draw.text((x + 1 + width / 2, y + 1 + height - pad), text, font=font, fill=BADGE_INK, anchor="ms")


class Layout(NamedTuple):
    """Where things are in a strip, in pixels.

    Attributes:
        size: width and height of the strip.
        tile: width and height of each tile.
        top: upper edge of the tiles.
        left: left edge of each.
        gap: between tiles and around them.
        line: height of a line of text, the title above and the labels below.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    top: int
    left: list[int]
    gap: int
    line: int


def layout(tile: tuple[int, int], alphas: Sequence[float], *, titled: bool) -> Layout:
    """How `strip` lays out tiles of this width and height."""
    width, height = tile
    font, gap = _font(_text_size(width)), max(4, width // 32)
    line = math.ceil(1.5 * font.size)
    # a column is wider than its tile where the label below is
    column = max(width, *(math.ceil(font.getlength(_alpha_label(float(alpha)))) for alpha in alphas))
    top = gap + (line if titled else 0)
    left = [gap + i * (column + gap) + column // 2 - width // 2 for i in range(len(alphas))]
    size = (gap + len(alphas) * (column + gap), top + height + gap // 2 + line)
    return Layout(size, tile, top, left, gap, line)


def layout_of(path: pathlib.Path, alphas: Sequence[float]) -> Layout | None:
    """The layout of a titled strip of square tiles in a file; None where it is missing or no such strip."""
    try:
        with Image.open(path) as image:
            size = image.size
    except OSError:
        return None

    def of_side(side: int) -> Layout:
        return layout((side, side), alphas, titled=True)

    # the height grows with the tiles
    side = bisect.bisect_left(range(size[1]), size[1], key=lambda side: of_side(side).size[1])
    found = of_side(side)
    return found if side and found.size == size else None


def strip(tiles: np.ndarray, alphas: Sequence[float], scores: Sequence[float], *, title: str = "") -> Image.Image:
    """One latent along alpha: its tiles in a row, alpha under each, the score in each one's corner.

    The tile with alpha = 0 is framed and labelled "original". Pixels of the tiles are not resampled.

    Args:
        tiles: [A, H, W, 3] uint8.
        alphas: A numbers, in the tiles' order.
        scores: A numbers.
        title: a line above the tiles; any characters; shortened to the strip's width.
    """
    tiles = np.asarray(tiles)
    _, height, width, _ = tiles.shape
    font, where = _font(_text_size(width)), layout((width, height), alphas, titled=bool(title))
    gap, top = where.gap, where.top
    canvas = Image.new("RGB", where.size, PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((gap, top / 2), _fit(title, font, canvas.width - 2 * gap), font=font, fill=INK, anchor="lm")
    for tile, alpha, score, left in zip(tiles, alphas, scores, where.left, strict=True):
        original = _is_original(float(alpha))
        _framed(canvas, tile, left, top, ACCENT if original else EDGE, gap // 2 if original else 1)
        _badge(draw, left, top, float(score), font)
        place, label = (left + width // 2, canvas.height - where.line / 2), _alpha_label(float(alpha))
        draw.text(place, label, font=font, fill=ACCENT if original else INK, anchor="mm")
    return canvas


def overview(strips: Sequence[Image.Image], labels: Sequence[str], *, title: str = "") -> Image.Image:
    """Several strips above one another, each with its label to the left.

    Args:
        strips: at least one, of any sizes.
        labels: one for each strip; any characters; shortened to a quarter of the widest strip.
        title: a line above all of them.
    """
    # A strip is about a tile high, so its height gives the tiles' own font size.
    font = _font(_text_size(min(image.height for image in strips)))
    line, pad = math.ceil(1.5 * font.size), math.ceil(font.size / 2)
    widest = max(image.width for image in strips)
    labels = [_fit(label, font, widest // 4) for label in labels]
    left = max(math.ceil(font.getlength(label)) for label in labels) + 2 * pad
    top = line if title else 0
    canvas = Image.new("RGB", (left + widest, top + sum(image.height for image in strips)), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((pad, line / 2), _fit(title, font, canvas.width - 2 * pad), font=font, fill=INK, anchor="lm")
    for image, label in zip(strips, labels, strict=True):
        canvas.paste(image, (left, top))
        draw.text((pad, top + image.height / 2), label, font=font, fill=INK, anchor="lm")
        top += image.height
    return canvas


def encoded(image: Image.Image, ending: str, quality: int = 90, compress_level: int = 6) -> bytes:
    """A file's bytes: a JPEG for "jpg" or "jpeg", whose colours are not subsampled, else a PNG.

    Args:
        image: what to encode.
        ending: of the file's name, without the dot.
        quality: of a JPEG, 1 to 95.
        compress_level: of a PNG, 0 (large and fast) to 9.
    """
    stream = io.BytesIO()
    if ending in ("jpg", "jpeg"):
        image.save(stream, format="JPEG", quality=quality, subsampling=0)
    else:
        image.save(stream, format="PNG", compress_level=compress_level)
    return stream.getvalue()


def save(image: Image.Image, path: str | os.PathLike, quality: int = 90) -> str:
    """Writes `image` as JPEG (.jpg, .jpeg) or PNG, to the side and then renamed, so that no reader meets half a file.

    The folder must exist; an existing file is replaced.

    Args:
        image: what to write.
        path: where.
        quality: of a JPEG, 1 to 95.

    Returns:
        The sha256 of the file's bytes, in hex.
    """
    path = pathlib.Path(path)
    # Short, because a long name with something added may exceed what the file system takes.
    aside = path.with_name(f".{os.getpid()}-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")
    try:
        data = encoded(image, path.suffix.lower().removeprefix("."), quality)
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()
