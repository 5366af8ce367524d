"""Config files and command-line overrides, with bad input told in one line."""

import ast
import difflib
import hashlib
import json
import math
import pathlib
import re
import runpy
from typing import TYPE_CHECKING, Any

from ml_collections import config_dict

from latentjax.errors import InputError

if TYPE_CHECKING:
    ConfigDict = Any  # its fields are known when it is loaded
else:
    ConfigDict = config_dict.ConfigDict

# how the types are told to users, and an example of each
TYPES = {
    bool: ("true or false", "true"),
    int: ("a whole number", "8"),
    float: ("a finite number", "0.001"),
    tuple: ("a list of values", "'(0, 1)'"),
}

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
    "data.many",
    "data.none",
    "assessor_training.warmup_steps",
    "assessor_training.weight_decay",
    "assessor_training.clip_norm",
    "assessor_training.noise",
    "assessor_training.patience",
    "assessor_training.workers",
    "assessor_training.statistics_batches",
)
OPTIONAL = (
    "assessor.output",
    "assessor.output_class",
    "assessor.centre",
    "assessor.slope",
    "transformer.noise_dim_y",
    "transformer.num_directions",
    "assessor_training.image_size",
)
# shares below 1
SHARES = (
    "data.validation",
    "assessor_training.label_smoothing",
    "assessor_training.dropout",
    "assessor_training.drop_connect",
)
SEEDS = ("train.seed", "evaluate.seed", "assessor_training.seed", "generate.seed", "paper.seed")
CHOICES = {
    "platform": ("any", "cpu", "gpu", "tpu"),
    "precision": ("float32", "bfloat16", "auto"),
    "train.optimizer": ("radam", "adam"),
    "train.schedule": ("constant", "cosine"),
    "train.angle_form": ("mean", "published"),
    "evaluate.mode": ("bigger_step", "iterative"),
    "evaluate.move": ("both", "z", "y"),
    "evaluate.method": ("learned", "ascent", "arithmetic", "random"),
    "evaluate.format": ("png", "jpeg"),
    "data.kind": ("image_folder", "creativity", "artbreeder_latents"),
    "data.format": ("png", "jpeg"),
    "data.balance": ("subsample", "weights", "none"),
    "assessor_training.output": ("softmax", "sigmoid", "regression"),
    "assessor_training.optimizer": ("radam", "adam"),
    "assessor_training.schedule": ("constant", "cosine"),
    "generate.format": ("png", "jpeg", "array_record"),
}


def load(path: str) -> ConfigDict:
    """The config of "FILE.py" or "FILE.py:VARIANT,VARIANT", locked against new fields.

    Raises:
        InputError: no such file, not a config file, or an unknown variant.
    """
    file, _, variants = path.partition(":")
    todo = "give a file, such as configs/demo.py"
    if not pathlib.Path(file).is_file():
        raise InputError("--config", f"{file or repr(file)} is not there", todo)
    if not file.endswith(".py"):
        raise InputError("--config", f"{file} is no Python file", todo)
    try:
        # run_path, unlike an import, leaves no compiled copy beside the file that could be out of date
        names = runpy.run_path(file, run_name="latentjax_config")
        if "get_config" not in names:
            raise InputError("--config", f"{file} has no get_config", todo)
        config = names["get_config"](variants) if variants else names["get_config"]()
    except InputError:
        raise
    except Exception as error:  # the file is the user's own code
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError("--config", f"{file} cannot be loaded ({detail})", "mend it (--debug shows where)") from error
    if not isinstance(config, ConfigDict):
        raise InputError("--config", f"{file} gives no ConfigDict", "return configs.default.get_config(), changed")
    return config.lock()


def check_fields(config: ConfigDict, default: ConfigDict) -> None:
    """Refuses a config whose fields are not those of the default: a misspelt one would be set in vain.

    Raises:
        InputError: naming the field, with the nearest one.
    """
    fields, known = flatten(config), flatten(default)
    for field in fields:
        if field not in known:
            raise InputError("--config", f"sets {field}, which is no field", f"did you mean {_nearest(field, known)}?")
    for field in known:
        if field not in fields:
            raise InputError("--config", f"lacks the field {field}", "start from configs.default.get_config()")


def _nearest(field: str, fields: dict[str, Any]) -> str:
    return difflib.get_close_matches(field, fields, n=1, cutoff=0.0)[0]


def override(config: ConfigDict, field: str, text: str) -> None:
    """Sets one field ("train.num_steps") from the command line, in the type of its default.

    Raises:
        InputError: an unknown field, with the nearest one, or a value of the wrong type.
    """
    fields = flatten(config)
    if field not in fields:
        near = f"did you mean --config.{_nearest(field, fields)}?"
        raise InputError(f"--config.{field}", "is no field of this config", near)
    *parents, name = field.split(".")
    for parent in parents:
        config = getattr(config, parent)
    if field in OPTIONAL and text.lower() == "none":
        config[name] = None
        return
    config[name] = parse(text, config.get_type(name), f"--config.{field}")


def parse(text: str, kind: type, flag: str) -> Any:
    """A value of the given type from text.

    Raises:
        InputError: not one.
    """
    if kind is str:
        return text
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        value = ast.literal_eval(text)
        if kind is float and type(value) is int:
            value = float(value)
    except (ValueError, SyntaxError, KeyError, MemoryError, RecursionError, OverflowError):
        value = None
    if kind is tuple and type(value) in (int, float, dict, list):
        value = tuple(value) if isinstance(value, list) else (value,)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        words, example = TYPES[kind]
        raise InputError(flag, f"{text[:40]!r} is not {words}", f"write {flag}={example}, for example")
    return value


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Field ("train.num_steps") to value."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, config_dict.ConfigDict):
            flat |= {f"{name}.{inner}": deeper for inner, deeper in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def plain(config: ConfigDict) -> dict[str, Any]:
    """The flat config as JSON gives it back (tuples become lists)."""
    return json.loads(json.dumps(flatten(config)))


def digest(config: ConfigDict) -> str:
    """A hash of all fields, for the record."""
    return hashlib.sha256(json.dumps(plain(config), sort_keys=True).encode()).hexdigest()


def check(config: ConfigDict) -> None:
    """Refuses values that no job can run with.

    Raises:
        InputError: naming the field.
    """
    fields = flatten(config)
    for field, value in fields.items():
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
    try:
        json.dumps(fields["assessor.terms"], allow_nan=False)
    except (TypeError, ValueError):
        todo = "use texts, finite numbers, True and False in it"
        raise InputError("config.assessor.terms", f"is {_shown(fields['assessor.terms'])}", todo) from None
    _check_pictures(fields, "evaluate")
    _check_pictures(fields, "generate")
    _check_evaluation(fields)


def _check_evaluation(fields: dict[str, Any]) -> None:
    if not fields["evaluate.alphas"]:
        raise InputError("config.evaluate.alphas", "is empty", "give numbers, such as '(-0.5, 0.0, 0.5)'")
    if not 0 < fields["evaluate.arithmetic_share"] <= 0.5:
        raise InputError("config.evaluate.arithmetic_share", "is not in (0, 0.5]", "give a share such as 0.25")
    for end in ("plus", "minus"):
        if fields[f"evaluate.{end}"] and fields["evaluate.method"] != "arithmetic":
            raise InputError(
                f"config.evaluate.{end}", "is for the method arithmetic", "add --config.evaluate.method=arithmetic"
            )


def _check_pictures(fields: dict[str, Any], group: str) -> None:
    """What evaluate and generate have in common."""
    alphas, seeds, name = (fields[f"{group}.{field}"] for field in ("alphas", "noise_seeds", "name"))
    if any(type(a) not in (int, float) or not abs(a) < 1e3 for a in alphas):
        todo = "give finite numbers, such as '(-0.5, 0.0, 0.5)'"
        raise InputError(f"config.{group}.alphas", f"is {_shown(alphas)}", todo)
    if len({round(alpha, 6) for alpha in alphas}) < len(alphas):
        raise InputError(f"config.{group}.alphas", f"is {_shown(alphas)}", "give each alpha once")
    if not 1 <= fields[f"{group}.jpeg_quality"] <= 95:
        raise InputError(f"config.{group}.jpeg_quality", "is not in 1 to 95", "give a quality such as 90")
    if not seeds or any(type(seed) is not int or not 0 <= seed < 2**32 for seed in seeds):
        todo = "give integers from 0 to 4294967295, such as '(0, 1, 2)'"
        raise InputError(f"config.{group}.noise_seeds", f"is {_shown(seeds)}", todo)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"config.{group}.noise_seeds", f"is {_shown(seeds)}", "give each seed once")
    # a leading dot could name the run folder itself
    if name and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}", name):
        todo = "use up to 120 letters, digits, '_', '-', and '.' after the first"
        raise InputError(f"config.{group}.name", f"is {_shown(name)}", todo)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
