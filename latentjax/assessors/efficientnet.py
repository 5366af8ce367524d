"""EfficientNet B0 to B7 (Tan and Le 2019), and its Lite0, as an assessor of generated images."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.assessors.outputs import Output
from latentjax.convolutions import Padding, resize
from latentjax.layers import BatchNorm, Conv, DepthwiseConv, Linear, StridedConv, at_least_float32


class Stage(NamedTuple):
    """Repeated blocks of B0; the first of them strides and changes the width."""

    repeats: int
    kernel_size: int
    stride: int
    expansion: int
    features: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
# variant: width factor, depth factor, native resolution
VARIANTS = {
    "b0": (1.0, 1.0, 224),
    "b1": (1.0, 1.1, 240),
    "b2": (1.1, 1.2, 260),
    "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380),
    "b5": (1.6, 2.2, 456),
    "b6": (1.8, 2.6, 528),
    "b7": (2.0, 3.1, 600),
    "lite0": (1.0, 1.0, 224),  # B0 with ReLU6 and without squeeze and excitation
}
PADDINGS = ("symmetric", "native-same", "same")


def scaled_width(features: int, factor: float) -> int:
    """Channels times the width factor, to the nearest multiple of 8 that loses at most a tenth."""
    scaled = features * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def conv_padding(padding: str, kernel_size: int, stride: int, size: int) -> Padding:
    """Padding of one convolution on a map of `size` pixels at the variant's native resolution.

    "symmetric" is efficientnet_pytorch 0.7.0's, "native-same" 0.7.1's (TensorFlow's SAME at the native
    resolution, kept for any input), "same" TensorFlow's SAME at the input's own size.
    """
    if padding == "same":
        return "SAME"
    if padding == "symmetric":
        before = after = (kernel_size - 1) // 2
    else:
        total = max((math.ceil(size / stride) - 1) * stride + kernel_size - size, 0)
        before, after = total // 2, total - total // 2
    return ((before, after), (before, after))


class Plan(NamedTuple):
    """One block of a variant."""

    stage: Stage
    stride: int
    in_features: int
    out_features: int
    size: int  # of the map it gets, at the native resolution


def blocks_of(variant: str) -> list[Plan]:
    """The blocks of a variant, in order."""
    width, depth, size = VARIANTS[variant]
    features, size = scaled_width(32, width), math.ceil(size / 2)
    plans = []
    for stage in STAGES:
        out_features = scaled_width(stage.features, width)
        for i in range(math.ceil(stage.repeats * depth)):
            stride = stage.stride if i == 0 else 1
            plans.append(Plan(stage, stride, features, out_features, size))
            features, size = out_features, math.ceil(size / stride)
    return plans


class Drops(NamedTuple):
    """What is left out at random in training; what stays is scaled up, so that the mean is the same."""

    key: jax.Array
    dropout: float  # share of the features before the head
    drop_connect: float  # share of samples that skip the last block's residual branch; proportionally less before it

    def kept(self, index: int, share: float, shape: tuple[int, ...]) -> jax.Array | None:
        """Factors of a draw: 0, or 1 / (1 - share); None where nothing is left out."""
        if not share:
            return None
        return jax.random.bernoulli(jax.random.fold_in(self.key, index), 1 - share, shape) / (1 - share)


class SqueezeExcite(nnx.Module):
    """Channels weighted by their averages over the map."""

    def __init__(self, features: int, squeezed: int, *, rngs: nnx.Rngs):
        self.reduce = Linear(features, squeezed, rngs=rngs)
        self.expand = Linear(squeezed, features, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        weights = self.expand(nnx.silu(self.reduce(x.mean((1, 2)))))
        return x * nnx.sigmoid(weights)[:, None, None].astype(x.dtype)


def activation_of(lite: bool) -> Callable[[jax.Array], jax.Array]:
    """ReLU6 of the Lite variants, swish of the others."""
    return nnx.relu6 if lite else nnx.silu


class Block(nnx.Module):
    """Expand, filter each channel, squeeze and excite, project; add the input where shapes allow."""

    def __init__(self, plan: Plan, padding: str, epsilon: float, lite: bool, *, rngs: nnx.Rngs):
        def norm(features: int) -> BatchNorm:
            return BatchNorm(features, epsilon, rngs=rngs)

        stage, in_features, out_features = plan.stage, plan.in_features, plan.out_features
        width = in_features * stage.expansion
        expands = stage.expansion > 1
        self.expand = Conv(in_features, width, use_bias=False, rngs=rngs) if expands else None
        self.expand_norm = norm(width) if expands else None
        pads = conv_padding(padding, stage.kernel_size, plan.stride, plan.size)
        self.depthwise = DepthwiseConv(width, stage.kernel_size, plan.stride, pads, rngs=rngs)
        self.depthwise_norm = norm(width)
        self.squeeze_excite = None if lite else SqueezeExcite(width, max(1, in_features // 4), rngs=rngs)
        self.activation = activation_of(lite)
        self.project = Conv(width, out_features, use_bias=False, rngs=rngs)
        self.project_norm = norm(out_features)
        self.residual = plan.stride == 1 and in_features == out_features

    def __call__(self, x: jax.Array, kept: jax.Array | None = None) -> jax.Array:
        """Maps [B, H, W, I] -> [B, H', W', O]; `kept` [B] scales the residual branch of each sample."""
        h = x
        if self.expand is not None and self.expand_norm is not None:
            h = self.activation(self.expand_norm(self.expand(h)))
        h = self.activation(self.depthwise_norm(self.depthwise(h)))
        if self.squeeze_excite is not None:
            h = self.squeeze_excite(h)
        h = self.project_norm(self.project(h))
        if not self.residual:
            return h
        return x + (h if kept is None else h * kept[:, None, None, None].astype(h.dtype))


class EfficientNet(nnx.Module):
    """A(images [B, H, W, 3] in [-1, 1]) -> scores [B]: by default the softmax probability of class 1 of 2.

    Args:
        variant: "b0" to "b7", or "lite0".
        num_classes: outputs of the head; the paper's assessor has 2 (not creative, creative).
        padding: "symmetric", "native-same" or "same", see `conv_padding`; the published assessor is "symmetric".
        bn_epsilon: of every norm.
        image_size: side in pixels to which images are resized (224 for the paper's assessor).
        mean, std: of the input channels, for images in [0, 1].
        output, output_class, centre, slope: what the score is, see `latentjax.assessors.outputs.Output`.
        rngs: where initial weights come from.

    Raises:
        InputError: an output that this head cannot have.
    """

    def __init__(
        self,
        variant: str = "b0",
        num_classes: int = 2,
        padding: str = "symmetric",
        bn_epsilon: float = 1e-3,
        image_size: int = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        output: str = "softmax",
        output_class: int | None = None,
        centre: float | None = None,
        slope: float | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        width, _, size = VARIANTS[variant]
        self.output = Output(output, num_classes, output_class, centre, slope)
        self.image_size = image_size
        self.mean, self.std = tuple(mean), tuple(std)

        def norm(features: int) -> BatchNorm:
            return BatchNorm(features, bn_epsilon, rngs=rngs)

        plans, lite = blocks_of(variant), variant.startswith("lite")
        self.activation = activation_of(lite)
        features = plans[0].in_features
        stem_padding = conv_padding(padding, 3, 2, size)
        self.stem = StridedConv(3, features, 3, 2, stem_padding, rngs=rngs)
        self.stem_norm = norm(features)
        self.blocks = nnx.List(Block(plan, padding, bn_epsilon, lite, rngs=rngs) for plan in plans)
        features = plans[-1].out_features
        head = scaled_width(1280, width)
        self.head = Conv(features, head, use_bias=False, rngs=rngs)
        self.head_norm = norm(head)
        self.classifier = Linear(head, num_classes, rngs=rngs)

    def preprocess(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> the network's input [B, image_size, image_size, 3].

        Clipped, resized bilinearly without antialias (as the published code judges), then normalised.
        """
        images = jnp.clip((images + 1) / 2, 0, 1)
        images = resize(images, self.image_size)
        return (images - jnp.array(self.mean, images.dtype)) / jnp.array(self.std, images.dtype)

    def pooled(self, inputs: jax.Array, drops: Drops | None = None) -> jax.Array:
        """Normalised images [B, H, W, 3] -> the last map's mean [B, F], float32; `drops` are for training."""
        x = self.activation(self.stem_norm(self.stem(inputs.astype(self.stem.kernel.dtype))))
        count = len(self.blocks)
        for i, block in enumerate(self.blocks):
            x = block(x, drops and drops.kept(i, drops.drop_connect * i / count, x.shape[:1]))
        x = self.activation(self.head_norm(self.head(x)))
        return at_least_float32(x).mean((1, 2))

    def classify(self, inputs: jax.Array, drops: Drops | None = None) -> jax.Array:
        """Normalised images [B, H, W, 3] -> class logits [B, num_classes], float32; `drops` are for training."""
        features = self.pooled(inputs, drops)
        kept = drops and drops.kept(len(self.blocks), drops.dropout, features.shape)
        return self.classifier(features if kept is None else features * kept)

    def features(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> what the classifier sees, [B, F] float32."""
        return self.pooled(self.preprocess(images))

    def logits(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> class logits [B, num_classes], float32."""
        return self.classify(self.preprocess(images))

    def statistic(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> what centre and slope act on, [B] float32."""
        return self.output.statistic(self.logits(images))

    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> scores [B] float32, in [0, 1] but for a regression.

        Raises:
            InputError: which of several classes is scored is not set.
        """
        return self.output(self.logits(images))
