"""ONNX models that find objects get pictures as they expect them, and others are refused in one line."""

import builtins
import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentjax import masks, onnx_masks
from latentjax.errors import InputError
from tests.test_masks import SHAPES, SIDE, X, Y, overlap, refusal


def written(file, nodes, inputs, outputs, constants=()) -> str:
    """An ONNX file of a graph: inputs and outputs name -> shape."""

    def describe(values):
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in values.items()]

    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "tiny", describe(inputs), describe(outputs), initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return str(file)


FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
ZOO_INPUT = {"image": (FLOAT, [3, "height", "width"])}
ZOO_OUTPUTS = {
    "boxes": (FLOAT, ["n", 4]),
    "labels": (INT, ["n"]),
    "scores": (FLOAT, ["n"]),
    "masks": (FLOAT, ["n", 1, 28, 28]),
}


def detector(file, boxes, scores, shapes) -> str:
    """A model of the zoo's format that always finds the same: boxes [n, 4], scores [n], shapes [n, 28, 28]."""
    found = {
        "boxes": np.reshape(boxes, (-1, 4)).astype(np.float32),
        "labels": np.ones(len(scores), np.int64),
        "scores": np.asarray(scores, np.float32),
        "masks": np.reshape(shapes, (-1, 1, 28, 28)).astype(np.float32),
    }
    nodes = [helper.make_node("Identity", [f"found_{name}"], [name]) for name in found]
    constants = [(f"found_{name}", value) for name, value in found.items()]
    return written(file, nodes, ZOO_INPUT, ZOO_OUTPUTS, constants)


ROUND = ((np.arange(28) - 13.5) ** 2 + (np.arange(28)[:, None] - 13.5) ** 2 < 14**2).astype(np.float32)


def test_the_surest_instance_of_a_mask_r_cnn_is_pasted_into_its_box(tmp_path):
    # boxes in pixels of the 800 that the picture is scaled to
    boxes = [[0, 0, 799, 799], [100, 300, 500, 700], [10, 10, 90, 90]]
    file = detector(tmp_path / "m.onnx", boxes, [0.6, 0.9, 0.7], [np.ones((28, 28)), ROUND, np.ones((28, 28))])
    masker = masks.load(f"onnx:{file}")
    found = masker(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    drawn = (X - 300 / 800) ** 2 + (Y - 500 / 800) ** 2 < (200 / 800) ** 2
    assert overlap(found[0], drawn) > 0.95
    np.testing.assert_array_equal(found[0], found[1])
    assert masker.identity == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize("scores", [[], [0.5], [0.2, 0.49]])
def test_no_instance_above_a_half_is_no_object(tmp_path, scores):
    n = len(scores)
    file = detector(tmp_path / "m.onnx", np.tile([0, 0, 799, 799], n), scores, np.ones((n, 28, 28)))
    assert not masks.load(f"onnx:{file}")(np.full((1, 32, 32, 3), 9, np.uint8)).any()


@pytest.mark.parametrize("box", [(-20, 10, 30, 40.7), (50, 50, 90, 90), (20, -9, 25, 70), (8, 8, 8, 8)])
def test_a_box_over_the_edge_is_cut_there(box):
    left, top, right, bottom = map(int, box)
    whole = np.zeros((200, 200), bool)
    whole[top + 64 : bottom + 65, left + 64 : right + 65] = True
    np.testing.assert_array_equal(onnx_masks.pasted(np.ones((28, 28)), np.array(box), 64), whole[64:128, 64:128])


@pytest.mark.parametrize("box", [(30, 5, 20, 9), (70, 5, 90, 9), (-9, -9, -3, -3)])
def test_a_box_without_a_pixel_of_the_picture_is_no_object(box):
    assert not onnx_masks.pasted(np.ones((28, 28)), np.array(box), 64).any()


def test_a_mask_is_stretched_over_its_box_between_the_centres_of_its_cells():
    left_half = np.tile(np.arange(28) < 14, (28, 1)).astype(np.float32)
    found = onnx_masks.pasted(left_half, np.array([4, 4, 4 + 56 - 1, 4 + 56 - 1]), 64)
    expected = np.zeros((64, 64), bool)
    expected[4:60, 4:32] = True
    np.testing.assert_array_equal(found, expected)


def sliced(source: str, target: str, starts: list[int], ends: list[int], axes: list[int]) -> tuple[list, list]:
    """A node and its constants."""
    names = [f"{target}_{each}" for each in ("starts", "ends", "axes")]
    node = helper.make_node("Slice", [source, *names], [target])
    return [node], list(zip(names, (starts, ends, axes), strict=True))


@pytest.mark.parametrize(("channel", "mean"), [(0, 102.9801), (1, 115.9465), (2, 122.7717)])
def test_a_mask_r_cnn_gets_blue_green_and_red_minus_their_means_and_zeros_beside(tmp_path, channel, mean):
    """The model's mask is a channel plus its mean, over 255; its score falls where its right end is not 0."""
    one, of_one = sliced("image", "one", [channel, 0, 0], [channel + 1, 28, 28], [0, 1, 2])
    right, of_right = sliced("image", "right", [32], [48], [2])
    nodes = [
        *one,
        helper.make_node("Add", ["one", "mean"], ["levels"]),
        helper.make_node("Div", ["levels", "white"], ["shares"]),
        helper.make_node("Unsqueeze", ["shares", "zero"], ["masks"]),
        *right,
        helper.make_node("ReduceL1", ["right"], ["padding"], keepdims=0),
        helper.make_node("Sub", ["sure", "padding"], ["scores"]),
        helper.make_node("Identity", ["box"], ["boxes"]),
        helper.make_node("Identity", ["label"], ["labels"]),
    ]
    constants = {
        "mean": np.float32(mean),
        "white": np.float32(255),
        "zero": [0],
        "sure": np.float32([0.9]),
        "box": np.float32([[0, 0, 27, 27]]),
        "label": [1],
    }
    wide = {"image": (FLOAT, [3, 32, 48])}
    file = written(tmp_path / "m.onnx", nodes, wide, ZOO_OUTPUTS, [*constants.items(), *of_one, *of_right])
    images = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), np.uint8)
    images[0, ..., 2 - channel] = 5 * np.maximum(*np.mgrid[:32, :32])
    expected = np.zeros((32, 32), bool)
    expected[:28, :28] = images[0, :28, :28, 2 - channel] > 127.5
    assert expected.any()
    np.testing.assert_array_equal(masks.load(f"onnx:{file}")(images)[0], expected)


def salient(file, weights=(0.2, 0.3, 0.5), size=(32, 32)) -> str:
    """A saliency model of two maps: the weighted mean of red, green and blue in [0, 1], and zeros."""
    nodes = [
        helper.make_node("Mul", ["x", "stds"], ["scaled"]),
        helper.make_node("Add", ["scaled", "means"], ["colours"]),
        helper.make_node("Conv", ["colours", "weights"], ["raw"]),
        helper.make_node("Clip", ["raw", "low", "high"], ["map"]),
        helper.make_node("Sub", ["map", "map"], ["rest"]),
    ]
    constants = {
        "stds": np.float32([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1),
        "means": np.float32([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1),
        "weights": np.float32(weights).reshape(1, 3, 1, 1),
        "low": np.float32(0),
        "high": np.float32(max(1, sum(weights))),
    }
    maps = {name: (FLOAT, [1, 1, *size]) for name in ("map", "rest")}
    return written(file, nodes, {"x": (FLOAT, [1, 3, *size])}, maps, constants.items())


def test_a_saliency_model_gets_normalised_red_green_and_blue(tmp_path):
    masker = masks.load(f"onnx:{salient(tmp_path / 's.onnx')}")
    # .2 R + .3 G + .5 B passes a half along each row, by another channel in each third of the rows
    images = np.full((1, 32, 32, 3), 128, np.uint8)
    for channel, rows in enumerate(np.split(np.arange(32), [10, 20])):
        images[0, rows, :, channel] = 112 + np.arange(32)
    np.testing.assert_array_equal(masker(images)[0], images[0] @ [0.2, 0.3, 0.5] > 127.5)


@pytest.mark.parametrize("size", [(32, 32), (48, 40), ("height", "width")])
def test_a_saliency_map_of_another_size_is_scaled_to_the_picture(tmp_path, size):
    images = np.where(SHAPES["disc"][..., None], 250, np.full((1, SIDE, SIDE, 3), 5)).astype(np.uint8)
    found = masks.load(f"onnx:{salient(tmp_path / 's.onnx', size=size)}")(images)
    assert overlap(found[0], SHAPES["disc"]) > 0.9


def test_a_map_beyond_zero_to_one_is_refused(tmp_path):
    masker = masks.load(f"onnx:{salient(tmp_path / 's.onnx', weights=(2, 2, 2))}")
    with pytest.raises(InputError, match=r"gives values \[1, 1, 32, 32\] from 6 to 6; give a model whose map"):
        masker(np.full((1, 32, 32, 3), 255, np.uint8))


@pytest.mark.parametrize("shapes", [[[1, 1000]], [[1, 3, 8, 8]], [["n", 4], ["n"], ["n"], ["n", 1, "h", "w"]]])
def test_a_model_of_another_kind_is_refused(tmp_path, shapes):
    """A classifier, an image-to-image model, and a detector that takes four axes."""
    outputs = {f"out{i}": (FLOAT, shape) for i, shape in enumerate(shapes)}
    nodes = [helper.make_node("Identity", [f"{name}_c"], [name]) for name in outputs]
    constants = [
        (f"{n}_c", np.zeros([2 if isinstance(s, str) else s for s in v[1]], np.float32)) for n, v in outputs.items()
    ]
    file = written(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [1, 3, 8, 8])}, outputs, constants)
    line = refusal(f"onnx:{file}")
    assert line.startswith(f"{file}: is a model of another kind, from [[1, 3, 8, 8]] to [")
    assert "; give a Mask R-CNN in the ONNX model zoo's format, or a saliency model" in line


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model\n")
    assert "m.onnx: cannot be read by onnxruntime (" in refusal(f"onnx:{tmp_path / 'm.onnx'}")


def test_a_missing_onnxruntime_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest)

    file = salient(tmp_path / "s.onnx")
    monkeypatch.setattr(builtins, "__import__", without)
    assert refusal(f"onnx:{file}") == "onnxruntime: is not installed; pip install -r requirements-report.txt"
