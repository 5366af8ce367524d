"""EfficientNet B0 to B7 and Lite0 with the names of the PyPI package efficientnet_pytorch (Tan and Le, 2019)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from latentjax.errors import InputError


class Scaling(NamedTuple):
    """Compound scaling of a variant: factors on width and depth, and the resolution in pixels."""

    width: float
    depth: float
    resolution: int


class Stage(NamedTuple):
    """A run of blocks of B0 (table 1 of the paper)."""

    repeats: int
    size: int
    stride: int
    expansion: int
    outputs: int


VARIANTS = {
    "b0": Scaling(1.0, 1.0, 224),
    "b1": Scaling(1.0, 1.1, 240),
    "b2": Scaling(1.1, 1.2, 260),
    "b3": Scaling(1.2, 1.4, 300),
    "b4": Scaling(1.4, 1.8, 380),
    "b5": Scaling(1.6, 2.2, 456),
    "b6": Scaling(1.8, 2.6, 528),
    "b7": Scaling(2.0, 3.1, 600),
    "lite0": Scaling(1.0, 1.0, 224),
}

STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)

PADDINGS = ("symmetric", "same", "native-same")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scaled_width(width: int, factor: float) -> int:
    """Channels times the factor, to the nearest multiple of 8 but never below 90 %."""
    wanted = width * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def same_padding(extent: int, size: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after) of one axis; the odd one out goes after."""
    total = max((math.ceil(extent / stride) - 1) * stride + size - extent, 0)
    return total // 2, total - total // 2


class PaddedConv(nn.Conv2d):
    """A convolution that pads by its own rule: symmetric, or SAME at ``extent`` (None: the input's own)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        symmetric: bool = True,
        extent: int | None = None,
    ):
        super().__init__(inputs, outputs, size, stride, groups=groups, bias=bias)
        self.symmetric, self.extent = symmetric, extent

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Zeros to add at (left, right, top, bottom) of a map of this height and width."""
        size, stride = self.kernel_size[0], self.stride[0]
        if self.symmetric:
            side = (size - 1) // 2
            return side, side, side, side
        horizontal = same_padding(self.extent or width, size, stride)
        return horizontal + same_padding(self.extent or height, size, stride)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Pad, then convolve."""
        height, width = input.shape[2:]
        return super().forward(F.pad(input, self.pads(height, width)))


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation; the skip joins where the shape is kept."""

    def __init__(self, inputs: int, stage: Stage, stride: int, outputs: int, eps: float, lite: bool, **padding):
        super().__init__()
        self.lite = lite
        hidden, squeezed = inputs * stage.expansion, max(1, inputs // 4)
        self.expands, self.skips = stage.expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = PaddedConv(inputs, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, eps=eps)
        self._depthwise_conv = PaddedConv(hidden, hidden, stage.size, stride, groups=hidden, **padding)
        self._bn1 = nn.BatchNorm2d(hidden, eps=eps)
        if not lite:
            self._se_reduce = PaddedConv(hidden, squeezed, 1, bias=True)
            self._se_expand = PaddedConv(squeezed, hidden, 1, bias=True)
        self._project_conv = PaddedConv(hidden, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to x [B, inputs, H, W]."""
        activation = F.relu6 if self.lite else F.silu
        h = activation(self._bn0(self._expand_conv(x))) if self.expands else x
        h = activation(self._bn1(self._depthwise_conv(h)))
        if not self.lite:
            squeezed = F.silu(self._se_reduce(h.mean((2, 3), keepdim=True)))
            h = torch.sigmoid(self._se_expand(squeezed)) * h
        h = self._bn2(self._project_conv(h))
        return h + x if self.skips else h


class EfficientNet(nn.Module):
    """The classifier: images -> logits.

    Args:
        variant: "b0" to "b7", or "lite0": ReLU6, and no squeeze-and-excitation.
        num_classes: number of logits.
        padding: of every convolution. "symmetric" is efficientnet_pytorch 0.7.0, "native-same" is 0.7.1 (SAME at
            the variant's own resolution, kept for any input), "same" is SAME at the input's resolution.
        bn_epsilon: epsilon of the batch norms.

    Raises:
        InputError: for an unknown variant or padding.
    """

    def __init__(
        self,
        variant: str = "b0",
        num_classes: int = 1000,
        padding: str = "symmetric",
        bn_epsilon: float = 1e-3,
    ):
        super().__init__()
        if variant not in VARIANTS:
            raise InputError("variant", f"no EfficientNet {variant!r}", f"use one of {', '.join(VARIANTS)}")
        if padding not in PADDINGS:
            raise InputError("padding", f"no padding {padding!r}", f"use one of {', '.join(PADDINGS)}")
        scaling = VARIANTS[variant]
        self.variant, self.num_classes, self.padding = variant, num_classes, padding
        self.lite, extent = variant.startswith("lite"), scaling.resolution

        def rule() -> dict:
            return {
                "symmetric": padding == "symmetric",
                "extent": extent if padding == "native-same" else None,
            }

        inputs = scaled_width(32, scaling.width)
        self._conv_stem = PaddedConv(3, inputs, 3, 2, **rule())
        self._bn0 = nn.BatchNorm2d(inputs, eps=bn_epsilon)
        extent = math.ceil(extent / 2)
        self._blocks = nn.ModuleList()
        for stage in STAGES:
            outputs = scaled_width(stage.outputs, scaling.width)
            for i in range(math.ceil(stage.repeats * scaling.depth)):
                stride = stage.stride if i == 0 else 1
                self._blocks.append(MBConv(inputs, stage, stride, outputs, bn_epsilon, self.lite, **rule()))
                inputs, extent = outputs, math.ceil(extent / stride)
        head = scaled_width(1280, scaling.width)
        self._conv_head = PaddedConv(inputs, head, 1)
        self._bn1 = nn.BatchNorm2d(head, eps=bn_epsilon)
        self._fc = nn.Linear(head, num_classes)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, num_classes] of normalised images [B, 3, H, W] (mean 0, std 1 over ImageNet)."""
        activation = F.relu6 if self.lite else F.silu
        x = activation(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = activation(self._bn1(self._conv_head(x)))
        return self._fc(x.mean((2, 3)))


def preprocess(
    images: torch.Tensor,
    size: int = 224,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    antialias: bool = False,
) -> torch.Tensor:
    """What an assessor sees of generated images; by default the published one.

    Args:
        images: [B, 3, R, R] in [-1, 1].
        size: pixels of the result.
        mean: of its channels.
        std: their standard deviation.
        antialias: where images become smaller, as a ResNet's do.

    Returns:
        [B, 3, size, size]: resized, less the mean, over the standard deviation.
    """
    pixels = ((images + 1) / 2).clamp(0, 1) * 255
    pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=antialias)
    less, over = (images.new_tensor(values)[:, None, None] for values in (mean, std))
    return (pixels / 255 - less) / over


def assess(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Judge generated images.

    Args:
        model: a classifier of two classes; the second is "creative".
        images: [B, 3, R, R] in [-1, 1].

    Returns:
        Logits [B, 2] and scores [B] in [0, 1].
    """
    logits = model(preprocess(images))
    return logits, torch.softmax(logits, dim=1)[:, 1]
