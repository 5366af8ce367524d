"""A page on which people compare pictures two at a time; which picture is which stays in a key beside it."""

import csv
import functools
import hashlib
import io
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from latentjax import pictures
from latentjax.data import images
from latentjax.data.examples import pictures_in
from latentjax.errors import InputError
from latentjax.files import refuse_existing, staged, write_json, write_text
from latentjax.report import pages
from latentjax.report.strips import finished

QUESTION = "Which is more creative?"
MOST = 100  # pairs, unless another number is asked for
LONGEST = 500  # characters of a question
KEY = ("pair", "a", "b", "a_source", "b_source")
QUALITY = 95  # of the pictures' JPEG
BADGE = 1 / 8  # of a strip's tile: more than the height of the score in its corner ...
SMALLEST = 128  # ... from so many pixels up
MEND = "mend or remove it"


class Side(NamedTuple):
    """One picture of a pair.

    Attributes:
        source: what the key calls it.
        read: gives the picture, RGB, of any size.
    """

    source: str
    read: Callable[[], Image.Image]


class Pair(NamedTuple):
    """Two pictures to compare; no picture is in two pairs of a study."""

    a: Side
    b: Side


class Study(NamedTuple):
    """What is compared.

    Attributes:
        pairs: in any order.
        a, b: what the first and the second pictures of the pairs are.
    """

    pairs: Sequence[Pair]
    a: str
    b: str


def of_folders(folder_a: str, folder_b: str, count: int | None = None, seed: int = 0) -> Study:
    """Random pictures of one folder, each against a random one of another, as in the paper's check of its labels.

    Args:
        folder_a, folder_b: folders of pictures, with the folders in them.
        count: number of pairs; None: as many as there are, at most 100.
        seed: of the choice.

    Raises:
        InputError: a folder is missing or has too few pictures, or both are the same.
    """
    if pathlib.Path(folder_a).resolve() == pathlib.Path(folder_b).resolve():
        raise InputError("--against", f"{folder_b} is the folder of --pictures", "give another folder")
    sides = []
    for field, folder in (("--pictures", folder_a), ("--against", folder_b)):
        paths = pictures_in(folder, field)
        sides.append([Side(f"{folder}/{key}", functools.partial(_picture, path)) for key, path in paths.items()])
    number = _number_of(count, min(map(len, sides)))
    rng = np.random.default_rng((seed, 0))
    chosen = [[side[i] for i in rng.permutation(len(side))[:number]] for side in sides]
    return Study([Pair(a, b) for a, b in zip(*chosen, strict=True)], folder_a, folder_b)


def of_evaluation(
    folder: pathlib.Path, alpha: float, noise_seed: int | None = None, count: int | None = None, seed: int = 0
) -> Study:
    """The tiles of an evaluation at `alpha`, each against the original (alpha = 0) of the same latent.

    The tiles are those of sprites/, which no score marks. Where the strips in grids/ have larger ones, these are
    taken, without their upper eighth, in whose corner the score is, and as square again.

    Args:
        folder: of one run's evaluation.
        alpha: one of its alphas, not 0.
        noise_seed: one of its noise seeds; None: the least. Each latent is in one pair.
        count: number of pairs; None: as many as there are, at most 100.
        seed: of the choice.

    Raises:
        InputError: no such evaluation, alpha or noise seed, or too few latents.
    """
    facts, strips = finished(folder)
    if "tile" not in facts:
        raise InputError(folder, "has no sprites", "run its evaluation again")
    alphas = facts["alphas"]
    at = [_index_of(value, alphas, folder) for value in (alpha, 0.0)]
    if at[0] == at[1]:
        raise InputError("--alpha", "is 0, the original itself", "give another alpha of the evaluation")
    seeds = [strip["noise_seed"] for strip in strips]
    wanted = min(seeds, default=0) if noise_seed is None else noise_seed
    kept = [strip for strip in strips if strip["noise_seed"] == wanted]
    if not kept:
        raise InputError("--noise-seed", f"{wanted} is not in {folder}", f"it has {sorted(set(seeds))}")
    order = np.random.default_rng((seed, 0)).permutation(len(kept))[: _number_of(count, len(kept))]
    pairs = []
    for strip in (kept[i] for i in order):
        cut = functools.partial(_tile, folder, strip, alphas, facts["tile"])
        edited, original = (Side(f"{strip['name']} at alpha {alphas[i]:g}", functools.partial(cut, i)) for i in at)
        pairs.append(Pair(edited, original))
    return Study(pairs, f"edited, alpha {alphas[at[0]]:+g} ({folder})", "original")


def write(
    folder: pathlib.Path, study: Study, *, question: str = QUESTION, seed: int = 0, size: int = 512, repeats: int = 5
) -> dict[str, Any]:
    """Writes the page, its pictures under names that tell nothing, and the key.

    index.html and pictures/ are for the voters; key.csv and study.json, which `votes` reads, are not.

    Args:
        folder: to make; it may be there if it is empty.
        study: what is compared.
        question: that voters answer.
        seed: of the names.
        size: longest side in pixels of a picture; larger ones are made smaller, none larger.
        repeats: how many pairs each voter meets again with the sides swapped, to see how consistent votes are; at
            most half of them.

    Returns:
        The content of study.json.

    Raises:
        InputError: the folder is there already, a picture cannot be read, or a setting is wrong.
    """
    question = " ".join(question.split())
    if not 0 < len(question) <= LONGEST:
        raise InputError("--question", f"has {len(question)} characters", f"write 1 to {LONGEST}")
    if size < 16:
        raise InputError("--size", f"is {size}", "give at least 16 pixels")
    if repeats < 0:
        raise InputError("--repeats", f"is {repeats}", "give 0 or more")
    refuse_existing(folder)
    numbers = np.random.default_rng((seed, 1)).permutation(2 * len(study.pairs)) + 1
    digits = len(str(len(numbers)))
    names = [f"{number:0{digits}d}.jpg" for number in numbers]
    keys = [
        (f"p{i + 1:0{digits}d}", *names[2 * i : 2 * i + 2], pair.a.source, pair.b.source)
        for i, pair in enumerate(study.pairs)
    ]
    with staged(folder) as place:
        (place / "pictures").mkdir()
        content = hashlib.sha256(json.dumps([question, [row[:3] for row in keys]]).encode())
        sides = [side for pair in study.pairs for side in pair]
        for name, side in tqdm(list(zip(names, sides, strict=True)), unit=" pictures", desc="pictures", delay=2):
            content.update(pictures.save(_shown(side.read(), size), place / "pictures" / name, QUALITY).encode())
        facts = {
            "study": content.hexdigest()[:12],
            "question": question,
            "a": study.a,
            "b": study.b,
            "pairs": len(keys),
            "repeats": min(repeats, math.ceil(len(keys) / 2)),
            "seed": seed,
        }
        # sorted by names, which are random: neither order nor place tells which picture is which
        shown = [{"pair": pair, "pictures": sorted((a, b))} for pair, a, b, *_ in keys]
        told = {"study": facts["study"], "repeats": facts["repeats"], "pairs": shown}
        pages.write(place, "study.html", question=question, told=told)
        write_text(place / "key.csv", _table(keys))
        write_json(place / "study.json", facts)
    return facts


def _number_of(count: int | None, available: int) -> int:
    """How many pairs to make."""
    if count is None:
        return min(MOST, available)
    if not 0 < count <= available:
        what = f"is {count}, and there are pictures for {available}"
        raise InputError("--pairs", what, f"give 1 to {available}: no picture is shown in two pairs")
    return count


def _index_of(alpha: float, alphas: Sequence[float], folder: pathlib.Path) -> int:
    """Where an alpha is among those of an evaluation, whose float32 may differ in the last digits."""
    nearest = min(range(len(alphas)), key=lambda i: abs(alphas[i] - alpha), default=None)
    if nearest is None or not abs(alphas[nearest] - alpha) < 1e-4:
        known = ", ".join(f"{value:g}" for value in alphas)
        raise InputError("--alpha", f"{folder} has no alpha {alpha:g}", f"it has {known}")
    return nearest


@functools.lru_cache(maxsize=1)  # both tiles of a pair are of one file
def _picture(path: pathlib.Path) -> Image.Image:
    try:
        return images.read(path, path)
    except InputError as error:
        raise InputError(error.where, error.what, MEND) from error


def _tile(
    folder: pathlib.Path, strip: Mapping[str, Any], alphas: Sequence[float], tile: int, index: int
) -> Image.Image:
    """One of the tiles of a strip, by its record, without anything drawn over it."""
    path = folder / "grids" / strip["file"]
    found = pictures.layout_of(path, alphas)
    side = 0 if found is None else found.tile[0]
    if found is not None and side > tile and side >= SMALLEST:
        left, top, cut = found.left[index], found.top, math.ceil(BADGE * side)
        return _picture(path).crop((left + cut // 2, top + cut, left + cut // 2 + side - cut, top + side))
    path = folder / "sprites" / strip["sprite"]
    row = _picture(path)
    if row.size != (len(alphas) * tile, tile):
        what = f"has {row.width} x {row.height} pixels, not {len(alphas)} tiles of {tile}"
        raise InputError(path, what, "run its evaluation again")
    return row.crop((index * tile, 0, (index + 1) * tile, tile))


def _shown(image: Image.Image, size: int) -> Image.Image:
    """A copy as voters see it: no larger than `size`, and nothing but pixels (a file's comment would tell)."""
    if max(image.size) > size:
        image = image.copy()
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return Image.fromarray(np.asarray(image))


def _table(rows: Sequence[Sequence[str]]) -> str:
    with io.StringIO() as text:
        csv.writer(text, lineterminator="\n").writerows([KEY, *rows])
        return text.getvalue()
