"""Values that no job can run with are refused before it starts."""

import json
import re
from typing import Any

from latentjax.config import OPTIONAL, ConfigDict, flatten
from latentjax.errors import InputError

POSITIVE = (
    "transformer.class_reg",
    "transformer.num_directions",
    "train.batch_size",
    "train.alphas_per_latent",
    "train.micro_batches",
    "train.learning_rate",
    "train.log_every",
    "train.checkpoint_every",
    "checkpoints.keep",
    "evaluate.count",
    "evaluate.batch_size",
    "evaluate.ascent_steps",
    "evaluate.ascent_step_size",
    "evaluate.arithmetic_count",
    "evaluate.components",
    "evaluate.sprite_size",
    "data.size",
    "assessor_training.num_steps",
    "assessor_training.image_size",
    "assessor_training.batch_size",
    "assessor_training.learning_rate",
    "assessor_training.log_every",
    "assessor_training.validate_every",
    "generate.count",
    "generate.shard_size",
    "generate.batch_size",
    "animate.count",
    "animate.frames_per_second",
    "animate.batch_size",
    "explore.count",
    "explore.components",
    "explore.perplexity",
    "explore.clusters",
    "explore.batch_size",
    "paper.bred",
    "paper.plain",
    "paper.fresh",
    "paper.generations",
    "paper.baseline_learning_rate",
)
NOT_NEGATIVE = (
    "transformer.noise_dim",
    "transformer.noise_dim_y",
    "train.num_steps",
    "train.angle_weight",
    "plan.price_per_chip_hour",
    "train.warmup_steps",
    "train.weight_decay",
    "train.clip_norm",
    "train.samples_every",
    "train.profile_steps",
    "data.many",
    "data.none",
    "assessor_training.warmup_steps",
    "assessor_training.weight_decay",
    "assessor_training.clip_norm",
    "assessor_training.noise",
    "assessor_training.patience",
    "assessor_training.workers",
    "assessor_training.statistics_batches",
    "animate.size",
    "explore.directions",
)
# shares below 1
SHARES = (
    "data.validation",
    "assessor_training.label_smoothing",
    "assessor_training.dropout",
    "assessor_training.drop_connect",
)
SEEDS = (
    "train.seed",
    "evaluate.seed",
    "assessor_training.seed",
    "generate.seed",
    "animate.seed",
    "explore.seed",
    "paper.seed",
)
FILM_FORMATS = ("webp", "gif", "mp4")
MOST_CLUSTERS = 24
METHODS = ("learned", "ascent", "arithmetic", "svm", "pca", "sefa", "random")
CHOICES = {
    "platform": ("any", "cpu", "gpu", "tpu"),
    "precision": ("float32", "bfloat16", "auto"),
    "train.optimizer": ("radam", "adam"),
    "train.schedule": ("constant", "cosine"),
    "train.angle_form": ("mean", "published"),
    "evaluate.mode": ("bigger_step", "iterative"),
    "evaluate.move": ("both", "z", "y"),
    "evaluate.method": METHODS,
    "evaluate.properties": ("ours", "published"),
    "evaluate.format": ("png", "jpeg"),
    "data.kind": ("image_folder", "creativity", "artbreeder_latents"),
    "data.format": ("png", "jpeg"),
    "data.balance": ("subsample", "weights", "none"),
    "assessor_training.output": ("softmax", "sigmoid", "regression"),
    "assessor_training.optimizer": ("radam", "adam"),
    "assessor_training.schedule": ("constant", "cosine"),
    "generate.format": ("png", "jpeg", "array_record"),
    "animate.kind": ("sweep", "walk"),
    "explore.of": ("z", "y", "both"),
}


def check(config: ConfigDict) -> None:
    """Refuses values that no job can run with.

    Raises:
        InputError: naming the field.
    """
    fields = flatten(config)
    for field, value in fields.items():
        if value is None and field not in OPTIONAL:
            raise InputError(f"config.{field}", "is None", "give a value")
        limit = 2**32 if field in SEEDS else 2**31
        if isinstance(value, int | float) and not abs(value) < limit:
            raise InputError(f"config.{field}", f"is {_shown(value)}", "give a finite and smaller number")
    for field in POSITIVE:
        if fields[field] is not None and not fields[field] > 0:
            raise InputError(f"config.{field}", f"is {fields[field]}", "give a positive number")
    for field in (*NOT_NEGATIVE, *SEEDS):
        if fields[field] is not None and fields[field] < 0:
            raise InputError(f"config.{field}", f"is {fields[field]}", "give 0 or more")
    for field in SHARES:
        if not 0 <= fields[field] < 1:
            raise InputError(f"config.{field}", f"is {fields[field]}", "give a share from 0 to below 1")
    for field, known in CHOICES.items():
        if fields[field] not in known:
            raise InputError(f"config.{field}", f"{fields[field]!r} is unknown", f"use one of {', '.join(known)}")
    for group in ("evaluate", "generate", "animate"):
        _check_edits(fields, group)
        _check_name(fields, group)
    _check_name(fields, "explore")
    _check_evaluation(fields)
    _check_animation(fields)
    _check_exploration(fields)
    _check_plain(fields)


def _check_plain(fields: dict[str, Any]) -> None:
    """A run's folder keeps its config as JSON."""
    for field, value in fields.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            todo = "use texts, finite numbers, True and False in it"
            raise InputError(f"config.{field}", f"is {_shown(value)}", todo) from None


def _check_evaluation(fields: dict[str, Any]) -> None:
    if not fields["evaluate.alphas"]:
        raise InputError("config.evaluate.alphas", "is empty", "give numbers, such as '(-0.5, 0.0, 0.5)'")
    if not 0 < fields["evaluate.arithmetic_share"] <= 0.5:
        raise InputError("config.evaluate.arithmetic_share", "is not in (0, 0.5]", "give a share such as 0.25")
    _check_alphas(fields, "evaluate.judged_alphas")
    method, runs = fields["evaluate.method"], fields["evaluate.runs"]
    if runs and method != "learned":
        what = f"is {method}, and config.evaluate.runs names what is compared"
        raise InputError("config.evaluate.method", what, "name it there, and leave this out")
    # "LABEL=METHOD"
    methods = {run.rpartition("=")[2] for run in runs if isinstance(run, str)} if runs else {method}
    for end in ("plus", "minus"):
        if fields[f"evaluate.{end}"] and not methods & {"arithmetic", "svm"}:
            todo = "set config.evaluate.method to one of them, or name one in config.evaluate.runs"
            raise InputError(f"config.evaluate.{end}", "is for the methods arithmetic and svm", todo)


def _check_animation(fields: dict[str, Any]) -> None:
    formats = fields["animate.formats"]
    if not formats or not set(map(str, formats)) <= set(FILM_FORMATS) or len(set(formats)) < len(formats):
        todo = f'give some of {", ".join(FILM_FORMATS)}, each once, such as \'("webp", "mp4")\''
        raise InputError("config.animate.formats", f"is {_shown(formats)}", todo)
    if fields["animate.kind"] == "sweep" and len(fields["animate.alphas"]) < 2:
        what = f"is {_shown(fields['animate.alphas'])}, and a sweep goes from one alpha to another"
        raise InputError("config.animate.alphas", what, "give two or more, such as '(-0.5, 0.5)'")
    if fields["animate.kind"] == "walk" and len(fields["animate.noise_seeds"]) > 1:
        raise InputError("config.animate.noise_seeds", "gives several, and a walk takes no noise", "give one")
    if fields["animate.frames"] < 2:
        raise InputError("config.animate.frames", f"is {fields['animate.frames']}", "give 2 or more")


def _check_exploration(fields: dict[str, Any]) -> None:
    span = fields["explore.user_images"]
    if len(span) != 2 or any(type(count) is not int for count in span) or not 0 < span[0] <= span[1]:
        todo = "give the least and the most images of a user, such as '(50, 100)'"
        raise InputError("config.explore.user_images", f"is {_shown(span)}", todo)
    if not fields["explore.clusters"] <= MOST_CLUSTERS:
        what, todo = f"is {fields['explore.clusters']}", f"give {MOST_CLUSTERS} or fewer: each is shown beside the map"
        raise InputError("config.explore.clusters", what, todo)


def _check_edits(fields: dict[str, Any], group: str) -> None:
    """What evaluate, generate and animate have in common."""
    _check_alphas(fields, f"{group}.alphas")
    seeds = fields[f"{group}.noise_seeds"]
    if not 1 <= fields.get(f"{group}.jpeg_quality", 90) <= 95:
        raise InputError(f"config.{group}.jpeg_quality", "is not in 1 to 95", "give a quality such as 90")
    if not seeds or any(type(seed) is not int or not 0 <= seed < 2**32 for seed in seeds):
        todo = "give integers from 0 to 4294967295, such as '(0, 1, 2)'"
        raise InputError(f"config.{group}.noise_seeds", f"is {_shown(seeds)}", todo)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"config.{group}.noise_seeds", f"is {_shown(seeds)}", "give each seed once")


def _check_alphas(fields: dict[str, Any], field: str) -> None:
    alphas = fields[field]
    if any(type(a) not in (int, float) or not abs(a) < 1e3 for a in alphas):
        todo = "give finite numbers, such as '(-0.5, 0.0, 0.5)'"
        raise InputError(f"config.{field}", f"is {_shown(alphas)}", todo)
    if len({round(alpha, 6) for alpha in alphas}) < len(alphas):
        raise InputError(f"config.{field}", f"is {_shown(alphas)}", "give each alpha once")


def _check_name(fields: dict[str, Any], group: str) -> None:
    """Of a folder within the run's."""
    name = fields[f"{group}.name"]
    # a leading dot could name the run folder itself
    if name and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", name):
        todo = "use up to 120 letters, digits, '_', '-', and '.' after the first"
        raise InputError(f"config.{group}.name", f"is {_shown(name)}", todo)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
