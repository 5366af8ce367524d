"""Pictures, lists and folders to prepare small sets from, and what such a set holds."""

import csv
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs import default
from latentjax import data
from latentjax.errors import InputError


def picture(seed: int) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(np.kron(levels, np.ones((4, 4, 1), np.uint8)))


def fill(folder: pathlib.Path, names: Iterable[str], first: int = 0) -> pathlib.Path:
    for seed, name in enumerate(names, first):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    return folder


def config(**fields):
    """config.data, locked; small pictures."""
    c: Any = default.get_config().data
    c.update({"size": 8, **fields})
    return c.lock()


def crowd(root: pathlib.Path, many: int = 12, none: int = 8, generated: int = 8) -> dict:
    """A creativity set's sources: `many` with 101 and more ancestors, `none` without, some generated."""
    counts = {f"m{i:03d}": 101 + i for i in range(many)} | {f"n{i:03d}": 0 for i in range(none)}
    fill(root / "images", (f"{'sub/' if i % 2 else ''}{key}.png" for i, key in enumerate(counts)))
    (root / "list.txt").write_text("".join(f"{key} {count}\n" for key, count in counts.items()))
    fill(root / "generated", (f"0000{i % 2}/g{i:03d}.png" for i in range(generated)), first=1000)
    (root / "generated" / "manifest.jsonl").write_text("{}\n")
    return {
        "kind": "creativity",
        "images": str(root / "images"),
        "ancestors": (str(root / "list.txt"),),
        "generated": str(root / "generated"),
        "validation": 0.3,
    }


def classes(root: pathlib.Path, **counts: int) -> dict:
    """An image folder's sources: so many pictures in each class's folder."""
    for first, (name, count) in enumerate(counts.items()):
        fill(root / "images", (f"{name}/{i:03d}.png" for i in range(count)), first * 1000)
    return {"images": str(root / "images"), "validation": 0.3}


def records(examples: data.Set) -> dict[str, dict]:
    """Key to record with its split."""
    return {
        record["key"]: record | {"split": split}
        for split in ("train", "validation")
        for record in examples.source(split)
    }


def left_out(folder: pathlib.Path) -> dict[str, str]:
    with open(folder / "left_out.csv", newline="") as stream:
        return dict(list(csv.reader(stream))[1:])


def refusal(folder: pathlib.Path, **fields) -> str:
    """Why these fields are refused; nothing may be written."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        data.prepare(config(**fields), folder)
    assert sorted(folder.parent.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)
