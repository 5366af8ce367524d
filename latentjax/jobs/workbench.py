"""What every job works with: the run folder, the mesh, and the networks as a config names them."""

import dataclasses
import functools
import logging as std_logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
from absl import flags, logging
from tqdm import tqdm

from latentjax import (
    calibration,
    class_vectors,
    distributed,
    embedded,
    forms,
    latents,
    networks,
    precision,
    terms,
    weights,
)
from latentjax import config as configs
from latentjax.class_vectors import ClassVectors
from latentjax.errors import InputError
from latentjax.latents import Latent
from latentjax.objective import Frozen, Networks
from latentjax.run_folder import RunFolder
from latentjax.terms import Term, Terms
from latentjax.transformers import kind_named

DIRECTIONS = 3  # of a kind of several, unless transformer.num_directions is given


@dataclasses.dataclass(frozen=True)
class Studio:
    """A job's tools for making images, ready for use."""

    config: configs.ConfigDict
    folder: RunFolder
    mesh: jax.sharding.Mesh
    generator: networks.Generator
    classes: ClassVectors
    latents_read: dict[tuple[str, bool], list[Latent]] = dataclasses.field(default_factory=dict, kw_only=True)

    def create(self) -> None:
        """Makes the run folder.

        Raises:
            InputError: it cannot be written.
        """
        self.folder.create()

    @property
    def generate(self) -> Callable[..., jax.Array]:
        """(weights, z, y) -> images, at the config's truncation."""
        return functools.partial(precision.generate, self.generator, self.config.latents.truncation)

    def points(self, settings: configs.ConfigDict) -> list[Latent]:
        """The latents that a group of the config names by latents and skip_bad, or by count and seed.

        Raises:
            InputError: they cannot be read or do not fit the generator.
        """
        if settings.latents:
            return self.read(settings.latents, skip_bad=settings.skip_bad)
        sizes = (self.generator.latent_dim, self.generator.num_classes)
        return latents.sample_latents(
            settings.count, settings.seed, *sizes, self.config.latents.truncation, self.classes
        )

    def read(self, path: str, *, skip_bad: bool) -> list[Latent]:
        """The latents of a file or folder, which is read once.

        Raises:
            InputError: they cannot be read or do not fit the generator.
        """
        sizes, files = (self.generator.latent_dim, self.generator.num_classes), (path, skip_bad)
        if files not in self.latents_read:
            self.latents_read[files] = latents.read(path, *sizes, skip_bad=skip_bad)
        return self.latents_read[files]

    def placed(self, weights: Any) -> Any:
        """Weights of generator and assessor on the devices, in the precision asked for."""
        if precision.chosen(self.config.precision, self.mesh) == "bfloat16":
            weights = precision.in_bfloat16(weights)
        return distributed.placed(weights, distributed.replicated(self.mesh))


@dataclasses.dataclass(frozen=True)
class Workbench(Studio):
    """A job's tools, ready for use."""

    assessor: Terms
    frozen: Frozen  # on the devices, in the precision asked for

    def create(self) -> None:
        """Makes the run folder; a rescaled assessor is kept in it.

        Raises:
            InputError: it cannot be written.
        """
        super().create()
        kept = self.folder.path / "assessor"
        if self.config.assessor.calibrate and not kept.exists() and distributed.is_primary():
            assessor = self.assessor.terms[0].assessor
            arrays = weights.named(jax.device_get(assessor.state))
            weights.save(kept, arrays, assessor.kind, assessor.config, assessor.source)

    @property
    def sha256(self) -> dict[str, str]:
        """Of the files that a run must go on with; empty where there is none."""
        return {
            "generator_sha256": self.generator.sha256,
            "assessor_sha256": self.assessor.sha256,
            "classes_sha256": self.classes.sha256,
        }

    def networks(self, transformer: networks.LatentTransformer | None) -> Networks:
        """The networks as pure functions; without a transformer, latents stay."""
        directions = None
        if transformer is not None and transformer.num_directions > 1:
            directions = functools.partial(transformer.apply, method="directions")
        move = unmoved if transformer is None else transformer.apply
        kept = self.assessor.kept if self.assessor.kept_weights else None
        return Networks(self.generate, self.assessor.apply, move, kept, directions)


def unmoved(params: None, z: jax.Array, y: jax.Array, *_: Any) -> tuple[jax.Array, jax.Array]:
    """Stands for the transformer where there is none."""
    return z, y


def start(config: configs.ConfigDict) -> None:
    """Logging, devices, precision and the persistent compilation cache.

    Raises:
        InputError: the platform asked for is not there.
    """
    flags.FLAGS.mark_as_parsed()  # else absl warns that it logs before flags are parsed; ours are not absl's
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.set_stderrthreshold("info")
    logging.get_absl_handler().setFormatter(None)  # what happened, without where in the code
    # Orbax tells of every file it touches, TFDS of every set
    logging.get_absl_logger().addFilter(lambda record: not re.search("orbax|tensorflow_datasets", record.pathname))
    # JAX tells of every platform it does not find
    std_logging.getLogger("jax").setLevel("WARNING")
    distributed.start(config.platform)
    # what is float32 stays so, also under bfloat16
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_compilation_cache_dir", str(embedded.cache_folder() / "compiled"))
    # the small programs too: what draws initial weights and latents compiles in seconds all together
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def prepare_studio(config: configs.ConfigDict, workdir: str, *, local: bool = False) -> Studio:
    """Starts the runtime and loads the generator; nothing is written yet.

    Args:
        config, workdir: of the job.
        local: work on the devices of this process alone.

    Raises:
        InputError: the workdir is another run's, the generator cannot be loaded, or a field does not fit it.
    """
    folder = RunFolder(workdir, config)
    start(config)
    forms.choose(config.forms)
    if not config.generator.weights:
        raise InputError("config.generator.weights", "is not set", "give a model folder or embedded:NAME")
    generator = networks.load_generator(config.generator.weights)
    classes = class_vectors.parse(config.latents.classes, generator.num_classes)
    latents.check_truncation(config.latents.truncation)
    mesh = distributed.data_mesh(jax.local_devices() if local else None)
    kinds = ", ".join(sorted({device.device_kind for device in mesh.devices.flat}))
    others = f", process {jax.process_index()} of {jax.process_count()}" if jax.process_count() > 1 else ""
    logging.info("%d device(s): %s%s", mesh.size, kinds, others)
    distributed.refuse_other_input(configs.digest(config), "--config")
    distributed.refuse_other_files(generator.sha256 + classes.sha256, "config.generator.weights")
    return Studio(config, folder, mesh, generator, classes)


def prepare(config: configs.ConfigDict, workdir: str, group: str = "evaluate", *, fits: bool = False) -> Workbench:
    """Starts the runtime and loads generator and assessor; nothing is written yet.

    Args:
        config, workdir: of the job.
        group: of the config, in which the job's latents are named.
        fits: the job may fit directions to evaluate.plus and evaluate.minus.

    Raises:
        InputError: the workdir is another run's, a network or latents cannot be loaded, or a field does not fit them.
    """
    studio = prepare_studio(config, workdir)
    assessor, generator = scoring(config.assessor), studio.generator
    distributed.refuse_other_files(assessor.sha256, "config.assessor")
    # read before any image is made
    settings, evaluate = config[group], config.evaluate
    if settings.latents:
        studio.points(settings)
    for path in filter(None, (evaluate.plus, evaluate.minus) if fits else ()):
        studio.read(path, skip_bad=evaluate.skip_bad)
    if config.assessor.calibrate:
        first, *others = assessor.terms
        images = calibration.sampled_images(generator, studio.classes, config.latents.truncation)
        assessor = Terms([first._replace(assessor=calibrated(studio.folder, first.assessor, images)), *others])
    frozen = studio.placed(Frozen(generator.state, assessor.state))
    tools = (config, studio.folder, studio.mesh, generator, studio.classes)
    return Workbench(*tools, assessor, frozen, latents_read=studio.latents_read)


def scoring(settings: configs.ConfigDict) -> Terms:
    """The assessor of assessor.weights, or those of assessor.terms.

    Raises:
        InputError: neither or both are given, or one cannot be loaded.
    """
    own = scoring_settings(settings)
    if not settings.terms:
        if not settings.weights:
            raise InputError("config.assessor.weights", "is not set", "give a model folder or embedded:NAME")
        return Terms([Term("score", networks.load_assessor(settings.weights, **own), 1.0, False)])
    if settings.weights or own:
        set_too = "weights" if settings.weights else next(iter(own))
        what = "is set beside config.assessor.terms"
        todo = "give each assessor and its settings as a term, or no terms"
        raise InputError(f"config.assessor.{set_too}", what, todo)
    if settings.calibrate:
        todo = "give terms their centre and slope, or calibrate one assessor alone"
        raise InputError("config.assessor.calibrate", "is for one assessor", todo)
    return terms.load(settings.terms)


def scoring_settings(settings: configs.ConfigDict) -> dict[str, Any]:
    """What is set of how the single assessor scores."""
    return {
        name: settings[name] for name in ("centre", "slope", "output", "output_class") if settings[name] is not None
    }


def calibrated(folder: RunFolder, assessor: networks.Assessor, images: Iterable[jax.Array]) -> networks.Assessor:
    """The run's rescaled assessor; computed at the first start.

    Raises:
        InputError: the assessor cannot be rescaled.
    """
    kept = folder.path / "assessor"
    if kept.exists():
        return networks.load_assessor(kept)
    logging.info("spreading the assessor's scores over %d generated images", calibration.IMAGES)
    return calibration.rescaled(assessor, tqdm(images, total=calibration.IMAGES // calibration.BATCH))


def new_transformer(bench: Studio) -> networks.LatentTransformer:
    """The transformer that the config describes, with initial weights from train.seed or transformer.weights.

    Raises:
        InputError: an unknown kind, direction or renorm, or weights for another generator.
    """
    settings, generator = bench.config.transformer, bench.generator
    kind = kind_named(settings.kind, "config.transformer.kind")
    if settings.weights:
        return fitting(networks.load_transformer(settings.weights), bench, settings.weights)
    if (settings.z or kind.z).strip() == (settings.y or kind.y).strip() == "none":
        raise InputError("config.transformer", "moves neither z nor y", "give z or y a direction other than none")
    config = {
        "latent_dim": generator.latent_dim,
        "num_classes": generator.num_classes,
        "z": settings.z or kind.z,
        "y": settings.y or kind.y,
        "noise_dim": settings.noise_dim,
        "noise_dim_y": settings.noise_dim_y,
        "class_reg": settings.class_reg,
        "renorm": settings.renorm,
        "num_directions": settings.num_directions or (DIRECTIONS if kind.several else None),
    }
    record = {"kind": "transformer", "config": config}
    return networks.LatentTransformer(weights.build(**record, seed=bench.config.train.seed), record)


def fitting(transformer: networks.LatentTransformer, bench: Studio, where: object) -> networks.LatentTransformer:
    """The transformer, if it moves this generator's latents.

    Raises:
        InputError: it does not.
    """
    sizes = (transformer.latent_dim, transformer.num_classes)
    needed = (bench.generator.latent_dim, bench.generator.num_classes)
    if sizes != needed:
        what = (
            f"moves {sizes[0]} latent dimensions and {sizes[1]} classes; the generator has {needed[0]} and {needed[1]}"
        )
        raise InputError(where, what, "give a transformer learned with this generator")
    return transformer
