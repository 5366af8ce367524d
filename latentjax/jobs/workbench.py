"""What every job works with: the run folder, the mesh, and the networks as a config names them."""

import functools
import logging as std_logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags, logging
from tqdm import tqdm

from latentjax import calibration, distributed, embedded, latents, networks, weights
from latentjax import config as configs
from latentjax.errors import InputError
from latentjax.objective import Frozen, Networks
from latentjax.run_folder import RunFolder
from latentjax.transformers import KINDS


class Workbench(NamedTuple):
    """A job's tools, ready for use."""

    config: configs.ConfigDict
    folder: RunFolder
    mesh: jax.sharding.Mesh
    generator: networks.Generator
    assessor: networks.Assessor
    frozen: Frozen  # on the devices, in the precision asked for

    def create(self) -> None:
        """Makes the run folder; a rescaled assessor is kept in it.

        Raises:
            InputError: it cannot be written.
        """
        self.folder.create()
        kept = self.folder.path / "assessor"
        if self.config.assessor.calibrate and not kept.exists():
            arrays = weights.named(jax.device_get(self.assessor.state))
            weights.save(kept, arrays, self.assessor.kind, self.assessor.config, self.assessor.source)

    def networks(self, transformer: networks.LatentTransformer) -> Networks:
        """The three networks as pure functions."""
        apply = self.generator.apply
        if self.config.precision == "bfloat16":
            apply = functools.partial(in_bfloat16, self.generator)
        return Networks(apply, self.assessor.apply, transformer.apply)


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
    # Orbax tells of every file it touches
    logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)
    # JAX tells of every platform it does not find
    std_logging.getLogger("jax").setLevel("WARNING")
    distributed.start(config.platform)
    # also under bfloat16: it is the generator's alone
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_compilation_cache_dir", str(embedded.cache_folder() / "compiled"))


def prepare(config: configs.ConfigDict, workdir: str) -> Workbench:
    """Starts the runtime and loads generator and assessor; nothing is written yet.

    Raises:
        InputError: the workdir is another run's, a network cannot be loaded, or a field does not fit them.
    """
    folder = RunFolder(workdir, config)
    start(config)
    for field in ("generator", "assessor"):
        if not getattr(config, field).weights:
            raise InputError(f"config.{field}.weights", "is not set", "give a model folder or embedded:NAME")
    generator = networks.load_generator(config.generator.weights)
    settings = {name: config.assessor[name] for name in ("centre", "slope") if config.assessor[name] is not None}
    assessor = networks.load_assessor(config.assessor.weights, **settings)
    latents.check_classes(config.latents.classes, generator.num_classes)
    latents.check_truncation(config.latents.truncation)
    mesh = distributed.data_mesh()
    kinds = ", ".join(sorted({device.device_kind for device in mesh.devices.flat}))
    logging.info("%d device(s): %s", mesh.size, kinds)
    if config.assessor.calibrate:
        assessor = calibrated(folder, generator, assessor)
    frozen = Frozen(generator.state, assessor.state)
    if config.precision == "bfloat16":
        frozen = frozen._replace(generator=to_bfloat16(frozen.generator))
    frozen = jax.device_put(frozen, distributed.replicated(mesh))
    return Workbench(config, folder, mesh, generator, assessor, frozen)


def calibrated(folder: RunFolder, generator: networks.Generator, assessor: networks.Assessor) -> networks.Assessor:
    """The run's rescaled assessor; computed at the first start.

    Raises:
        InputError: the assessor cannot be rescaled.
    """
    kept = folder.path / "assessor"
    if kept.exists():
        return networks.load_assessor(kept)
    logging.info("rescaling the assessor's head on %d generated images", calibration.IMAGES)
    batches = tqdm(calibration.sampled_images(generator), total=calibration.IMAGES // calibration.BATCH)
    return calibration.rescaled(assessor, batches)


def to_bfloat16(state: Any) -> Any:
    """A generator's weights in bfloat16, but for its norms'."""

    def cast(path: Any, leaf: jax.Array) -> jax.Array:
        return leaf if "norm" in jax.tree_util.keystr(path) else leaf.astype(jnp.bfloat16)

    return jax.tree_util.tree_map_with_path(cast, state)


def in_bfloat16(generator: networks.Generator, state: Any, z: jax.Array, y: jax.Array) -> jax.Array:
    """G with bfloat16 weights and activations; the images are float32."""
    return generator.apply(state, z.astype(jnp.bfloat16), y.astype(jnp.bfloat16))


def new_transformer(bench: Workbench) -> networks.LatentTransformer:
    """The transformer that the config describes, with initial weights from train.seed or transformer.weights.

    Raises:
        InputError: an unknown kind, direction or renorm, or weights for another generator.
    """
    settings, generator = bench.config.transformer, bench.generator
    if settings.weights:
        return fitting(networks.load_transformer(settings.weights), bench, settings.weights)
    if settings.kind not in KINDS:
        known = ", ".join(KINDS)
        raise InputError("config.transformer.kind", f"{settings.kind!r} is unknown", f"use one of {known}")
    kind = KINDS[settings.kind]
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
    }
    record = {"kind": "transformer", "config": config}
    return networks.LatentTransformer(weights.build(**record, seed=bench.config.train.seed), record)


def fitting(transformer: networks.LatentTransformer, bench: Workbench, where: object) -> networks.LatentTransformer:
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
