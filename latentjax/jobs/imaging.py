"""Images of latents, as they are or moved by alpha, made by one compiled program whatever their number."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from latentjax import distributed, latents, networks, pictures, precision
from latentjax.generated import Picture
from latentjax.jobs import methods
from latentjax.jobs.sweep import per_sample
from latentjax.jobs.workbench import Studio
from latentjax.networks import identity_of
from latentjax.overlap import ahead


class Imaging:
    """Makes images in batches of one size.

    Args:
        studio: the job's tools; its mesh is of this process's devices.
        transformer: what moves latents by a picture's alpha; None: they stay.
        batch_size: images at once, rounded up to what the devices can share.
    """

    def __init__(self, studio: Studio, transformer: networks.LatentTransformer | None, batch_size: int):
        self.studio = studio
        self.transformer = None if transformer is None else per_sample(transformer)
        self.batch = distributed.shareable(batch_size, studio.mesh)
        self.weights = studio.placed(studio.generator.state)
        self.params = None
        if transformer is not None:
            self.params = distributed.placed(transformer.state, distributed.replicated(studio.mesh))
        self._images = jax.jit(self._generate, compiler_options=distributed.compiler_options(studio.mesh))

    def images(self, wanted: Iterable[Picture]) -> Iterator[tuple[Picture, np.ndarray]]:
        """Each picture with its image [R, R, 3] uint8; the last batch is padded."""
        wanted = iter(wanted)
        groups = iter(lambda: list(itertools.islice(wanted, self.batch)), [])
        started = ((group, self._images(self.weights, self.params, self._rows(group))) for group in groups)
        # the device works on the next batch while this one is fetched and written
        for group, images in ahead(started):
            yield from zip(group, jax.device_get(images), strict=False)

    def _rows(self, group: list[Picture]) -> Any:
        """z, y, alpha and noise of a batch."""
        group = group + group[-1:] * (self.batch - len(group))
        z, y = latents.stacked([picture.latent for picture in group])
        alpha = np.array([picture.alpha or 0.0 for picture in group], np.float32)
        noise = methods.noise_of(self.transformer, ((picture.latent, picture.noise_seed or 0) for picture in group))
        return distributed.placed((z, y, alpha, noise), distributed.by_row(self.studio.mesh))

    def _generate(self, weights: Any, params: Any, rows: Any) -> jax.Array:
        """Images [B, R, R, 3] uint8."""
        z, y, alpha, noise = distributed.constrain(rows, distributed.by_row(self.studio.mesh))
        if self.transformer is not None:
            z, y = self.transformer.apply(params, z, y, alpha, noise)
        return pictures.to_uint8(self.studio.generate(weights, z, y))

    @property
    def facts(self) -> dict[str, Any]:
        """What the images are made by; those of other facts do not belong among them."""
        config = self.studio.config
        return {
            "truncation": config.latents.truncation,
            "generator": self.studio.generator.sha256 or config.generator.weights,
            "transformer": identity_of(self.transformer, self.params),
            "settings": self.transformer.config if self.transformer else {},
            "precision": precision.chosen(config.precision, self.studio.mesh),
        }
