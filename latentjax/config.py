"""Config files and command-line overrides, with bad input told in one line."""

import ast
import difflib
import hashlib
import json
import math
import pathlib
import runpy
from typing import TYPE_CHECKING, Any

from ml_collections import config_dict

from latentjax.errors import InputError
from latentjax.files import read_json

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

# may be None
OPTIONAL = (
    "assessor.output",
    "assessor.output_class",
    "assessor.centre",
    "assessor.slope",
    "transformer.noise_dim_y",
    "transformer.num_directions",
    "assessor_training.image_size",
)


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


def of_run(workdir: str, config: ConfigDict) -> ConfigDict:
    """The config of an earlier start in a run folder, locked against new fields.

    Args:
        workdir: the run folder.
        config: all fields with their defaults; it is changed.

    Raises:
        InputError: nothing was started there, or its config is damaged, or sets what is no field or of another type.
    """
    file = pathlib.Path(workdir) / "config.json"
    if not workdir or not file.exists():
        raise InputError("--config", "is missing", "give a config file, such as configs/demo.py")
    try:
        known = dict(read_json(file)["config"])
        fields = flatten(config)
        if unknown := [name for name in known if name not in fields]:
            raise InputError(file, f"sets {unknown[0]!r:.60}, which is no field", "give --config")
        config.update_from_flattened_dict({name: tuples(value) for name, value in known.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(file, f"gives no config ({error!r:.200})", "give --config") from error
    return config.lock()


def tuples(value: Any) -> Any:
    """JSON's lists as a config has them."""
    return tuple(tuples(each) for each in value) if isinstance(value, list) else value


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
