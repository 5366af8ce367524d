"""ResNet-18 and -34 (He et al., 2016), as classifiers of generated images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.assessors.outputs import Output
from latentjax.layers import Conv, FixedNorm, Linear, StridedConv, at_least_float32

EPSILON = 1e-5  # of every norm


class Block(nnx.Module):
    """Two 3 x 3 convolutions beside a shortcut; the first strides, and so does the shortcut then."""

    def __init__(self, in_features: int, out_features: int, stride: int, *, rngs: nnx.Rngs):
        def norm() -> FixedNorm:
            return FixedNorm(out_features, EPSILON, rngs=rngs)

        same = stride == 1 and in_features == out_features
        sides = ((1, 1), (1, 1))
        self.conv1 = StridedConv(in_features, out_features, 3, stride, sides, rngs=rngs)
        self.norm1 = norm()
        self.conv2 = Conv(out_features, out_features, 3, use_bias=False, rngs=rngs)
        self.norm2 = norm()
        self.shortcut = None if same else StridedConv(in_features, out_features, 1, stride, "VALID", rngs=rngs)
        self.shortcut_norm = None if same else norm()

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, I] -> [B, H / stride, W / stride, O], rounded up."""
        h = nnx.relu(self.norm1(self.conv1(x)))
        h = self.norm2(self.conv2(h))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return nnx.relu(x + h)


class ResNet(nnx.Module):
    """A(images [B, H, W, 3] in [-1, 1]) -> scores [B]: by default the softmax probability of one class.

    Args:
        num_classes: outputs of the head.
        depths: blocks of each of the four stages, (2, 2, 2, 2) of ResNet-18.
        width: channels of the stem and of the first stage; each stage doubles them.
        hidden: outputs of a linear layer before the classifier, without activation between them; None: there is none.
        image_size: side in pixels to which images are resized.
        mean, std: of the input channels, for images in [0, 1].
        classes: their names, where known.
        output, output_class, centre, slope: what the score is, see `latentjax.assessors.outputs.Output`.
        rngs: where initial weights come from.

    Raises:
        InputError: an output that this head cannot have.
    """

    def __init__(
        self,
        num_classes: int,
        depths: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        hidden: int | None = None,
        image_size: int = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        classes: Sequence[str] | None = None,
        output: str = "softmax",
        output_class: int | None = None,
        centre: float | None = None,
        slope: float | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        self.output = Output(output, num_classes, output_class, centre, slope)
        self.image_size = image_size
        self.mean, self.std = tuple(mean), tuple(std)
        self.classes = None if classes is None else tuple(classes)
        self.stem = StridedConv(3, width, 7, 2, ((3, 3), (3, 3)), rngs=rngs)
        self.stem_norm = FixedNorm(width, EPSILON, rngs=rngs)
        self.stages = nnx.List()
        features = width
        for i, depth in enumerate(depths):
            blocks = nnx.List()
            for j in range(depth):
                blocks.append(Block(features, width * 2**i, 2 if i and not j else 1, rngs=rngs))
                features = width * 2**i
            self.stages.append(blocks)
        self.classifier_hidden = None if hidden is None else Linear(features, hidden, rngs=rngs)
        self.classifier = Linear(hidden or features, num_classes, rngs=rngs)

    def preprocess(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> the network's input [B, image_size, image_size, 3].

        Clipped, resized bilinearly, with antialias where that makes them smaller (as torchvision resizes pictures,
        whose rounding to eight bits is left out), then normalised.
        """
        images = jnp.clip((images + 1) / 2, 0, 1)
        shape = (len(images), self.image_size, self.image_size, 3)
        images = jax.image.resize(images, shape, "linear", antialias=True)
        return (images - jnp.array(self.mean, images.dtype)) / jnp.array(self.std, images.dtype)

    def pooled(self, inputs: jax.Array) -> jax.Array:
        """Normalised images [B, H, W, 3] -> the last map's mean [B, F], float32."""
        x = nnx.relu(self.stem_norm(self.stem(inputs.astype(self.stem.kernel.dtype))))
        # nothing is below the zeros around it
        x = nnx.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (2, 2))
        for blocks in self.stages:
            for block in blocks:
                x = block(x)
        return at_least_float32(x).mean((1, 2))

    def features(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> what the head sees, [B, F] float32."""
        return self.pooled(self.preprocess(images))

    def logits(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> class logits [B, num_classes], float32."""
        x = self.features(images)
        return self.classifier(x if self.classifier_hidden is None else self.classifier_hidden(x))

    def statistic(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> what centre and slope act on, [B] float32."""
        return self.output.statistic(self.logits(images))

    def __call__(self, images: jax.Array) -> jax.Array:
        """Images [B, H, W, 3] in [-1, 1] -> scores [B] float32, in [0, 1] but for a regression.

        Raises:
            InputError: which of several classes is scored is not set.
        """
        return self.output(self.logits(images))
