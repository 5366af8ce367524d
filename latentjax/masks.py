"""Where the object of a picture is, for the properties that need to know: size, centredness, squareness.

A masker turns pictures into masks of one connected component each (pixels that touch at a corner are connected),
empty where it finds no object. It works on the host, picture by picture, so that memory does not grow.
"""

import dataclasses
import functools
import importlib.util
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from scipy import ndimage

from latentjax import onnx_masks
from latentjax.errors import InputError
from latentjax.files import sha256_of
from latentjax.onnx_masks import one_line

FIELD = "config.evaluate.masks"
Component = Literal["largest", "first"]

# background
FLOOR = 3.0  # levels of 255: colours this close are never told apart, as after JPEG compression
KEPT = 0.75  # share of the border that is background
# variance of Gaussian colours over that of their nearest three quarters: .75 / P(chi2(5) < quantile .75 of chi2(3))
TRIMMED = 1.61
NEAREST = 4.0  # standard deviations: nothing nearer to the background's colours is the object


@dataclasses.dataclass(frozen=True)
class Masker:
    """Masks of pictures: uint8 [N, R, R, 3] -> bool [N, R, R], one connected component each or nothing.

    Args:
        identity: what an evaluation records: "background", the sha256 of the model's file, or that of the function's
            file and its name.
        find: pictures -> masks of any number of components.
        component: the largest, or (published) the first that is met row by row.
    """

    identity: str
    find: Callable[[np.ndarray], Iterable[np.ndarray]]
    component: Component = "largest"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Masks; raises `InputError` where a model or function gives something else."""
        masks = np.zeros(images.shape[:3], bool)
        for i, mask in enumerate(self.find(images)):
            masks[i] = one_component(mask, self.component)
        return masks


def load(name: str, component: Component = "largest") -> Masker | None:
    """What evaluate.masks names.

    Args:
        name: background | onnx:FILE | python:FILE.py:FUNCTION | empty: no masks.
        component: which of several connected components is the object.

    Raises:
        InputError: another name, or what it names is missing or of another kind.
    """
    kind, _, rest = name.partition(":")
    if not name:
        return None
    if name == "background":
        return Masker(name, functools.partial(map, background), component)
    if kind == "onnx" and rest:
        return Masker(_identity(rest), functools.partial(map, onnx_masks.load(rest)), component)
    if kind == "python" and rest.rpartition(":")[0]:
        file, _, function = rest.rpartition(":")
        return Masker(f"{_identity(file)}:{function}", python_function(file, function), component)
    todo = "give background, onnx:FILE, python:FILE.py:FUNCTION, or leave it empty"
    raise InputError(FIELD, f"is {name!r}", todo)


def _identity(file: str) -> str:
    if not pathlib.Path(file).is_file():
        raise InputError(FIELD, f"names {file}, and no such file is there", "correct the path")
    try:
        return sha256_of(file)
    except OSError as error:
        raise InputError(file, f"cannot be read ({error.strerror})", "make it readable") from error


def one_component(mask: np.ndarray, component: Component = "largest") -> np.ndarray:
    """The largest connected component of a mask [H, W], or the first that is met row by row; empty stays empty."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=labels)
    if not labels.any():
        return mask
    if component == "first":
        return labels == labels.flat[np.argmax(mask)]
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def otsu(values: np.ndarray) -> float:
    """The threshold between two classes of values with the largest variance between them (Otsu, 1979).

    The values must differ.
    """
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    sums = np.cumsum(counts * centres)
    # between the means of the values above and below each inner edge; neither class is empty there
    difference = sums[:-1] / below - (sums[-1] - sums[:-1]) / (total - below)
    return float(edges[1 + np.argmax(below * (total - below) * difference**2)])


@functools.cache
def _border(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The border's pixels, a 32nd of the picture wide: their indices [P], and 1, y, x of each [P, 3]."""
    y, x = np.indices((height, width), np.float32)
    across, down = -(-width // 32), -(-height // 32)
    rim = np.ones((height, width), bool)
    rim[down:-down, across:-across] = False
    return np.flatnonzero(rim), np.stack([np.ones_like(y), y / height, x / width], axis=-1)[rim]


def _border_model(colours: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The border's colours as linear in the place plus Gaussian noise.

    Fitted again and again to the three quarters of the border that are nearest to the model, at first to the median
    (least trimmed squares; Rousseeuw, 1984), so that an object may touch the border.

    Args:
        colours: [P, 3].
        places: 1, y, x of each, [P, 3].

    Returns:
        fit [3, 3], places @ fit being the colours, and whiten [3, 3], residuals @ whiten being in standard deviations.
    """
    count = int(KEPT * len(colours))
    residuals = colours - np.median(colours, axis=0)
    for _ in range(5):
        near = np.argpartition(np.einsum("pc,pc->p", residuals, residuals), count)[:count]
        kept = places[near]
        fit = np.linalg.solve(kept.T @ kept + 1e-6 * np.eye(3), kept.T @ colours[near])
        residuals = colours - places @ fit
        off = residuals[near]  # their mean is 0
        covariance = TRIMMED * (off.T @ off) / count + FLOOR**2 * np.eye(3)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance)).T
        residuals = residuals @ whiten
    return fit, whiten


def background(image: np.ndarray) -> np.ndarray:
    """What differs from the border's colours: uint8 [H, W, 3] -> bool [H, W], of any number of components.

    Otsu's threshold parts the logarithms of all pixels' distances from the border's model, in standard deviations; a
    majority of each pixel's 3 x 3 neighbours takes noise away.
    """
    height, width = image.shape[:2]
    border, places = _border(height, width)
    fit, whiten = _border_model(image.reshape(-1, 3)[border].astype(np.float32), places)
    y, x = np.arange(height, dtype=np.float32)[:, None] / height, np.arange(width, dtype=np.float32) / width
    # whitened colours minus their model, channel by channel
    start, down, across = (fit @ whiten).astype(np.float32)
    squares = np.zeros((height, width), np.float32)
    for k, weights in enumerate(whiten.T.astype(np.float32)):
        squares += (image @ weights - (start[k] + down[k] * y + across[k] * x)) ** 2
    if squares.max() <= NEAREST**2:
        return np.zeros((height, width), bool)
    far = np.log1p(np.sqrt(squares))
    found = far > max(otsu(far), np.log1p(NEAREST))
    return ndimage.uniform_filter(found.astype(np.float32), 3) > 0.5


def python_function(file: str, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Masks by FUNCTION of a Python file: uint8 [N, R, R, 3] -> bool [N, R, R].

    An evaluation calls it from several threads at once, each with the pictures of one strip.

    Raises:
        InputError: the file cannot be imported, or has no such function.
    """
    spec = importlib.util.spec_from_file_location(f"masks_of_{uuid.uuid4().hex}", file)
    if spec is None or spec.loader is None:
        raise InputError(FIELD, f"names {file}, which is no Python file", "give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(spec.name, None)
        raise InputError(file, f"cannot be imported ({one_line(error)})", "correct it") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(file, f"has no function {name!r}", "name one that takes images [N, R, R, 3]")

    def find(images: np.ndarray) -> np.ndarray:
        try:
            masks = np.asarray(function(images.copy()))
        except Exception as error:
            raise InputError(f"{file}:{name}", f"stops with {one_line(error)}", "correct it") from error
        if masks.shape != images.shape[:3] or masks.dtype != bool:
            what = f"gives {masks.dtype} {list(masks.shape)} for images {list(images.shape)}"
            raise InputError(f"{file}:{name}", what, f"return bool {list(images.shape[:3])}")
        return masks

    return find
