"""The folder of a prepared set: TFDS files, and beside them what people read and the next start compares."""

import collections
import functools
import hashlib
import io
import itertools
import json
import math
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

from absl import logging
from PIL import Image
from tqdm import tqdm

from latentjax import pictures
from latentjax.config import ConfigDict
from latentjax.data import contact_sheet, images, manifest
from latentjax.data.examples import CREATIVITY_GROUPS, Example
from latentjax.data.latent_sets import LatentPlan
from latentjax.data.planning import Plan
from latentjax.files import staged, write_json, write_text
from latentjax.overlap import in_threads

FORMAT = 1
# records in a file: TFDS holds one file's in memory while it writes them
SHARD, LATENTS_SHARD = 256, 4096
QUALITY = 95  # of a JPEG
COMPRESS_LEVEL = 3  # of a PNG: half the time of the default, a twentieth more bytes
SETTINGS = {
    "creativity": ("size", "format", "validation", "balance", "many", "none"),
    "image_folder": ("size", "format", "validation", "balance"),
    "artbreeder_latents": (),
}


def settings_of(data: ConfigDict) -> dict[str, Any]:
    """What a set depends on, beside its sources."""
    return {"kind": data.kind} | {name: data[name] for name in SETTINGS[data.kind]}


def write_pictures(plan: Plan, data: ConfigDict, folder: pathlib.Path) -> None:
    """Writes a set of pictures: the folder is whole or not there.

    Raises:
        InputError: it cannot be written, or a picture has changed for the worse since it was looked at.
    """
    from latentjax.data import builders

    examples = list(itertools.chain(*plan.splits.values()))
    captions = CREATIVITY_GROUPS if data.kind == "creativity" else {name: name for name in plan.names}
    rows = contact_sheet.choose(examples, captions)
    writing = _Writing(data, {example.key for row in rows.values() for example in row})
    _remove_leftovers(folder)
    with staged(folder) as temporary, images.large_ones_welcome(), tqdm(total=len(examples), unit=" pictures") as bar:
        shards = {split: writing.shards(split, members, bar) for split, members in plan.splits.items() if members}
        builders.PICTURES[data.kind](plan.names, data.format, shards, data_dir=temporary).write()
        sheet = contact_sheet.draw(rows, writing.thumbnails, f"{len(examples)} pictures")
        pictures.save(sheet, temporary / "contact_sheet.png")
        facts = {"task": plan.task, "names": plan.names, "weights": plan.weights, "sha256": writing.sha256}
        groups = {split: collections.Counter(e.group for e in members) for split, members in plan.splits.items()}
        classes = {split: _by_class(members, plan.names) for split, members in plan.splits.items()}
        _write_records(data, temporary, facts | {"counts": classes}, plan, {"groups": groups})
    logging.info("look at %s", folder / "contact_sheet.png")


def write_latents(plan: LatentPlan, data: ConfigDict, folder: pathlib.Path) -> None:
    """Writes a set of latents: the folder is whole or not there.

    Raises:
        InputError: it cannot be written.
    """
    from latentjax.data import builders

    latents, users = plan.latents, plan.users

    def records(start: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for latent in latents[start : start + LATENTS_SHARD]:
            truncation = math.nan if latent.truncation is None else latent.truncation
            told = {"truncation": truncation, "name": latent.name, "user": users.get(latent.name, "")}
            yield latent.name, {"z": latent.z, "y": latent.y, **told}

    shards = {"train": [functools.partial(records, start) for start in range(0, len(latents), LATENTS_SHARD)]}
    lines = [json.dumps([row.key, row.group, row.sha256]) + "\n" for row in plan.rows]
    counts = {"train": {"latents": len(latents)}}
    facts = {"task": "latents", "names": (), "weights": (), "sha256": _digest(lines), "counts": counts}
    _remove_leftovers(folder)
    with staged(folder) as temporary:
        builders.ArtbreederLatents(len(latents[0].z), len(latents[0].y), shards, data_dir=temporary).write()
        _write_records(data, temporary, facts, plan, {"users": len(set(users.values()))})


def _remove_leftovers(folder: pathlib.Path) -> None:
    """Removes what `staged` left beside a set's folder where a process was killed; it may be as large as the set."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.[a-z0-9_]{{8}}")
    for path in folder.parent.glob(".*"):
        # only a staged folder is for its owner alone: it is opened to others when it is whole
        if name.fullmatch(path.name) and path.is_dir() and path.lstat().st_mode & 0o777 == 0o700:
            logging.info("removing %s, which a killed process left", path)
            shutil.rmtree(path, ignore_errors=True)


def _digest(lines: list[str]) -> str:
    """Of lines, whatever their order."""
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _by_class(members: list[Example], names: tuple[str, ...]) -> dict[str, int]:
    if not names:
        return {"scored": len(members)}
    counts = collections.Counter(example.label for example in members)
    return {name: counts[label] for label, name in enumerate(names)}


def _write_records(
    data: ConfigDict,
    folder: pathlib.Path,
    facts: dict[str, Any],
    plan: Plan | LatentPlan,
    more: dict[str, Any],
) -> None:
    """The files beside the TFDS files: what people read, and what the next start compares."""
    reasons = collections.Counter(why.partition(":")[0] for _, why in plan.left_out)
    for reason, count in reasons.items():
        logging.info("left out, %s: %d", reason, count)
    manifest.write(folder, plan.rows)
    write_text(folder / "left_out.csv", manifest.table(("file", "why"), plan.left_out))
    counts = {"classes": facts["counts"], **more, "left_out": reasons}
    write_json(folder / "counts.json", counts | {name: facts[name] for name in ("weights", "sha256")})
    write_json(folder / "set.json", {"format": FORMAT, "kind": data.kind, **facts, "settings": settings_of(data)})


class _Writing:
    """Encodes pictures on their way into the shards, and keeps what is told of all of them.

    Args:
        data: config.data.
        shown: keys of the pictures on the contact sheet.
    """

    def __init__(self, data: ConfigDict, shown: set[str]):
        self._data, self._shown = data, shown
        self._lines: list[str] = []
        self.thumbnails: dict[str, Image.Image] = {}

    @property
    def sha256(self) -> str:
        """Of all that was written, in the order of its lines."""
        return _digest(self._lines)

    def shards(self, split: str, members: list[Example], bar: tqdm) -> list[Any]:
        """Functions that give the (key, record) of a shard each, to be called one after another."""
        records = self._records(split, members, bar)
        return [functools.partial(itertools.islice, records, SHARD) for _ in range(0, len(members), SHARD)]

    def _records(self, split: str, members: list[Example], bar: tqdm) -> Iterator[tuple[str, dict[str, Any]]]:
        bar.set_description(f"write {split}")
        encoded = in_threads(self._encode, zip(members), images.AHEAD)
        for example, data in zip(members, encoded, strict=True):
            digest = hashlib.sha256(data).hexdigest()
            self._lines.append(json.dumps([split, example.key, example.label, example.group, digest]) + "\n")
            bar.update()
            told = {"label": example.label, "key": example.key, "group": example.group}
            yield example.key, {"image": io.BytesIO(data), **told}

    def _encode(self, example: Example) -> bytes:
        image = images.read(example.open(), example.where, self._data.size)
        if example.key in self._shown:
            self.thumbnails[example.key] = contact_sheet.thumbnail(image)
        return pictures.encoded(image, self._data.format, QUALITY, COMPRESS_LEVEL)
