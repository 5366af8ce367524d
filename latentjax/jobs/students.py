"""The assessor that is to learn: its network, its first weights and how it is taught, as a config says."""

from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from latentjax import data, networks, weights
from latentjax.assessor_objective import Recipe
from latentjax.assessors.efficientnet import VARIANTS
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.run_folder import RunFolder


class Student(NamedTuple):
    """An assessor that learns.

    Attributes:
        config: of the network, as in model.json; its output is what is taught.
        training, inference: the definition of the network in either mode.
        measuring: likewise, with the statistics of the batch in place of the running ones.
        params, statistics: its weights before the first step.
        recipe: how it is taught.
        sha256: of the weights that it starts from; empty for random ones.
    """

    config: dict[str, Any]
    training: Any
    inference: Any
    measuring: Any
    params: Any
    statistics: Any
    recipe: Recipe
    sha256: str


class Lesson(NamedTuple):
    """The job's tools."""

    config: ConfigDict
    folder: RunFolder
    mesh: jax.sharding.Mesh
    examples: data.Set
    student: Student

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.student.config["image_size"]


def network_config(config: ConfigDict, start: networks.Assessor | None, outputs: int) -> dict[str, Any]:
    """The settings of the EfficientNet to train: those of the weights that it starts from, or of a variant."""
    settings = config.assessor_training
    if start is None:
        variant = settings.variant
        known = {"variant": variant, "image_size": VARIANTS[variant][2]}
    else:
        scores = ("output", "output_class", "centre", "slope")
        known = {name: value for name, value in start.config.items() if name not in scores}
    size = {"image_size": settings.image_size} if settings.image_size else {}
    scored = {} if config.assessor.output_class is None else {"output_class": config.assessor.output_class}
    return known | size | {"num_classes": outputs, "output": settings.output, **scored}


def starting_weights(config: ConfigDict) -> networks.Assessor | None:
    """The EfficientNet of assessor.weights; None where training starts from scratch.

    Raises:
        InputError: it is none, cannot be loaded, or the variant to start from scratch is unknown.
    """
    settings, name = config.assessor_training, config.assessor.weights
    if settings.variant not in VARIANTS:
        what = f"{settings.variant!r} is unknown"
        raise InputError("config.assessor_training.variant", what, f"use one of {', '.join(VARIANTS)}")
    if not name:
        return None
    assessor = networks.load_assessor(name)
    if assessor.kind != "efficientnet":
        todo = "give a folder of an EfficientNet or embedded:lite0, or leave it out to start from scratch"
        raise InputError("config.assessor.weights", f"{name} is no network that could learn", todo)
    return assessor


def new_student(config: ConfigDict, examples: data.Set, start: networks.Assessor | None) -> Student:
    """The assessor before the first step, sized for the labels of the data; a head that does not fit is made anew.

    Raises:
        InputError: all numbers that are to be predicted are the same, or the norms would see one pixel.
    """
    settings = config.assessor_training
    outputs = len(examples.names) if settings.output == "softmax" else 1
    network = network_config(config, start, outputs)
    if settings.batch_size == 1 and network["image_size"] <= 32:
        what = "is 1, and images of 32 pixels leave norms one pixel, which has no variance"
        raise InputError("config.assessor_training.batch_size", what, "give 2 or more")
    centre, deviation = spread_of_labels(examples) if settings.output == "regression" else (0.0, 1.0)
    if settings.output == "regression":
        network |= {"centre": -centre / deviation, "slope": deviation}  # the score is the label in its own unit
    arrays = weights.named(nnx.state(weights.build("efficientnet", network, seed=settings.seed)))
    if start is not None:
        kept = weights.named(start.state)
        arrays |= {path: array for path, array in kept.items() if array.shape == arrays[path].shape}
    module = weights.abstract("efficientnet", network)
    weights.fill(module, arrays)
    inference, params, statistics = nnx.split(module, nnx.Param, nnx.BatchStat)
    module.train()
    recipe = Recipe(
        settings.output,
        module.mean,  # pyright: ignore[reportAttributeAccessIssue]
        module.std,  # pyright: ignore[reportAttributeAccessIssue]
        examples.weights if config.data.balance == "weights" else (),
        centre,
        deviation,
        *(settings[name] for name in ("label_smoothing", "noise", "flip", "dropout", "drop_connect")),
    )
    training = nnx.graphdef(module)
    module.train(momentum=0.0)
    sha256 = start.sha256 if start else ""
    return Student(network, training, inference, nnx.graphdef(module), params, statistics, recipe, sha256)


def check_settings(config: ConfigDict) -> None:
    """Refuses what no data could be learned with, and settings that would be without effect.

    Raises:
        InputError: naming the field.
    """
    if idle := [name for name in ("output", "centre", "slope", "terms") if config.assessor[name]]:
        todo = "leave it out; config.assessor_training.output says what is taught"
        raise InputError(f"config.assessor.{idle[0]}", "is for an assessor that is trained already", todo)
    if config.data.kind == "artbreeder_latents":
        raise InputError("config.data.kind", "is artbreeder_latents, which has no pictures", "give one with pictures")
    if not config.data.validation:
        what = "is 0, and the best weights are chosen by the validation pictures"
        raise InputError("config.data.validation", what, "give a share such as 0.2")


def check_output(output: str, preparation: data.Preparation) -> None:
    """Refuses an output that does not fit the labels.

    Raises:
        InputError: it does not.
    """
    field = "config.assessor_training.output"
    if (output == "regression") != (preparation.task == "regression"):
        labels = "numbers" if preparation.task == "regression" else "classes"
        todo = "give regression" if labels == "numbers" else "give softmax or sigmoid"
        raise InputError(field, f"is {output}, and the pictures' labels are {labels}", todo)
    if output == "sigmoid" and len(preparation.names) != 2:
        raise InputError(field, f"is sigmoid, and there are {len(preparation.names)} classes", "give softmax")


def spread_of_labels(examples: data.Set) -> tuple[float, float]:
    """Mean and standard deviation of the training labels.

    Raises:
        InputError: they are all the same.
    """
    labels = np.array(examples.labels("train"))
    if not labels.std() > 0:
        raise InputError(examples.folder, "has the same number for all pictures", "give scores that differ")
    return float(labels.mean()), float(labels.std())
