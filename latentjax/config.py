"""Config files and command-line overrides, with bad input told in one line."""

import ast
import difflib
import hashlib
import importlib.util
import json
import pathlib
from typing import Any

from ml_collections import config_dict

from latentjax.errors import InputError

ConfigDict = config_dict.ConfigDict


def load(path: str) -> ConfigDict:
    """The config of "FILE.py" or "FILE.py:VARIANT,VARIANT", locked against new fields.

    Raises:
        InputError: no such file, not a config file, or an unknown variant.
    """
    file, _, variants = path.partition(":")
    if not pathlib.Path(file).is_file():
        raise InputError("--config", f"{file} is not there", "give a file, such as configs/demo.py")
    spec = importlib.util.spec_from_file_location("latentjax_config", file)
    if spec is None or spec.loader is None:
        raise InputError("--config", f"{file} is no Python file", "give a file, such as configs/demo.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError, ImportError) as error:
        raise InputError("--config", f"{file} cannot be loaded ({error})", "mend the file") from error
    if not hasattr(module, "get_config"):
        raise InputError("--config", f"{file} has no get_config", "give a file, such as configs/demo.py")
    return module.get_config(variants).lock()


def override(config: ConfigDict, field: str, text: str) -> None:
    """Sets one field ("train.num_steps") from the command line, in the type of its default.

    Raises:
        InputError: an unknown field, with the nearest one, or a value of the wrong type.
    """
    fields = flatten(config)
    if field not in fields:
        near = difflib.get_close_matches(field, fields, n=1, cutoff=0.0)
        raise InputError(f"--config.{field}", "is no field of this config", f"did you mean --config.{near[0]}?")
    *parents, name = field.split(".")
    for parent in parents:
        config = getattr(config, parent)
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
    except (ValueError, SyntaxError, KeyError, MemoryError, RecursionError):
        value = None
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and type(value) in (int, float, list):
        value = tuple(value) if isinstance(value, list) else (value,)
    if type(value) is not kind:
        raise InputError(flag, f"{text!r} is no {kind.__name__}", f"give a {kind.__name__}")
    return value


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Field ("train.num_steps") to value."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
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
    positive = ("train.batch_size", "train.alphas_per_latent", "train.log_every", "train.checkpoint_every")
    positive += ("checkpoints.keep", "evaluate.count", "evaluate.batch_size", "train.learning_rate")
    positive += ("transformer.class_reg",)
    fields = flatten(config)
    for field in positive:
        if not fields[field] > 0:
            raise InputError(f"config.{field}", f"is {fields[field]}", "give a positive number")
    for field in ("train.num_steps", "train.warmup_steps", "transformer.noise_dim", "train.samples_every"):
        if fields[field] < 0:
            raise InputError(f"config.{field}", f"is {fields[field]}", "give 0 or more")
    choices = {
        "platform": ("any", "cpu", "gpu", "tpu"),
        "precision": ("float32", "bfloat16"),
        "train.optimizer": ("radam", "adam"),
        "train.schedule": ("constant", "cosine"),
        "evaluate.mode": ("bigger_step",),
    }
    for field, known in choices.items():
        if fields[field] not in known:
            raise InputError(f"config.{field}", f"{fields[field]!r} is unknown", f"use one of {', '.join(known)}")
    alphas = fields["evaluate.alphas"]
    if not alphas or any(type(a) not in (int, float) or not abs(a) < 1e3 for a in alphas):
        raise InputError("config.evaluate.alphas", f"is {alphas}", "give finite numbers, such as (-0.5, 0.0, 0.5)")
    if not fields["evaluate.noise_seeds"] or any(type(s) is not int or s < 0 for s in fields["evaluate.noise_seeds"]):
        raise InputError("config.evaluate.noise_seeds", "is not a list of seeds", "give integers, such as (0, 1, 2)")
    if not set(fields["evaluate.name"]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"):
        raise InputError("config.evaluate.name", "has odd characters", "use letters, digits, '.', '_' and '-'")
