"""Images by the thousand, of sampled latents or those of files, edited or not; what was stopped is gone on with."""

import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from absl import logging
from tqdm import tqdm

from latentjax import distributed, latents, networks, space
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import told
from latentjax.generated import GeneratedSet, Picture
from latentjax.heartbeat import Heartbeat
from latentjax.jobs import methods, replay
from latentjax.jobs.imaging import Imaging
from latentjax.jobs.workbench import Studio, prepare_studio
from latentjax.latents import Latent
from latentjax.run_folder import job

SHARE_DONE = (
    "this process's share is done; where each has a disk of its own, bring the folders %s together, "
    "and the same command in one process writes the manifest"
)


class Generation(Imaging):
    """The pictures of config.generate.

    Args:
        studio: the job's tools; its mesh is of this process's devices.
        transformer: what moves the latents by generate.alphas; None: they stay.

    Raises:
        InputError: the latents cannot be read or do not fit, or a setting is wrong or would be without effect.
    """

    def __init__(self, studio: Studio, transformer: networks.LatentTransformer | None):
        settings, generator = studio.config.generate, studio.generator
        check_settings(settings, transformer)
        super().__init__(studio, transformer, settings.batch_size)
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

    @property
    def facts(self) -> dict[str, Any]:
        """What the set is of; with more latents it is the same set."""
        settings, edited = self.studio.config.generate, self.transformer is not None
        return super().facts | {
            "latents": self._source(),
            "alphas": [round(float(alpha), 6) for alpha in settings.alphas],
            "noise_seeds": list(settings.noise_seeds) if edited else [],
            "format": ["jpeg", settings.jpeg_quality] if settings.format == "jpeg" else settings.format,
            "shard_size": settings.shard_size,
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
    methods.check_one_direction(transformer, "config.generate.alphas")


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Makes what is missing of the set in WORKDIR/generated/NAME, or the one picture that generate.tile names.

    Raises:
        InputError: an input is wrong, or the folder holds another set or cannot be written.
    """
    if config.generate.tile:
        replay.run(config, workdir)
        return "one tile made again"
    studio = prepare_studio(config, workdir, local=True)
    transformer = methods.learned_transformer(studio) if config.generate.alphas else None
    generation = Generation(studio, transformer)
    folder = generation.folder(transformer.source.get("step") if transformer else None)
    distributed.refuse_other_files(json.dumps(generation.facts["latents"]), "config.generate.latents")
    distributed.refuse_other_files(transformer.sha256 if transformer else "", "the transformer")
    process = jax.process_index(), jax.process_count()
    target = GeneratedSet(folder, generation.facts, generation.total, config.generate, process)
    target.check()
    studio.create()
    with told(folder):
        studio.folder.write_run(mesh=dict(studio.mesh.shape))
        return fill(target, generation)


def fill(target: GeneratedSet, generation: Generation) -> str:
    """Makes this process's pictures that are missing; says how many."""
    folder, total = target.folder, target.total
    done = target.open()
    missing = target.missing(done)
    if done:
        logging.info("%s: %d of %d images are there", folder, len(done), total)
    if -(-total // target.size) < target.processes:
        logging.warning("some processes have nothing to do; a smaller config.generate.shard_size gives them a share")
    side = generation.studio.generator.resolution
    space.check(folder, f"{len(missing)} images", space.of_pictures(len(missing), side, target.format))
    if missing:
        made = generation.images(generation.pictures(missing))
        hidden = target.process > 0
        bar = tqdm(made, total=len(missing), unit=" images", desc=folder.name, disable=hidden)
        heart = Heartbeat(generation.studio.folder.path, folder.name, "images", 1, 0, len(missing))
        target.write(heart.along(bar), 4 * generation.batch)
        heart.close()
    if target.manifest.exists():
        logging.info("nothing is missing; look at %s", target.overview)
    elif target.finish():
        logging.info("%d images are in %s; look at %s", total, folder, target.overview)
    else:
        logging.info(SHARE_DONE, folder)
    return f"{len(missing)} images made"
