"""Images by the thousand, of sampled latents or those of files, edited or not; what was stopped is gone on with."""

import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import distributed, latents, networks, pictures, precision
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.generated import GeneratedSet, Picture
from latentjax.jobs import methods
from latentjax.jobs.evaluate import identity_of, per_sample
from latentjax.jobs.workbench import Studio, prepare_studio
from latentjax.latents import Latent
from latentjax.overlap import ahead


class Generation:
    """Pictures of latents, made by one compiled program, whatever their number.

    Args:
        studio: the job's tools; its mesh is of this process's devices.
        transformer: what moves the latents by generate.alphas; None: they stay.

    Raises:
        InputError: the latents cannot be read or do not fit, or a setting is wrong or would be without effect.
    """

    def __init__(self, studio: Studio, transformer: networks.LatentTransformer | None):
        settings, generator = studio.config.generate, studio.generator
        check_settings(settings, transformer)
        self.studio = studio
        self.transformer = None if transformer is None else per_sample(transformer)
        self.sizes = (generator.latent_dim, generator.num_classes)
        self.points: list[Latent] = []
        if settings.latents:
            self.points = latents.read(settings.latents, *self.sizes, skip_bad=settings.skip_bad)
        # with every latent; the noise of a latent and seed is the same for all alphas
        edits = itertools.product(settings.noise_seeds, settings.alphas)
        self.edits = [(None, None)] if transformer is None else list(edits)
        self.total = (len(self.points) or settings.count) * len(self.edits)
        if self.points:
            refuse_doubled_names(self.pictures(range(self.total)), settings.latents)
        self.batch = distributed.shareable(settings.batch_size, studio.mesh)
        self.weights = studio.placed(generator.state)
        self.params = None
        if transformer is not None:
            self.params = jax.device_put(transformer.state, distributed.replicated(studio.mesh))
        self._images = jax.jit(self._generate, compiler_options=distributed.compiler_options(studio.mesh))

    def pictures(self, indices: Iterable[int]) -> Iterator[Picture]:
        """The pictures of these indices, in order: index i is of the i // E-th latent, E being the edits of each."""
        numbered, which = itertools.tee(indices)
        for index, latent in zip(numbered, self._latents(i // len(self.edits) for i in which), strict=True):
            yield Picture(index, latent, *self.edits[index % len(self.edits)])

    def _latents(self, indices: Iterable[int]) -> Iterator[Latent]:
        if self.points:
            return (self.points[index] for index in indices)
        seed, truncation = self.studio.config.generate.seed, self.studio.config.latents.truncation
        return latents.drawn(indices, seed, *self.sizes, truncation, self.studio.classes)

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
        return jax.device_put((z, y, alpha, noise), distributed.by_row(self.studio.mesh))

    def _generate(self, weights: Any, params: Any, rows: Any) -> jax.Array:
        """Images [B, R, R, 3] uint8."""
        z, y, alpha, noise = distributed.constrain(rows, distributed.by_row(self.studio.mesh))
        if self.transformer is not None:
            z, y = self.transformer.apply(params, z, y, alpha, noise)
        return pictures.to_uint8(self.studio.generate(weights, z, y))

    @property
    def facts(self) -> dict[str, Any]:
        """What the set is of; with more latents it is the same set."""
        config, settings = self.studio.config, self.studio.config.generate
        edited = self.transformer is not None
        return {
            "latents": self._source(),
            "truncation": config.latents.truncation,
            "generator": self.studio.generator.sha256 or config.generator.weights,
            "transformer": identity_of(self.transformer, self.params),
            "settings": self.transformer.config if self.transformer else {},
            "alphas": [round(float(alpha), 6) for alpha in settings.alphas],
            "noise_seeds": list(settings.noise_seeds) if edited else [],
            "format": ["jpeg", settings.jpeg_quality] if settings.format == "jpeg" else settings.format,
            "shard_size": settings.shard_size,
            "precision": precision.chosen(config.precision, self.studio.mesh),
        }

    def _source(self) -> dict[str, Any]:
        """Where the latents are from."""
        config, classes = self.studio.config, self.studio.classes
        if self.points:
            names = "".join(f"{point.name}\n{point.key}\n" for point in self.points)
            return {"sha256": hashlib.sha256(names.encode()).hexdigest()}
        return {"seed": config.generate.seed, "classes": config.latents.classes, "classes_sha256": classes.sha256}

    def folder(self, step: int | None) -> pathlib.Path:
        """generated/NAME: generate.name, or where the latents are from, and the step of what moves them."""
        settings = self.studio.config.generate
        source = pathlib.Path(settings.latents).name if settings.latents else f"seed{settings.seed}"
        moved = [] if self.transformer is None else ["edited" if step is None else str(step)]
        return self.studio.folder.path / "generated" / (settings.name or latents.safe_name("-".join([source, *moved])))


def refuse_doubled_names(wanted: Iterable[Picture], where: str) -> None:
    """Refuses two pictures of one name: "a" with noise seed 1, and a latent that is called "a-noise1".

    Raises:
        InputError: naming it.
    """
    stems: set[str] = set()
    for picture in wanted:
        if picture.stem in stems:
            raise InputError(where, f"give two pictures the name {picture.stem}", "rename one")
        stems.add(picture.stem)


def check_settings(settings: ConfigDict, transformer: networks.LatentTransformer | None) -> None:
    """Refuses settings that are wrong, or would be without effect.

    Raises:
        InputError: naming the field.
    """
    methods.check_noise_seeds(settings.noise_seeds, transformer, "config.generate.noise_seeds")
    if transformer is not None and transformer.num_directions > 1:
        what = f"move along one direction, and the transformer has {transformer.num_directions}"
        raise InputError("config.generate.alphas", what, "use --job=evaluate, which shows all")


def run(config: ConfigDict, workdir: str) -> None:
    """Makes what is missing of the set in WORKDIR/generated/NAME.

    Raises:
        InputError: an input is wrong, or the folder holds another set or cannot be written.
    """
    studio = prepare_studio(config, workdir, local=True)
    transformer = methods.learned_transformer(studio) if config.generate.alphas else None
    generation = Generation(studio, transformer)
    folder = generation.folder(transformer.source.get("step") if transformer else None)
    process = jax.process_index(), jax.process_count()
    target = GeneratedSet(folder, generation.facts, generation.total, config.generate, process)
    target.check()
    studio.create()
    try:
        fill(target, generation)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise InputError(folder, what, "mend that, and run the same command again to go on") from error


def fill(target: GeneratedSet, generation: Generation) -> None:
    """Makes this process's pictures that are missing."""
    folder, total = target.folder, target.total
    done = target.open()
    missing = target.missing(done)
    if done:
        logging.info("%s: %d of %d images are there", folder, len(done), total)
    if -(-total // target.size) < target.processes:
        logging.warning("some processes have nothing to do; a smaller config.generate.shard_size gives them a share")
    if missing:
        made = generation.images(generation.pictures(missing))
        hidden = target.process > 0
        bar = tqdm(made, total=len(missing), unit=" images", desc=folder.name, disable=hidden)
        target.write(bar, 4 * generation.batch)
    if target.manifest.exists():
        logging.info("nothing is missing; look at %s", target.overview)
    elif target.finish():
        logging.info("%d images are in %s; look at %s", total, folder, target.overview)
    else:
        logging.info("this process's share is done; the others are at theirs")
