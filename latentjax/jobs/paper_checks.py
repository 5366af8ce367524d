"""What is refused before a whole paper's run begins: what one of its stages would refuse hours later."""

import pathlib

from latentjax import class_vectors, distributed, latents, networks
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs import methods, students, train
from latentjax.transformers import kind_named

OWN_IMAGES = "is set, and this job names and makes its own images"


def check_settings(config: ConfigDict) -> None:
    """Refuses settings that the run has no use for, or that do not fit together.

    Raises:
        InputError: naming the field.
    """
    if not config.generator.weights:
        raise InputError("config.generator.weights", "is not set", "give a model folder or embedded:NAME")
    if config.assessor.terms:
        raise InputError("config.assessor.terms", "is set, and this job trains its one assessor", "leave it out")
    if config.assessor_training.output == "regression":
        raise InputError("config.assessor_training.output", "is regression, and there are two classes", "give softmax")
    if config.assessor.calibrate and config.assessor_training.output == "sigmoid":
        todo = "give config.assessor_training.output=softmax, or do not calibrate"
        raise InputError("config.assessor.calibrate", "cannot spread a sigmoid score", todo)
    if config.evaluate.method != "learned":
        raise InputError("config.evaluate.method", f"is {config.evaluate.method}, and a map is learned", "leave it out")
    if config.evaluate.move == "y":
        raise InputError("config.evaluate.move", "is y, and the one direction moves z alone", "give both or z")
    if kind_named(config.transformer.kind, "config.transformer.kind").several or config.transformer.num_directions:
        raise InputError("config.transformer", "has several directions, and one map is learned", "give another kind")
    if len(config.evaluate.noise_seeds) > 1:
        raise InputError("config.evaluate.noise_seeds", "gives several, and one direction takes no noise", "give one")
    if config.data.generated and not config.data.images:
        raise InputError("config.data.generated", "is set without config.data.images", "give both or neither")
    if config.data.images and not config.data.ancestors:
        raise InputError("config.data.ancestors", "is not set", "give lists of keys and their ancestors, as ('a.txt',)")
    for name in ("name", "latents", "alphas"):
        if config.generate[name]:
            raise InputError(f"config.generate.{name}", OWN_IMAGES, "leave it out")
    if config.generate.format != "png":
        raise InputError("config.generate.format", OWN_IMAGES, "leave it out")
    methods.check_noise_seeds(config.generate.noise_seeds, None, "config.generate.noise_seeds")
    latents.check_truncation(config.latents.truncation)


def check_training(config: ConfigDict) -> None:
    """Refuses what the assessor or the map could not be trained with.

    Args:
        config: the assessor's; what it says of the map is the run's.

    Raises:
        InputError: naming the field.
    """
    students.check_settings(config)
    students.starting_weights(config)
    mesh = distributed.data_mesh()
    distributed.check_divisible(config.assessor_training.batch_size, mesh, "config.assessor_training.batch_size")
    train.check_batch(config.train, mesh)


def check_inputs(config: ConfigDict, prepared: pathlib.Path, generator: networks.Generator) -> None:
    """Refuses files that are missing or do not fit, where a crowd's own pictures are given.

    Args:
        config: of the run.
        prepared: where its set will be unless data.folder is set; what is prepared there needs no sources any more.
        generator: of the run.

    Raises:
        InputError: naming the field, or the file that does not fit.
    """
    sizes, settings, data = (generator.latent_dim, generator.num_classes), config.evaluate, config.data
    class_vectors.parse(config.latents.classes, generator.num_classes)
    if settings.latents:
        latents.read(settings.latents, *sizes, skip_bad=settings.skip_bad)
    folder = pathlib.Path(data.folder) if data.folder else prepared
    if (folder / "set.json").exists():
        return
    named = [("images", data.images), ("generated", data.generated), *(("ancestors", file) for file in data.ancestors)]
    for name, path in named:
        if path and not pathlib.Path(path).exists():
            raise InputError(f"config.data.{name}", f"{path} is not there", "give another, or mend the path")
