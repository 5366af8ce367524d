"""Which pictures a config names, and their labels."""

import io
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from tqdm import tqdm

from latentjax.config import ConfigDict
from latentjax.data import labels
from latentjax.data.records import Source, splits_of
from latentjax.errors import InputError

# records that jobs and people keep beside pictures
RECORDS = (".json", ".jsonl", ".csv")
SYSTEM_FILES = ("Thumbs.db", "desktop.ini")
# classes of the creativity set, in label order: of few or no ancestors or generated, and of many ancestors
CREATIVITY = ("plain", "bred")
# what their pictures are counted as, and how that is told
CREATIVITY_GROUPS = {"bred": "bred: many ancestors", "none": "plain: few or none", "generated": "plain: generated"}


class Stored(NamedTuple):
    """A picture in an array_record folder."""

    source: Source
    index: int
    bytes: int
    modified: int  # nanoseconds, of the folder's record


class Example(NamedTuple):
    """A picture with its label.

    Attributes:
        key: its path relative to the folder of pictures, after "generated:" where it is from data.generated.
        picture: where it is.
        label: a class's index, or a number.
        group: what it is counted and shown as.
    """

    key: str
    picture: pathlib.Path | Stored
    label: int | float
    group: str

    def open(self) -> pathlib.Path | IO[bytes]:
        """What `images.read` takes."""
        if isinstance(self.picture, Stored):
            return io.BytesIO(self.picture.source[self.picture.index]["image"])
        return self.picture

    @property
    def where(self) -> str:
        """What errors call it."""
        return self.key if isinstance(self.picture, Stored) else str(self.picture)


class Examples(NamedTuple):
    """The pictures of a set.

    Attributes:
        task: "classes" or "regression".
        names: of the classes, in label order.
        found: the pictures with labels.
        left_out: (file, why) of pictures without a label and of labels without a picture; what is before a colon in
            `why` is the kind of reason.
    """

    task: str
    names: tuple[str, ...]
    found: list[Example]
    left_out: list[tuple[str, str]]


def creativity(data: ConfigDict) -> Examples:
    """Pictures of many ancestors (label 1), of few or none, and generated ones (label 0).

    Raises:
        InputError: a field or list is wrong, or no picture has a label.
    """
    if data.none > data.many:
        what = f"is {data.none}, more than config.data.many ({data.many})"
        raise InputError("config.data.none", what, "give a smaller number")
    if not data.ancestors:
        raise InputError("config.data.ancestors", "is not set", "give lists of keys and their ancestors, as ('a.txt',)")
    paths = pictures_in(data.images, "config.data.images", beside=data.ancestors)
    entries, unused = labels.match(labels.ancestors(data.ancestors), paths)
    found, left_out = [], [(entry.name, f"listed without a picture: {entry.where}") for entry in unused]
    for key, path in paths.items():
        if key not in entries:
            left_out.append((key, "in no list"))
        elif (count := entries[key].value) > data.many:
            found.append(Example(key, path, 1, "bred"))
        elif count <= data.none:
            found.append(Example(key, path, 0, "none"))
        else:
            left_out.append((key, f"between the thresholds: {count} ancestors"))
    if not found:
        what = f"holds none of the pictures that the lists name ({len(paths)} pictures, {len(unused)} other keys)"
        raise InputError("config.data.images", what, "write keys as the pictures' file names or relative paths")
    return Examples("classes", CREATIVITY, found + generated(data), left_out)


def generated(data: ConfigDict) -> list[Example]:
    """The pictures of data.generated, a folder of them or of array_record shards; none where it is not set.

    Raises:
        InputError: it has none, or is no data set with the features image and key.
    """
    if not data.generated:
        return []
    folder, field = pathlib.Path(data.generated), "config.data.generated"
    if not (folder / "dataset_info.json").is_file():
        paths = pictures_in(data.generated, field)
        return [Example(f"generated:{key}", path, 0, "generated") for key, path in paths.items()]
    found, modified = [], (folder / "dataset_info.json").stat().st_mtime_ns
    for source in [Source(folder, split) for split in splits_of(folder)]:
        if not {"image", "key"} <= source.features:
            raise InputError(folder, "is a data set without image and key", f"give another {field}")
        for index in tqdm(range(len(source)), unit=" pictures", desc=f"keys of {folder.name}", delay=2):
            record = source[index]
            stored = Stored(source, index, len(record["image"]), modified)
            found.append(Example(f"generated:{record['key']}", stored, 0, "generated"))
    if len({example.key for example in found}) < len(found) or not found:
        raise InputError(folder, "is empty or has a key twice", f"give another {field}")
    return found


def image_folder(data: ConfigDict) -> Examples:
    """Pictures with a class for each sub-folder, or with a number each from data.scores.

    Raises:
        InputError: fewer than two sub-folders, one of them empty, a wrong score, or no picture with a score.
    """
    field = "config.data.images"
    if data.scores:
        paths = pictures_in(data.images, field, beside=[data.scores])
        entries, unused = labels.match(labels.scores(data.scores), paths)
        found = [Example(key, path, entries[key].value, "scored") for key, path in paths.items() if key in entries]
        left_out = [(entry.name, f"listed without a picture: {entry.where}") for entry in unused]
        left_out += [(key, "without a score") for key in paths if key not in entries]
        if not found:
            what = f"holds none of the pictures that {data.scores} names"
            raise InputError(field, what, "write names as the pictures' file names or relative paths")
        return Examples("regression", (), found, left_out)
    paths = pictures_in(data.images, field)
    folder = pathlib.Path(data.images)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(names) < 2:
        todo = "make one for each class, or give config.data.scores"
        raise InputError(field, f"{data.images} has {len(names)} sub-folders, not two or more", todo)
    held = {name: [key for key in paths if key.startswith(f"{name}/")] for name in names}
    for name, keys in held.items():
        if not keys:
            raise InputError(folder / name, "has no pictures", "remove the folder, or put pictures there")
        if not name.isprintable():
            raise InputError(folder / name, "cannot be a class's name", "rename the folder")
    found = [Example(key, paths[key], label, name) for label, (name, keys) in enumerate(held.items()) for key in keys]
    return Examples("classes", tuple(names), found, [(key, "in no class's folder") for key in paths if "/" not in key])


KINDS: dict[str, Callable[[ConfigDict], Examples]] = {"creativity": creativity, "image_folder": image_folder}


def pictures_in(folder: str, field: str, beside: Sequence[str] = ()) -> dict[str, pathlib.Path]:
    """The files of a folder and the folders in it, by relative path, in order.

    Hidden files, those of the system, those ending in .json, .jsonl or .csv, and the lists `beside` are no pictures.

    Raises:
        InputError: the folder is missing or has no pictures.
    """
    if not folder:
        raise InputError(field, "is not set", "give a folder of pictures")
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise InputError(field, f"{folder} is {'no folder' if root.exists() else 'not there'}", "give another folder")
    lists, seen, paths = {os.path.realpath(path) for path in beside}, set(), {}
    for parent, folders, files in os.walk(root, onerror=_unreadable, followlinks=True):
        # a linked folder may hold itself
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in files:
            path = pathlib.Path(parent, name)
            if _may_be_picture(name) and path.is_file() and os.path.realpath(path) not in lists:
                key = path.relative_to(root).as_posix()
                paths[key.encode(errors="backslashreplace").decode()] = path  # names may hold stray bytes
    if not paths:
        raise InputError(field, f"{folder} has no pictures", "give another folder")
    return dict(sorted(paths.items()))


def _may_be_picture(name: str) -> bool:
    return not name.startswith(".") and name not in SYSTEM_FILES and not name.lower().endswith(RECORDS)


def _unreadable(error: OSError) -> None:
    raise InputError(error.filename, f"cannot be listed ({error.strerror})", "check its permissions")
