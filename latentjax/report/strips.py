"""One strip: what it is of, its picture, its small tiles for the page, and its record."""

import hashlib
import io
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from latentjax import latents, pictures
from latentjax.errors import InputError
from latentjax.files import write_bytes
from latentjax.latents import Latent

SPRITE_QUALITY = 88  # of JPEG


class Strip(NamedTuple):
    """One latent with one noise seed: a row of the evaluation."""

    latent: Latent
    noise_seed: int
    ending: str = "png"

    @property
    def stem(self) -> str:
        """Of its files' names."""
        noise = f"-noise{self.noise_seed}" if self.noise_seed else ""
        return f"{latents.safe_name(self.latent.name)}{noise}"

    @property
    def file(self) -> str:
        """Name of its picture in grids/."""
        return f"{self.stem}.{self.ending}"

    @property
    def key(self) -> str:
        """What identifies the strip in strips.jsonl, by content."""
        return f"{self.latent.key}:{self.noise_seed}"


class Swept(NamedTuple):
    """A strip as it was computed, at A alphas, of which judges saw J."""

    strip: Strip
    tiles: np.ndarray  # [A, R, R, 3] uint8
    measured: dict[str, list[float]]  # each [A]; NaN where there is no object
    judged: dict[str, list[Any]]  # each [J]
    features: np.ndarray | None  # [J, F]


def write(
    folder: pathlib.Path, swept: Swept, alphas: np.ndarray, original: int | None, tile: int, quality: int = 90
) -> dict[str, Any]:
    """Writes a strip's picture, its row of small tiles and its features; its record for strips.jsonl.

    Args:
        folder: of the evaluation, with grids/, sprites/ and, for features, features/.
        swept: the strip.
        alphas: A numbers.
        original: which of the J judged alphas is 0.
        tile: width in pixels of a small tile.
        quality: of JPEGs in grids/, 1 to 95.
    """
    strip, judged = swept.strip, dict(swept.judged)
    if swept.features is not None and original is not None:
        judged["identity"] = alike(swept.features, original)
        np.save(kept := io.BytesIO(), swept.features.astype(np.float16))
        write_bytes(folder / "features" / f"{strip.stem}.npy", kept.getvalue())
    title = strip.latent.name + (f" (noise {strip.noise_seed})" if strip.noise_seed else "")
    image = pictures.strip(swept.tiles, alphas.tolist(), swept.measured["score"], title=title)
    sprite = f"{strip.stem}.jpg"
    pictures.save(row_of(swept.tiles, tile), folder / "sprites" / sprite, SPRITE_QUALITY)
    return {
        "key": strip.key,
        "file": strip.file,
        "name": strip.latent.name,
        "noise_seed": strip.noise_seed,
        "latent": strip.latent.source,
        "class": int(np.argmax(strip.latent.y)) if len(strip.latent.y) else 0,
        "measured": swept.measured,
        "judged": judged,
        "sprite": sprite,
        "tiles": [pixels_sha256(image) for image in swept.tiles],
        # the picture last: a strip whose picture is there is whole
        "sha256": pictures.save(image, folder / "grids" / strip.file, quality),
    }


def row_of(tiles: np.ndarray, size: int) -> Image.Image:
    """Tiles [A, R, R, 3] uint8 side by side, each made smaller to `size` pixels."""
    images = [Image.fromarray(tile).resize((size, size), Image.Resampling.LANCZOS) for tile in tiles]
    row = Image.new("RGB", (size * len(images), size))
    for i, image in enumerate(images):
        row.paste(image, (i * size, 0))
    return row


def alike(features: np.ndarray, original: int) -> list[float]:
    """Cosine similarity of features [J, F] to those of the original, in [-1, 1]."""
    unit = np.asarray(features, np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return np.einsum("jf,f->j", unit, unit[original]).tolist()


def pixels_sha256(image: np.ndarray) -> str:
    """Of an image's pixels [R, R, 3] uint8: it tells whether a tile was regenerated exactly."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def finished(folder: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """evaluation.json of a finished evaluation and the records of its strips, in order.

    Raises:
        InputError: no finished evaluation there, or a damaged one.
    """
    try:
        facts = dict(json.loads((folder / "evaluation.json").read_text()))
        lines = [json.loads(line) for line in (folder / "strips.jsonl").read_text().splitlines()]
        found = {record["file"]: record for record in lines}  # of a strip made anew, the last
        if missing := [file for file in facts["strips"] if file not in found]:
            raise InputError(folder, f"is not finished ({len(missing)} strips)", "run its evaluation again first")
        return facts, [found[file] for file in facts["strips"]]
    except (OSError, ValueError, TypeError, LookupError) as error:
        what = f"is no finished evaluation ({error!r:.200})"
        raise InputError(folder, what, "give a folder under evaluation/") from error
