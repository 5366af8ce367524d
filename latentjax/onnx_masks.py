"""Masks by a model in ONNX format, through onnxruntime on the CPU: a Mask R-CNN, or a saliency model."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from latentjax.errors import InputError

SURE = 0.5  # of a detection, and of a pixel
# Mask R-CNN of the ONNX model zoo
BGR_MEANS = np.array([102.9801, 115.9465, 122.7717], np.float32)
MASK_SIDE = 28
SHORT_SIDE = 800  # pixels; what the zoo's models were trained on
MULTIPLE = 32
# saliency models, as most networks that start from ImageNet
RGB_MEANS = np.array([0.485, 0.456, 0.406], np.float32)
RGB_STDS = np.array([0.229, 0.224, 0.225], np.float32)
SALIENCY_SIDE = 320  # of models that take any size; U2-Net's


@dataclasses.dataclass(frozen=True)
class Model:
    """An open model of one input.

    Args:
        file: its name, for messages.
        session: onnxruntime's.
    """

    file: str
    session: Any

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The outputs for one picture; raises `InputError` where the model fails."""
        name = self.session.get_inputs()[0].name
        try:
            return self.session.run(None, {name: np.ascontiguousarray(pixels, np.float32)})
        # onnxruntime's own exceptions have no narrower base
        except Exception as error:
            raise InputError(self.file, f"fails on a picture ({one_line(error)})", "give another model") from error

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width of its input, None where it takes any."""
        height, width = (side if isinstance(side, int) else None for side in self.session.get_inputs()[0].shape[-2:])
        return height, width


def load(file: str) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a model, whose outputs tell which kind it is: uint8 [R, R, 3] -> bool [R, R].

    Mask R-CNN as in the ONNX model zoo: outputs boxes [n, 4] (x, y, x, y in pixels of the input), labels [n], scores
    [n] and masks [n, 1, 28, 28] in [0, 1]; see `mask_rcnn` for its input [3, H, W].
    Saliency: every output is a map [1, 1, H, W] in [0, 1] and the first one counts (U2-Net gives seven); see
    `saliency` for its input [1, 3, H, W].

    Raises:
        InputError: onnxruntime is missing, or the file is no such model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("onnxruntime", "is not installed", "pip install -r requirements-report.txt") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        what = f"cannot be read by onnxruntime ({one_line(error)})"
        raise InputError(file, what, "give a model in ONNX format") from error
    model, kind = Model(file, session), kind_of(session.get_inputs(), session.get_outputs())
    if kind is None:
        shapes = (f"{[node.shape for node in nodes]}" for nodes in (session.get_inputs(), session.get_outputs()))
        todo = "give a Mask R-CNN in the ONNX model zoo's format, or a saliency model with maps [1, 1, H, W]"
        raise InputError(file, f"is a model of another kind, from {' to '.join(shapes)}", todo)
    return lambda image: kind(model, image)


def kind_of(inputs: Sequence[Any], outputs: Sequence[Any]) -> Callable[[Model, np.ndarray], np.ndarray] | None:
    """`mask_rcnn` or `saliency`, by the numbers and shapes of a model's inputs and outputs; None for another kind."""
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        return None
    rank, ranks = len(inputs[0].shape), [len(output.shape) for output in outputs]
    if rank == 3 and ranks == [2, 1, 1, 4] and _may_be(outputs[3].shape[1:], (1, MASK_SIDE, MASK_SIDE)):
        return mask_rcnn
    if rank == 4 and set(ranks) == {4} and all(_may_be(output.shape[:2], (1, 1)) for output in outputs):
        return saliency
    return None


def _may_be(sizes: list[Any], wanted: tuple[int, ...]) -> bool:
    """Whether sizes, some of them unknown before the model runs, may be the wanted ones."""
    return all(not isinstance(size, int) or size == want for size, want in zip(sizes, wanted, strict=True))


def mask_rcnn(model: Model, image: np.ndarray) -> np.ndarray:
    """The mask of the instance with the highest score, if that is above .5, where the instance's mask is above .5.

    The input is float BGR of 0 to 255 minus `BGR_MEANS`, [3, H, W]: the picture, 800 pixels wide (or what fits into
    the model's size), at the top left, and zeros; H and W are multiples of 32 where the model takes any size.
    """
    side = min([given for given in model.size if given] or [SHORT_SIDE])
    height, width = (given or -(-side // MULTIPLE) * MULTIPLE for given in model.size)
    canvas = np.zeros((3, height, width), np.float32)
    canvas[:, :side, :side] = (_scaled(image, side, side)[..., ::-1] - BGR_MEANS).transpose(2, 0, 1)
    boxes, _, scores, masks = model.run(canvas)
    same = len(boxes) == len(scores) == len(masks) and masks.shape[1:] == (1, MASK_SIDE, MASK_SIDE)
    if not (same and np.isfinite(boxes).all() and np.isfinite(scores).all()):
        what = f"gives boxes {boxes.shape}, scores {scores.shape}, masks {masks.shape}, or numbers that are not finite"
        raise InputError(model.file, what, "give a model whose outputs are [n, 4], [n], [n] and [n, 1, 28, 28]")
    if not len(scores) or scores.max() <= SURE:
        return np.zeros(image.shape[:2], bool)
    best = int(np.argmax(scores))
    return pasted(masks[best, 0], boxes[best] * len(image) / side, len(image))


def pasted(mask: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Where a mask [28, 28], stretched over a box of a picture, is above .5: bool [side, side].

    The box (x, y, x, y in pixels) holds the pixels from the whole part of its first corner to that of its last, as
    in the model zoo. The mask is stretched bilinearly between its cells' centres.
    """
    left, top, right, bottom = (int(edge) for edge in box)
    found = np.zeros((side, side), bool)
    rows, columns = (np.arange(max(a, 0), min(b + 1, side)) for a, b in ((top, bottom), (left, right)))
    if len(rows) and len(columns):
        y = (rows - top + 0.5) * MASK_SIDE / (bottom - top + 1) - 0.5
        x = (columns - left + 0.5) * MASK_SIDE / (right - left + 1) - 0.5
        stretched = ndimage.map_coordinates(mask, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
        found[np.ix_(rows, columns)] = stretched > SURE
    return found


def saliency(model: Model, image: np.ndarray) -> np.ndarray:
    """Where the first map, scaled to the picture, is above .5.

    The input is float RGB of 0 to 1 minus `RGB_MEANS`, over `RGB_STDS`, [1, 3, H, W]: the whole picture scaled to the
    model's size, 320 x 320 where it takes any.
    """
    height, width = (given or SALIENCY_SIDE for given in model.size)
    scaled = (_scaled(image, height, width) / 255 - RGB_MEANS) / RGB_STDS
    maps = model.run(scaled.transpose(2, 0, 1)[None])[0]
    if maps.shape[:2] != (1, 1) or not (maps.min() >= 0 and maps.max() <= 1):
        what = f"gives values {list(maps.shape)} from {maps.min():g} to {maps.max():g}"
        raise InputError(model.file, what, "give a model whose map [1, 1, H, W] is in [0, 1]")
    return _scaled(maps[0, 0].astype(np.float32), *image.shape[:2]) > SURE


def _scaled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture or map at another size, bilinear, as float32."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.float32)


def one_line(error: Exception) -> str:
    """An exception's type and message without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())
