"""Pictures from files of any kind: as people see them, or refused by name."""

import contextlib
import io
import pathlib
import threading
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from latentjax.errors import InputError

LARGEST = 100_000_000  # pixels
# decoded one at a time, so that threads together need no more memory than a few of this size
LARGE = 25_000_000
AHEAD = 128  # pictures that threads may have worked on before they are asked for
_ONE_AT_A_TIME = threading.Lock()
# EPS and the like are left out: programs would have to run to show them
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM")
_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MEND = "mend or remove it, or leave bad pictures out (--config.data.skip_bad=true)"


def read(file: pathlib.Path | IO[bytes], where: object, size: int | None = None) -> Image.Image:
    """The picture of a file: RGB, eight bits, upright, on white where it is transparent.

    A phone's MPO gives its first picture. Colour profiles are not applied. Damage that leaves a decodable
    stream, as a flipped bit in a JPEG's data may, cannot be noticed.

    Args:
        file: a path, or a stream.
        where: what the file is called in errors.
        size: resize to this side, see `resized`.

    Raises:
        InputError: it is empty, damaged, no picture, animated, over 100 million pixels, or of float or 32-bit pixels.
    """
    try:
        with Image.open(file, formats=_known_formats()) as image:
            _refuse(image, where)
            if image.format == "PNG":
                image.verify()  # checksums, which decoding leaves unread
        with Image.open(file, formats=_known_formats()) as image:
            crowded = image.width * image.height > LARGE
            with _ONE_AT_A_TIME if crowded else contextlib.nullcontext():
                image.load()
                turn = _TURNS.get(_orientation(image))
                upright = _rgb(image, where) if turn is None else _rgb(image, where).transpose(turn)
                return upright if size is None else resized(upright, size)
    except InputError:
        raise
    except UnidentifiedImageError:
        what = "is empty" if _is_empty(file) else f"is no picture ({', '.join(FORMATS)}), or damaged at its beginning"
        raise InputError(where, what, _MEND) from None
    except Image.DecompressionBombError:
        raise InputError(where, f"has over {LARGEST // 10**6} million pixels", _MEND) from None
    except OSError as error:
        # the system's errors have a number, Pillow's have none
        what = f"cannot be read ({error.strerror})" if error.errno else f"is damaged ({_line(error)})"
        raise InputError(where, what, _MEND) from error
    except Exception as error:  # Pillow's readers raise whatever their parsing meets
        raise InputError(where, f"cannot be decoded ({type(error).__name__}: {_line(error)})", _MEND) from error


@contextlib.contextmanager
def large_ones_welcome() -> Iterator[None]:
    """Pillow does not warn of pictures that may be bombs: `read` has a limit of its own; for one thread to enter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def resized(image: Image.Image, size: int) -> Image.Image:
    """size x size: bilinear with antialiasing, without cropping (other shapes are squeezed), as published."""
    if image.size == (size, size):
        return image
    return image.resize((size, size), Image.Resampling.BILINEAR)


def decoded(data: bytes, size: int | None = None) -> np.ndarray:
    """uint8 [H, W, 3] of a PNG or JPEG that `pictures.encoded` made; [size, size, 3] where a size is given."""
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        levels = image.convert("RGB")
        return np.asarray(levels if size is None else resized(levels, size))


def _known_formats() -> list[str]:
    """Those of FORMATS that this Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _refuse(image: Image.Image, where: object) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise InputError(where, f"has {width} x {height} pixels, over {LARGEST // 10**6} million", _MEND)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        what = f"holds {frames} pictures" if image.format == "TIFF" else f"is animated ({frames} frames)"
        raise InputError(where, what, _MEND)


def _orientation(image: Image.Image) -> int:
    """What EXIF says; 1, upright, where it is damaged, because the pixels are good."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's readers raise whatever their parsing meets
        return 1


def _rgb(image: Image.Image, where: object) -> Image.Image:
    """RGB of a loaded picture."""
    # 16-bit grey; Pillow's own conversion would clip it at 255
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        levels = np.asarray(image)
        grey = ((levels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        if (transparent := image.info.get("transparency")) is not None:
            grey[levels == transparent] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    if image.mode not in _PLAIN_MODES:
        raise InputError(where, f"has pixels of the kind {image.mode}, whose white is not known", _MEND)
    return image.convert("RGB")


def _is_empty(file: pathlib.Path | IO[bytes]) -> bool:
    if isinstance(file, pathlib.Path):
        return file.stat().st_size == 0
    return file.seek(0, io.SEEK_END) == 0


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else "no details"
