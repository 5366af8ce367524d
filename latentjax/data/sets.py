"""Prepared sets: a folder made once from what a config names, whole or not there, and read by split."""

import dataclasses
import json
import pathlib
from typing import Any

from absl import logging

from latentjax.config import ConfigDict
from latentjax.data import latent_sets, manifest, planning, writing
from latentjax.data.examples import KINDS
from latentjax.data.latent_sets import LatentPlan
from latentjax.data.planning import Plan
from latentjax.data.records import Source
from latentjax.errors import InputError
from latentjax.packages import imported_tfds


@dataclasses.dataclass(frozen=True)
class Set:
    """A prepared set.

    Attributes:
        folder: holds the TFDS files, counts.json, manifest.csv, left_out.csv and, of pictures, contact_sheet.png.
        kind: as config.data.kind.
        task: "classes", "regression", or "latents".
        names: of the classes, in label order; () where there are none.
        counts: {split: {class name: n}}; of a regression the one name is "scored", of latents "latents".
        weights: one for each class, 1 on average over the training pictures.
        sha256: of the content, whatever the order.
        settings: the fields of config.data that it was made with.
    """

    folder: pathlib.Path
    kind: str
    task: str
    names: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    weights: tuple[float, ...]
    sha256: str
    settings: dict[str, Any]

    def labels(self, split: str) -> list[float]:
        """The labels of "train" or "validation", without its pictures.

        Raises:
            InputError: the record is missing or damaged.
        """
        return [float(row.label) for row in manifest.read(self.folder).values() if row.split == split]

    def source(self, split: str) -> Source:
        """Random access to "train" or "validation".

        Records are dicts: of pictures `image` (the bytes of a PNG or JPEG), `label` (int or float), `key` and `group`;
        of latents (all in "train") `z` [Z], `y` [K] float32, `truncation` (NaN: not told), `name` and `user`.

        Raises:
            InputError: the files are missing or damaged.
        """
        return Source(self.folder / self.kind / "1.0.0", split)


def open_set(folder: pathlib.Path | str) -> Set:
    """A set that was prepared before.

    Raises:
        InputError: there is none, or its record is damaged.
    """
    folder = pathlib.Path(folder)
    file = folder / "set.json"
    if not file.is_file():
        raise InputError(folder, "is no prepared set", "prepare one with python launch.py --job=prepare")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record.pop("format") != writing.FORMAT:
            raise InputError(file, "is of another version", "prepare the set anew in another folder")
        for name in ("names", "weights"):
            record[name] = tuple(record[name])
        return Set(folder, **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(file, f"is damaged ({error!r})", "prepare the set anew in another folder") from error


def prepare(data: ConfigDict, folder: pathlib.Path | str) -> Set:
    """The set that `data` (config.data) describes, made in `folder` unless it is there; see `check`.

    Raises:
        InputError: a picture, list or field is wrong, or the folder holds something else.
    """
    return check(data, folder).finish()


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A set that is there (`ready`), or all that is needed to write it."""

    data: ConfigDict
    folder: pathlib.Path
    ready: Set | None = None
    plan: Plan | LatentPlan | None = None

    @property
    def task(self) -> str:
        """See `Set`."""
        found = self.ready or self.plan
        return found.task if isinstance(found, Set | Plan) else "latents"

    @property
    def names(self) -> tuple[str, ...]:
        """See `Set`."""
        found = self.ready or self.plan
        return found.names if isinstance(found, Set | Plan) else ()

    def finish(self) -> Set:
        """Writes the set where it is missing.

        Raises:
            InputError: it cannot be written.
        """
        if isinstance(self.plan, Plan):
            writing.write_pictures(self.plan, self.data, self.folder)
        elif isinstance(self.plan, LatentPlan):
            writing.write_latents(self.plan, self.data, self.folder)
        made = self.ready or open_set(self.folder)
        for split, counts in made.counts.items():
            logging.info("%s: %s", split, ", ".join(f"{count} {name}" for name, count in counts.items()))
        return made


def check(data: ConfigDict, folder: pathlib.Path | str) -> Preparation:
    """Looks at everything that `data` names; nothing is written.

    A set that is there is compared with what `data` names now. Where its sources are not there any more, or were
    never on this machine, it is taken as it is.

    Raises:
        InputError: a picture, list or field is wrong, the folder holds something else, or TFDS or array_record is
            missing.
    """
    folder = pathlib.Path(folder)
    if (folder / "set.json").exists():
        known = open_set(folder)
        _refuse_other(known, data)
        logging.info("%s is prepared", folder)
        return Preparation(data, folder, ready=known)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, "is no prepared set, and not empty", "name another config.data.folder")
    imported_tfds()  # before minutes of looking at pictures that could not be written
    found = planning.plan(data) if data.kind in KINDS else latent_sets.plan(data)
    return Preparation(data, folder, plan=found)


def _refuse_other(known: Set, data: ConfigDict) -> None:
    """Refuses a set that another config describes."""
    then, now = known.settings, writing.settings_of(data)
    differing = [name for name in sorted(now | then) if then.get(name) != now.get(name)]
    if differing:
        told = [f"config.data.{name} {then.get(name)!r}, not {now.get(name)!r}" for name in differing]
        todo = "name another config.data.folder, or give the same settings"
        raise InputError(known.folder, f"was prepared with {' and '.join(told)}", todo)
    named = (data.latents, data.users, data.images, data.scores, data.generated, *data.ancestors)
    if not all(pathlib.Path(source).exists() for source in named if source) or not any(named):
        logging.info("%s: its sources are not there; it is taken as it was prepared", known.folder)
    elif data.kind in KINDS:
        found = {example.key: example for example in KINDS[data.kind](data).found}
        rows = map(planning.row_of, found.values())
        manifest.refuse_other(known.folder, rows, lambda key: planning.sha256(found[key]))
    else:
        manifest.refuse_other(known.folder, latent_sets.plan(data).rows, str)
