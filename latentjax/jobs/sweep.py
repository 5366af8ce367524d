"""Latents along alpha by one compiled program: images, scores, properties, and what judges say of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from latentjax import distributed, latents, masks, networks, objective, pictures, preemption
from latentjax.ascent import Ascent, ascend
from latentjax.jobs import methods
from latentjax.jobs.workbench import Workbench
from latentjax.judges import Judges
from latentjax.overlap import ahead, in_threads
from latentjax.preemption import Stopped
from latentjax.properties import IMAGE_PROPERTIES, MASK_PROPERTIES
from latentjax.report.strips import Strip, Swept


class Measures:
    """What is measured on every tile, and by whom.

    Args:
        bench: the job's tools.

    Raises:
        InputError: a mask model or a judge cannot be loaded.
    """

    def __init__(self, bench: Workbench):
        settings = bench.config.evaluate
        self.alphas = np.asarray(settings.alphas, np.float32)
        self.form = settings.properties
        self.of_images = IMAGE_PROPERTIES[settings.properties]
        self.of_masks = MASK_PROPERTIES[settings.properties]
        self.component = "first" if settings.properties == "published" else "largest"
        self.masker = masks.load(settings.masks, component=self.component)
        self.judges = Judges(settings, settings.alphas)
        self.judges_state = bench.placed(self.judges.state) if self.judges else None
        self.names = ["score", *self.of_images]
        self.names += self.of_masks if self.masker else ()
        self.names += (f"kept {name}" for name in bench.assessor.kept_names)
        # compiled once for all sweeps
        self._judge = jax.jit(self.judges.apply)
        self._of_masks = jax.jit(lambda masks: {name: of(masks) for name, of in self.of_masks.items()})

    def judge(self, images: jax.Array) -> dict[str, jax.Array]:
        """What the judges say of images [B, J, R, R, 3] in [-1, 1]: [B, J, ...] of each."""
        if not self.judges:
            return {}
        found = self._judge(self.judges_state, images.reshape(-1, *images.shape[2:]))
        return {name: array.reshape(*images.shape[:2], *array.shape[1:]) for name, array in found.items()}

    def objects(self, tiles: np.ndarray) -> dict[str, np.ndarray]:
        """Properties [B, A] of the objects in tiles [B, A, R, R, 3]; masks are made in threads, one strip in each."""
        if (masker := self.masker) is None:
            return {}
        rows = list(in_threads(lambda row: jax.device_get(self._of_masks(masker(row))), zip(tiles), len(tiles)))
        return {name: np.stack([row[name] for row in rows]) for name in self.of_masks}

    @property
    def facts(self) -> dict[str, Any]:
        """What tells one way of measuring from another."""
        return {
            "measures": self.names,
            "properties": self.form,
            "masks": [self.masker.identity, self.component] if self.masker else "",
            "judged_alphas": [round(float(self.alphas[i]), 6) for i in self.judges.indices] if self.judges else [],
            "judges": self.judges.facts if self.judges else {},
        }


class Sweep:
    """Latents swept along alpha, whatever their number.

    Args:
        bench: the job's tools.
        transformer: whose kind is evaluated, its weights come with each call; None: gradient ascent.
        measures: what is measured.

    Raises:
        InputError: a setting would be without effect.
    """

    def __init__(self, bench: Workbench, transformer: networks.LatentTransformer | None, measures: Measures):
        settings = bench.config.evaluate
        self.bench, self.measures = bench, measures
        self.transformer = None if transformer is None else per_sample(transformer)
        self.alphas = measures.alphas
        methods.check_settings(settings, transformer)
        self.batch = distributed.shareable(settings.batch_size, bench.mesh)
        options = distributed.compiler_options(bench.mesh)
        self._compiled = jax.jit(self._measure, compiler_options=options)
        self._agreed = distributed.Agreement(bench.mesh)

    def __call__(
        self, params: Any, strips: Sequence[Strip], direction: int = 0, stop: preemption.Request | None = None
    ) -> Iterator[Swept]:
        """Each strip with its tiles and what was measured, on the primary process; the last batch is padded.

        Args:
            params: the transformer's weights.
            strips: what is swept.
            direction: which of several.
            stop: looked at after each batch; several processes stop at the same one.

        Raises:
            Stopped: one of them asked for it.
        """
        stop = stop or preemption.Request()
        groups = (strips[start : start + self.batch] for start in range(0, len(strips), self.batch))
        # the device works on the next batch while this one is fetched and drawn
        for group, found in ahead((group, self._begun(params, group, direction)) for group in groups):
            found = distributed.fetched(found)
            if distributed.is_primary():
                yield from self._swept(group, found)
            if self._agreed(stop.asked):
                raise Stopped("stopped between two batches")
        if self._agreed.now(stop.asked):  # also of the last batch, and nothing is left over for the next call
            raise Stopped("stopped after the last batch")

    def _begun(self, params: Any, group: Sequence[Strip], direction: int) -> Any:
        """Tiles, measures and judgements of a batch, on the device."""
        tiles, measured, judged = self._compiled(params, self.bench.frozen, self.rows(group), np.int32(direction))
        return distributed.settled((tiles, measured, self.measures.judge(judged)))

    def rows(self, group: Sequence[Strip]) -> Any:
        """z, y and noise of a batch; the noise depends on the latent and the seed, not on its neighbours."""
        noise = methods.noise_of(self.transformer, ((strip.latent, strip.noise_seed) for strip in group))
        z, y = latents.stacked([strip.latent for strip in group])
        rows = jax.tree.map(lambda array: distributed.padded(array, self.batch), (z, y, noise))
        return distributed.placed(rows, distributed.by_row(self.bench.mesh))

    def _measure(
        self, params: Any, frozen: objective.Frozen, rows: Any, direction: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
        """uint8 images [B, A, R, R, 3]; score, properties and kept scores [B, A]; images to judge [B, J, R, R, 3]."""
        rows = distributed.constrain(rows, distributed.by_row(self.bench.mesh))
        nets, shape = self.bench.networks(self.transformer), (rows[0].shape[0], len(self.alphas))
        moved = [array.reshape(-1, array.shape[-1]) for array in self._moved(nets, params, frozen, rows, direction)]
        images, scores, kept = objective.assess(nets, frozen, *moved)
        values = [scores, *(measure(images) for measure in self.measures.of_images.values()), *kept.T]
        names = [name for name in self.measures.names if name not in self.measures.of_masks]
        measured = {name: value.reshape(shape) for name, value in zip(names, values, strict=True)}
        images = images.reshape(*shape, *images.shape[1:])
        judged = images[:, np.array(self.measures.judges.indices, int)]
        return pictures.to_uint8(images), measured, judged

    def _moved(
        self, nets: objective.Networks, params: Any, frozen: objective.Frozen, rows: Any, direction: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """z' [B, A, Z] and y' [B, A, C], by the method of the config."""
        settings, (z, y, noise) = self.bench.config.evaluate, rows
        if self.transformer is None:
            kept = self.bench.assessor.kept_weights
            ascent = Ascent(settings.ascent_steps, settings.ascent_step_size, settings.move, kept)
            return ascend(nets, frozen, z, y, self.alphas, ascent)

        def move(params: Any, z: jax.Array, y: jax.Array, *asked: Any) -> tuple[jax.Array, jax.Array]:
            moved_z, moved_y = nets.transformer(params, z, y, *asked)
            return z if settings.move == "y" else moved_z, y if settings.move == "z" else moved_y

        moving, iterative = nets._replace(transformer=move), settings.mode == "iterative"
        return objective.along(moving, params, z, y, self.alphas, noise, direction, iterative=iterative)

    def _swept(self, group: Sequence[Strip], found: Any) -> Iterator[Swept]:
        """The strips of a batch; what is no object has no properties (NaN)."""
        tiles, measured, judged = found
        measured = measured | self.measures.objects(tiles[: len(group)])
        features = judged.pop("features", None)
        for i, strip in enumerate(group):
            values = {name: measured[name][i].tolist() for name in self.measures.names}
            said = {name: array[i].tolist() for name, array in judged.items()}
            yield Swept(strip, tiles[i], values, said, None if features is None else features[i])


def per_sample(transformer: networks.LatentTransformer) -> networks.LatentTransformer:
    """The transformer with renorm "sample" in place of "batch": the published script evaluates one by one."""
    if transformer.config.get("renorm") != "batch":
        return transformer
    return networks.with_settings(transformer, renorm="sample")
