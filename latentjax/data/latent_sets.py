"""Sets of Artbreeder's latents: points to be explored, with who made them where a table tells."""

import json
import pathlib
from typing import Any, NamedTuple

from tqdm import tqdm

from latentjax import artbreeder
from latentjax.artbreeder import Latent
from latentjax.config import ConfigDict
from latentjax.data import labels
from latentjax.data.manifest import Row
from latentjax.errors import InputError

# all of BigGAN's sizes have ImageNet's classes
BIGGAN_LATENT_DIMS, BIGGAN_CLASSES = (120, 128, 140), 1000


class LatentPlan(NamedTuple):
    """A set of latents to be written; `users` is by name."""

    latents: list[Latent]
    users: dict[str, str]
    rows: list[Row]
    left_out: list[tuple[str, str]]


def plan(data: ConfigDict) -> LatentPlan:
    """Reads every latent that the config names.

    Raises:
        InputError: for the first bad file, saying how many others are bad, or the table of users is wrong.
    """
    found, left_out = read(data)
    names = [latent.name for latent in found]
    users: dict[str, str] = {}
    if data.users:
        # a table may name latents with the ending of their files
        entries, unused = labels.match(labels.users(data.users), [f"{name}.json" for name in names])
        users = {file.removesuffix(".json"): entry.value for file, entry in entries.items()}
        left_out += [(entry.name, f"listed without a latent: {entry.where}") for entry in unused]
    rows = [Row(latent.name, "train", "", users.get(latent.name, ""), 0, 0, latent.key) for latent in found]
    return LatentPlan(found, users, rows, left_out)


def read(data: ConfigDict) -> tuple[list[Latent], list[tuple[str, str]]]:
    """The latents, and (file, why) of the files that are left out."""
    if not data.latents:
        todo = "give a JSON file of Artbreeder's or a folder of them"
        raise InputError("config.data.latents", "is not set", todo)
    files = artbreeder.files_of(data.latents)
    latent_dim, num_classes = sizes_of(files)
    found: list[Latent] = []
    bad: list[InputError] = []
    owners: dict[str, str] = {}
    for file in tqdm(files, unit=" files", desc="check", delay=2):
        try:
            latents = artbreeder.read(file, latent_dim, num_classes)
            for latent in latents:
                if (owner := owners.setdefault(latent.name, file.name)) != file.name:
                    raise InputError(file, f"its name {latent.name} is taken by {owner}", "rename one of the two")
            found += latents
        except InputError as error:
            bad.append(error)
    if bad and not (data.skip_bad and found):
        first, more = bad[0], f" (and {len(bad) - 1} more bad files)" if len(bad) > 1 else ""
        todo = "mend or remove it, or leave bad files out (--config.data.skip_bad=true)"
        raise InputError(first.where, first.what + more, todo)
    return found, [(error.where, f"bad: {error.what}") for error in bad]


def sizes_of(files: list[pathlib.Path]) -> tuple[int, int]:
    """(Z, K): Z as in the first file that has one; K is BigGAN's, or of another Z one more than the largest index."""
    length, largest = 0, 0
    for file in files:
        for entry in _entries(file):
            try:
                length = length or len(entry["latent"])
                if length in BIGGAN_LATENT_DIMS:
                    return length, BIGGAN_CLASSES
                largest = max(largest, *(int(index) for index, _ in entry["classes"]), 0)
            except (ValueError, TypeError, LookupError, OverflowError):
                continue  # told when it is read
    return length, largest + 1


def _entries(file: pathlib.Path) -> list[Any]:
    try:
        if file.stat().st_size > artbreeder.MAX_BYTES:
            return []
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return []
    return content if isinstance(content, list) else [content]
