"""The folder of one generated set: which pictures are done, how they are written, and what is written about them.

Several processes work on one set: each makes every P-th shard and keeps a log of its own; the last one to finish writes
the manifest. A shard is a sub-folder of pictures, or an array_record file.
"""

import hashlib
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from latentjax import latents, pictures, shards
from latentjax.errors import InputError
from latentjax.files import write_json, write_text
from latentjax.latents import Latent
from latentjax.overlap import in_threads
from latentjax.packages import imported_tfds
from latentjax.run_folder import refuse_other_facts

ENDINGS = {"png": "png", "jpeg": "jpg"}
SHOWN, COLUMNS, SIDE = 64, 8, 128  # of the overview: pictures, those in a row, their width in pixels at most
NAMED = "--config.generate.name"

Records = list[dict[str, Any]]


class Picture(NamedTuple):
    """One image of the set: a latent as it is, or moved by alpha."""

    index: int
    latent: Latent
    noise_seed: int | None = None
    alpha: float | None = None

    @property
    def stem(self) -> str:
        """Its file's name without the ending; its key in array_record."""
        noise = f"-noise{self.noise_seed}" if self.noise_seed else ""
        moved = "" if self.alpha is None else f"-alpha{written(self.alpha)}"
        return f"{latents.safe_name(self.latent.name)}{noise}{moved}"

    @property
    def source(self) -> dict[str, Any]:
        """What it is made from, but for the networks."""
        moved = {"noise_seed": self.noise_seed, "alpha": self.alpha}
        return {"index": self.index, "name": self.latent.name, **moved, "latent": self.latent.source}


def written(alpha: float) -> str:
    """ "+0.30", "-0.125": with a sign, and with two decimals or as many as there are up to six."""
    whole, _, decimals = f"{alpha:+.6f}".rstrip("0").partition(".")
    return f"{whole}.{decimals:0<2}"


class GeneratedSet:
    """WORKDIR/generated/NAME.

    Args:
        folder: where.
        facts: what the set is of; pictures of other facts do not belong into it.
        total: how many pictures.
        settings: config.generate.
        process: index of this process, and their number.
    """

    def __init__(
        self, folder: pathlib.Path, facts: dict[str, Any], total: int, settings: Any, process: tuple[int, int]
    ):
        self.folder, self.facts, self.total = folder, facts, total
        self.format, self.size, self.quality = settings.format, settings.shard_size, settings.jpeg_quality
        self.process, self.processes = process
        self.in_shards = self.format == "array_record"
        self.manifest = folder / "manifest.jsonl"
        # not among the pictures, which may become the examples of a data set
        self.overview = folder.with_name(f"{folder.name}-overview.png")

    @property
    def shards(self) -> range:
        """Those of this process."""
        return range(self.process, -(-self.total // self.size), self.processes)

    def check(self) -> None:
        """Refuses, before anything is written, a folder of something else.

        Raises:
            InputError: it is of other networks, latents or settings, of more pictures, or no generated set; or
                TFDS or array_record is missing.
        """
        if self.in_shards:
            imported_tfds()  # before pictures are made that could not be written
        known = refuse_other_facts(self.folder / "generation.json", self.facts, NAMED)
        if not known and self.folder.exists() and any(path.name[0] != "." for path in self.folder.iterdir()):
            raise InputError(self.folder, "is neither empty nor a generated set", f"choose another {NAMED}")
        images = known.get("images", 0)
        if not isinstance(images, int):
            raise InputError(self.folder / "generation.json", "is damaged", f"choose another {NAMED}")
        if images > self.total:
            what = f"is a set of {images} images, and {self.total} are asked for"
            raise InputError(self.folder, what, f"ask for as many or more, or choose another {NAMED}")

    def open(self) -> set[int]:
        """The indices of the pictures that are there; makes the folder and clears away what a killed process left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for aside in self.folder.glob(".process*.part"):
            if int(aside.name[8:-5]) % self.processes == self.process:
                shutil.rmtree(aside)
        with self._staged() as aside:
            write_json(aside / "generation.json", self.facts | {"images": self.total})
        for shard in self.shards:
            for cut_off in (self.folder / f"{shard:05d}").glob(".*.part"):
                cut_off.unlink()
        done = {record["index"] for record in self._records()}
        if len(done) < self.total:
            self.manifest.unlink(missing_ok=True)  # of fewer pictures, or of some that are gone
        return done

    @contextmanager
    def _staged(self) -> Iterator[pathlib.Path]:
        """A hidden folder; what is in it takes its place when the block ends well, the manifest last."""
        aside = self.folder / f".process{self.process:05d}.part"
        aside.mkdir()
        try:
            yield aside
            for path in sorted(aside.iterdir(), key=lambda path: path.name == self.manifest.name):
                os.replace(path, self.overview if path.name == self.overview.name else self.folder / path.name)
        finally:
            shutil.rmtree(aside)

    def missing(self, done: set[int]) -> list[int]:
        """What this process is to make, in order; an array_record shard is made as a whole."""
        found: list[int] = []
        for shard in self.shards:
            members = range(shard * self.size, min((shard + 1) * self.size, self.total))
            missing = [index for index in members if index not in done]
            found += members if missing and self.in_shards else missing
        return found

    def _records(self) -> Iterator[dict[str, Any]]:
        """What the logs say of pictures that are there; of one that was made again, the last is right."""
        for log in sorted(self.folder.glob("images-*.jsonl")):
            with open(log, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    try:
                        record = json.loads(line)
                        there = record["index"] < self.total and (self.folder / record["file"]).exists()
                    except (ValueError, KeyError, TypeError):
                        continue  # cut off when the process was killed: the picture is made again
                    if there:
                        yield record

    def write(self, made: Iterable[tuple[Picture, np.ndarray]], most: int) -> None:
        """Writes the pictures in threads, and logs each when it is there.

        Args:
            made: pictures and their images [R, R, 3] uint8, in the order of `missing`.
            most: how many may wait.
        """
        with open(self.folder / f"images-{self.process:05d}.jsonl", "ab+") as log:
            if log.tell():
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":  # a line that was cut off ends here
                    log.write(b"\n")
            for records in (self._write_shards if self.in_shards else self._write_files)(made, most):
                log.write("".join(json.dumps(record) + "\n" for record in records).encode())
                log.flush()

    def _write_files(self, made: Iterable[tuple[Picture, np.ndarray]], most: int) -> Iterator[Records]:
        """A file for each picture."""

        def save(picture: Picture, image: np.ndarray) -> Records:
            file = f"{picture.index // self.size:05d}/{picture.stem}.{ENDINGS[self.format]}"
            (self.folder / file).parent.mkdir(exist_ok=True)
            sha256 = pictures.save(Image.fromarray(image), self.folder / file, self.quality)
            return [{"file": file, **picture.source, "sha256": sha256}]

        return in_threads(save, made, most)

    def _write_shards(self, made: Iterable[tuple[Picture, np.ndarray]], most: int) -> Iterator[Records]:
        """A file for each shard; sha256 is that of a picture's PNG."""

        def encode(picture: Picture, image: np.ndarray) -> shards.Example:
            png = pictures.encoded(Image.fromarray(image), "png")
            return shards.Example(png, hashlib.sha256(png).hexdigest(), picture.stem, picture.source)

        encoded = in_threads(encode, made, most)
        for shard, examples in groupby(encoded, lambda example: example.source["index"] // self.size):
            file = shards.file_name(shard)
            written = shards.write(self.folder / file, examples)
            yield [{"file": file, **source, "sha256": sha256} for source, sha256 in written]

    def finish(self) -> bool:
        """Writes the overview, the data set's metadata and the manifest; False where other processes are not done."""
        networks = {"generator": self.facts["generator"], "transformer": self.facts["transformer"]}
        lines: dict[int, str] = {}
        for record in self._records():
            line = json.dumps(record | networks)
            if lines.get(record["index"], line) != line:  # made again in another way, such as another batch size
                line = json.dumps(record | networks | {"sha256": hashlib.sha256(self._encoded(record)).hexdigest()})
            lines[record["index"]] = line
        if len(lines) < self.total:
            return False
        with self._staged() as aside:
            if self.in_shards:
                files = [self.folder / shards.file_name(shard) for shard in range(-(-self.total // self.size))]
                lengths = [min(self.size, self.total - i * self.size) for i in range(len(files))]
                shards.write_metadata(aside, lengths, sum(file.stat().st_size for file in files))
            shown = [json.loads(lines[i]) for i in range(self.total)[:SHOWN]]
            pictures.save(self._sheet(shown), aside / self.overview.name)
            write_text(aside / self.manifest.name, "".join(lines[i] + "\n" for i in range(self.total)))
        return True

    def _sheet(self, records: Records) -> Image.Image:
        """The first pictures, small; in a row eight latents, or one along alpha."""
        alphas = len(self.facts["alphas"])
        columns = alphas if alphas > 1 else COLUMNS
        rows = [records[start : start + columns] for start in range(0, len(records), columns)]
        title = f"{self.folder.name}: {len(records)} of {self.total} images"
        return pictures.overview([self._row(row) for row in rows], [row[0]["name"] for row in rows], title=title)

    def _encoded(self, record: dict[str, Any]) -> bytes:
        """A picture as it was written."""
        file = self.folder / record["file"]
        return shards.read(file, record["index"] % self.size) if self.in_shards else file.read_bytes()

    def _row(self, records: Records) -> Image.Image:
        """Pictures beside each other."""
        tiles = []
        for record in records:
            with Image.open(io.BytesIO(self._encoded(record))) as image:
                image.thumbnail((SIDE, SIDE))
                tiles.append(np.pad(np.asarray(image), ((1, 1), (1, 1), (0, 0)), constant_values=255))
        return Image.fromarray(np.concatenate(tiles, axis=1))
