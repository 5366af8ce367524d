"""An assessor that is saturated on generated images gives no gradient; rescaling its head makes it usable."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from latentjax import latents, networks, weights
from latentjax.errors import InputError

SPREAD = 1.5  # standard deviation of the logit difference: most scores between .05 and .95
IMAGES, BATCH, SEED = 256, 8, 0


def sampled_images(generator: networks.Generator) -> Iterator[jax.Array]:
    """Batches of images of `IMAGES` latents, z at truncation 1 and y one-hot over all classes."""
    for i in range(IMAGES // BATCH):
        key_z, key_y = jax.random.split(jax.random.fold_in(jax.random.key(SEED), i))
        z = latents.sample_z(key_z, BATCH, generator.latent_dim)
        yield generator(z, latents.sample_y(key_y, BATCH, generator.num_classes))


def rescaled(assessor: networks.Assessor, images: Iterable[jax.Array]) -> networks.Assessor:
    """The assessor with its two-class head scaled so that the logit difference has mean 0 and deviation `SPREAD`.

    The order of any two scores stays as it is.

    Args:
        assessor: an EfficientNet with 2 classes.
        images: batches [B, H, W, 3] in [-1, 1] as the generator makes them.

    Raises:
        InputError: another assessor, or one that gives all images the same score.
    """
    if assessor.kind != "efficientnet" or assessor.config["num_classes"] != 2:
        raise InputError("config.assessor.calibrate", "is for EfficientNets with 2 classes", "leave it out")
    logits = np.concatenate([np.asarray(assessor.logits(batch), np.float64) for batch in images])
    difference = logits[:, 1] - logits[:, 0]
    if not difference.std() > 1e-6:
        what = "gives all generated images the same score"
        raise InputError("config.assessor", what, "use another assessor for this generator")
    scale = SPREAD / difference.std()
    arrays: dict[str, Any] = {path: np.asarray(array) for path, array in weights.named(assessor.state).items()}
    shift = scale * difference.mean() * np.array([0.5, -0.5])
    arrays["classifier/kernel"] = (arrays["classifier/kernel"] * scale).astype(np.float32)
    arrays["classifier/bias"] = (arrays["classifier/bias"] * scale + shift).astype(np.float32)
    module = weights.abstract(assessor.kind, assessor.config)
    weights.fill(module, arrays)
    record = {
        "kind": assessor.kind,
        "config": assessor.config,
        "source": {**assessor.source, "head_scale": float(scale), "weights_sha256": assessor.sha256},
        "weights_sha256": weights.digest(arrays),
    }
    return networks.Assessor(module, record)
