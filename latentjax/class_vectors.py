"""Class vectors y: one-hot, mixtures of a few classes, or independent normals fitted on latents, as in the paper.

python -m latentjax.class_vectors FOLDER FILE fits the normals; --config.latents.classes=artbreeder:FILE draws them.
"""

import abc
import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from latentjax import artbreeder, command_line, files
from latentjax.errors import InputError

FORMAT = "latentjax-classes-1"
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_SETTINGS = 'give "onehot", "mixture:N", either for some classes as in "onehot:3,7,9", or "artbreeder:FILE"'
_FIT = "fit one with python -m latentjax.class_vectors FOLDER FILE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassVectors(abc.ABC):
    """How y is drawn; hashable, to be a static argument of jit.

    Attributes:
        num_classes: K.
        sha256: hex digest of the file that the draws are fitted by; "" without one.
    """

    num_classes: int
    sha256: str = ""

    @abc.abstractmethod
    def sample(self, key: jax.Array, batch: int) -> jax.Array:
        """Draws y [batch, K] float32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneHot(ClassVectors):
    """One-hot rows of labels uniform over `labels`; no columns where there are no labels."""

    labels: tuple[int, ...]

    def sample(self, key: jax.Array, batch: int) -> jax.Array:
        if not self.labels:
            return jnp.zeros((batch, 0), jnp.float32)
        labels = jax.random.choice(key, jnp.asarray(self.labels, jnp.int32), (batch,))
        return jax.nn.one_hot(labels, self.num_classes, dtype=jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture(ClassVectors):
    """Rows of `count` distinct classes of `labels`, with weights above 0 that are uniform on the simplex."""

    labels: tuple[int, ...]
    count: int

    def sample(self, key: jax.Array, batch: int) -> jax.Array:
        key_weights, key_places = jax.random.split(key)
        # exponentials divided by their sum are Dirichlet(1, ..., 1); a uniform of 0 would have no logarithm
        uniform = jax.random.uniform(key_weights, (batch, self.count), jnp.float32, minval=_SMALLEST)
        exponential = -jnp.log(uniform)
        weights = exponential / jnp.sum(exponential, axis=1, keepdims=True)
        weights = jnp.pad(weights, ((0, 0), (0, len(self.labels) - self.count)))
        placed = jax.random.permutation(key_places, weights, axis=1, independent=True)
        return jnp.zeros((batch, self.num_classes), jnp.float32).at[:, np.array(self.labels)].set(placed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normal(ClassVectors):
    """Rows of independent normals, one a class.

    Attributes:
        mean, std: [K] float64; the file's sha256 stands for them where two are compared.
    """

    mean: np.ndarray = dataclasses.field(compare=False, repr=False)
    std: np.ndarray = dataclasses.field(compare=False, repr=False)

    def sample(self, key: jax.Array, batch: int) -> jax.Array:
        normal = jax.random.normal(key, (batch, self.num_classes), jnp.float32)
        return jnp.asarray(self.mean, jnp.float32) + jnp.asarray(self.std, jnp.float32) * normal


def parse(setting: str | ClassVectors, num_classes: int) -> ClassVectors:
    """Returns what a setting stands for; what is parsed already is returned as it is.

    Args:
        setting: "onehot", "mixture:N" (N classes a row), or "artbreeder:FILE" (a file that `write` wrote). The
            first two draw from all classes, or as "onehot:3,7,9" and "mixture:N:3,7,9" from those listed.
        num_classes: K; labels are 0 to K - 1.

    Raises:
        InputError: naming the field ``latents.classes``, for any other setting, labels that are out of range,
            doubled or no integers, N outside 1 to the number of classes, and a file that does not fit.
    """
    if isinstance(setting, ClassVectors):
        return setting
    everything = tuple(range(num_classes))
    if setting == "onehot":
        return OneHot(num_classes=num_classes, labels=everything)
    kind, colon, rest = setting.partition(":") if isinstance(setting, str) else ("", "", "")
    if kind == "onehot" and colon:
        return OneHot(num_classes=num_classes, labels=_labels(rest, num_classes))
    if kind == "mixture" and colon:
        number, colon, listed = rest.partition(":")
        count, labels = _integer(number, "the number of classes"), _labels(listed, num_classes) if colon else everything
        if not 1 <= count <= len(labels):
            raise _refused(f"is to mix {count} of {len(labels)} classes")
        return Mixture(num_classes=num_classes, labels=labels, count=count)
    if kind == "artbreeder" and rest:
        return _read(rest, num_classes)
    raise _refused(f"is {setting!r}, which is no setting")


def sample_y(key: jax.Array, batch: int, num_classes: int, classes: str | ClassVectors = "onehot") -> jax.Array:
    """Draws y [batch, num_classes] float32; a generator without classes (num_classes 0) gets y [batch, 0].

    Raises:
        InputError: for a setting that `parse` refuses.
    """
    return parse(classes, num_classes).sample(key, batch)


def fit(latents: Sequence[artbreeder.Latent]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each class weight over some latents: [K] float64 each."""
    y = artbreeder.stacked(latents)[1].astype(np.float64)
    return y.mean(axis=0), y.std(axis=0)


def write(file: os.PathLike | str, latents: Sequence[artbreeder.Latent]) -> None:
    """Writes the normals fitted on some latents as the file of "artbreeder:FILE"."""
    mean, std = fit(latents)
    content = {"format": FORMAT, "latents": len(latents), "mean": mean.tolist(), "std": std.tolist()}
    files.write_json(file, content)


def command(arguments: list[str]) -> None:
    """Parses the command line, fits the normals and writes them."""
    description = "Fits mean and standard deviation of every class weight on Artbreeder latents."
    parser = command_line.Parser(prog="python -m latentjax.class_vectors", description=description)
    parser.add_argument("folder", metavar="FOLDER", help="latents in Artbreeder's JSON: a folder, or one file")
    parser.add_argument("file", metavar="FILE", help="the JSON to write; must not exist")
    parser.add_argument("--latent-dim", type=_positive, default=128, help="numbers in a latent (default 128)")
    parser.add_argument("--num-classes", type=_positive, default=1000, help="classes of the generator (default 1000)")
    parser.add_argument("--skip-bad", action="store_true", help="go on without latent files that are wrong")
    flags = parser.parse_args(arguments)
    out = pathlib.Path(flags.file)
    files.refuse_existing(flags.file, "file")
    if out.parent.resolve() == pathlib.Path(flags.folder).resolve():
        raise InputError(flags.file, "would be taken for a latent there", "name a file in another folder")
    latents = artbreeder.read(flags.folder, flags.latent_dim, flags.num_classes, skip_bad=flags.skip_bad)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(out, latents)
    except OSError as error:
        raise InputError(flags.file, f"cannot be written ({error.strerror})", "name a file you can write") from error
    flag = shlex.quote(f"--config.latents.classes=artbreeder:{out}")
    print(f"{out}: {flags.num_classes} classes fitted on {len(latents)} latents; draw them with {flag}")


def _refused(what: str, todo: str = _SETTINGS) -> InputError:
    return InputError("config.latents.classes", what, todo)


def _labels(listed: str, num_classes: int) -> tuple[int, ...]:
    """The labels of "3,7,9", in their order."""
    labels: list[int] = []
    for word in listed.split(","):
        label = _integer(word, "a class")
        if label >= num_classes:
            raise _refused(f"has the class {label}, but the generator has {num_classes}, counted from 0")
        if label in labels:
            raise _refused(f"lists the class {label} twice")
        labels.append(label)
    return tuple(labels)


def _integer(word: str, due: str) -> int:
    """An integer from 0 to 999,999,999."""
    word = word.strip()
    # int() alone would take "1_0", "+3" and other scripts' digits, and fail on thousands of digits
    if not (word.isascii() and word.isdigit()) or len(word) > 9:
        raise _refused(f"has {word[:20]!r} where {due} is due")
    return int(word)


def _read(path: str, num_classes: int) -> Normal:
    """The normals in a file that `write` wrote."""

    def refused(what: str) -> InputError:
        return _refused(f"names {path!r}, which {what}", _FIT)

    if not os.path.isfile(path):
        raise refused("is not there, or no file")
    try:
        data = pathlib.Path(path).read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise refused(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        raise refused("is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise refused(f"is not of the format {FORMAT}")
    mean, std = _numbers(content.get("mean"), -_LARGEST), _numbers(content.get("std"), 0.0)
    if mean is None or std is None or len(mean) != len(std):
        raise refused("is damaged")
    if len(mean) != num_classes:
        raise refused(f"is of {len(mean)} classes, but the generator has {num_classes}")
    return Normal(num_classes=num_classes, sha256=hashlib.sha256(data).hexdigest(), mean=mean, std=std)


def _numbers(values: object, low: float) -> np.ndarray | None:
    """Float64 of a parsed JSON array of numbers from `low` up that float32 holds (NaN and true are none), or None."""
    if not isinstance(values, list) or not values:
        return None
    if not all(type(x) in (int, float) and low <= x <= _LARGEST for x in values):
        return None
    return np.array(values, np.float64)


def _positive(text: str) -> int:
    """A flag's positive integer."""
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


if __name__ == "__main__":
    sys.exit(command_line.run(command))
