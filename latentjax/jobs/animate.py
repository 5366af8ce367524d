"""Films of latents: each along alpha, or a walk from one to the next; what was stopped is gone on with."""

import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from PIL import Image
from tqdm import tqdm

from latentjax import animations, latents
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import told, write_bytes, write_json, write_text
from latentjax.generated import Picture
from latentjax.jobs import methods
from latentjax.jobs.imaging import Imaging
from latentjax.jobs.workbench import Studio, prepare_studio
from latentjax.latents import Latent
from latentjax.overlap import in_threads
from latentjax.report import pages
from latentjax.run_folder import job, refuse_other_facts

NAMED = "--config.animate.name"


class Film(NamedTuple):
    """What one film shows."""

    stem: str  # of its files
    title: str
    pictures: list[Picture]  # of its frames; those of the way back are not among them
    returns: bool  # whether it goes back the way it came
    source: dict[str, Any]  # what it is made from, but for the networks

    def frames(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """All frames of the loop."""
        return animations.there_and_back(images) if self.returns else images


def sweeps(points: list[Latent], settings: ConfigDict) -> list[Film]:
    """A film for each latent and noise seed, whose frames share the noise."""
    alphas = animations.sweep(settings.alphas, settings.frames)
    films = []
    for point in points:
        for seed in settings.noise_seeds:
            stem = latents.safe_name(point.name) + (f"-noise{seed}" if seed else "")
            title = point.name + (f" (noise {seed})" if seed else "")
            made = [Picture(i, point, seed, alpha) for i, alpha in enumerate(alphas)]
            source = {"key": point.key, "noise_seed": seed, "latents": [point.source]}
            films.append(Film(stem, title, made, True, source))
    return films


def walk(points: list[Latent], settings: ConfigDict) -> Film:
    """One film through all latents; of two, there and back."""
    made = [Picture(i, point) for i, point in enumerate(animations.walk(points, settings.frames))]
    key = hashlib.sha256("".join(point.key for point in points).encode()).hexdigest()
    source = {"key": key, "noise_seed": None, "latents": [point.source for point in points]}
    names = [points[0].name, *(["..."] if len(points) > 2 else []), points[-1].name]
    return Film("walk", " - ".join(names), made, len(points) == 2, source)


def films_of(studio: Studio) -> list[Film]:
    """The films that the config names.

    Raises:
        InputError: the latents cannot be read, or do not fit, or are too few.
    """
    settings = studio.config.animate
    points = studio.points(settings)
    if settings.kind == "walk":
        if len(points) < 2:
            where = settings.latents or "config.animate.count"
            raise InputError(where, "gives one latent, and a walk needs two", "give more latents")
        return [walk(points, settings)]
    films = sweeps(points, settings)
    stems = [film.stem for film in films]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise InputError(settings.latents or "latents", f"give two films the name {twice[0]}", "rename one")
    return films


class Animations:
    """WORKDIR/animations/NAME: films of one kind, and which of them are there.

    Args:
        folder: where.
        facts: what the films are made by; those of other facts do not belong into it.
        settings: config.animate.
        films: those that are asked for; sweeps of other latents may lie beside them, other walks may not.
    """

    def __init__(self, folder: pathlib.Path, facts: dict[str, Any], settings: ConfigDict, films: list[Film]):
        self.folder, self.settings, self.films = folder, settings, films
        self.facts = facts | {name: settings[name] for name in ("kind", "frames", "frames_per_second", "size")}
        sweeping = settings.kind == "sweep"
        self.facts |= {"alphas": list(settings.alphas)} if sweeping else {"latents": films[0].source["key"]}
        self.manifest = folder / "manifest.jsonl"

    def check(self) -> None:
        """Refuses, before anything is written, a folder of something else.

        Raises:
            InputError: it is of other networks or settings, or no folder of animations.
        """
        known = refuse_other_facts(self.folder / "animation.json", self.facts, NAMED)
        if not known and self.folder.exists() and any(path.name[0] != "." for path in self.folder.iterdir()):
            raise InputError(self.folder, "is neither empty nor a folder of animations", f"choose another {NAMED}")

    def records(self) -> dict[str, dict[str, Any]]:
        """What the manifest says of the files that are there, by file.

        Raises:
            InputError: the manifest is damaged.
        """
        if not self.manifest.exists():
            return {}
        try:
            records = map(json.loads, self.manifest.read_text(encoding="utf-8").splitlines())
            return {record["file"]: record for record in records if (self.folder / record["file"]).exists()}
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(self.manifest, f"is damaged ({error!r:.200})", f"choose another {NAMED}") from error

    def missing(self) -> list[tuple[Film, list[str]]]:
        """The films that are to be made, and the endings of the files that they lack."""
        there = {(file, record["key"]) for file, record in self.records().items()}
        lacking = [
            (
                film,
                [
                    ending
                    for ending in self.settings.formats
                    if (f"{film.stem}.{ending}", film.source["key"]) not in there
                ],
            )
            for film in self.films
        ]
        return [(film, endings) for film, endings in lacking if endings]

    def write(self, made: Iterator[tuple[Film, list[str], list[np.ndarray]]]) -> None:
        """Encodes films in threads; each is in the manifest when its files are there.

        Raises:
            InputError: ffmpeg fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for cut_off in self.folder.glob(".*"):  # by a process that was killed
            cut_off.unlink()
        write_json(self.folder / "animation.json", self.facts)
        records = self.records()
        for found in in_threads(self._save, made, 2):
            records |= {record["file"]: record for record in found}
            ordered = sorted(records.values(), key=lambda record: (record["title"], record["file"]))
            write_text(self.manifest, "".join(json.dumps(record) + "\n" for record in ordered))

    def _save(self, film: Film, endings: list[str], images: list[np.ndarray]) -> list[dict[str, Any]]:
        """Writes the files of one film; their lines of the manifest."""
        frames, records = film.frames(images), []
        for ending in endings:
            data = animations.encoded(frames, ending, self.settings.frames_per_second)
            file = f"{film.stem}.{ending}"
            write_bytes(self.folder / file, data)
            made = {"file": file, "title": film.title, **film.source, "images": len(frames)}
            networks = {"generator": self.facts["generator"], "transformer": self.facts["transformer"]}
            records.append(made | networks | {"sha256": hashlib.sha256(data).hexdigest()})
        return records

    def write_page(self) -> None:
        """index.html: every film of the folder."""
        films: dict[str, dict[str, Any]] = {}
        for record in self.records().values():
            stem, _, ending = record["file"].rpartition(".")
            film = films.setdefault(stem, {"title": record["title"], "files": {}})
            film["files"][ending] = record["file"]
        shown = {"kind": self.settings.kind, "films": list(films.values()), "alphas": self.settings.alphas}
        pages.write(self.folder, "animations.html", title=f"Animations {self.folder.name}", **shown)


def resized(image: np.ndarray, width: int) -> np.ndarray:
    """An image [H, W, 3] uint8 of this width, or as it is where the width is 0."""
    if width in (0, image.shape[1]):
        return image
    size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def filmed(
    imaging: Imaging, missing: list[tuple[Film, list[str]]]
) -> Iterator[tuple[Film, list[str], list[np.ndarray]]]:
    """Each film with its images; a batch may hold the end of one film and the start of the next."""
    wanted = [picture for film, _ in missing for picture in film.pictures]
    size = imaging.studio.config.animate.size
    images = (resized(image, size) for _, image in tqdm(imaging.images(wanted), total=len(wanted), unit=" frames"))
    for film, endings in missing:
        yield film, endings, [next(images) for _ in film.pictures]


def folder_of(studio: Studio, step: int | None) -> pathlib.Path:
    """animations/NAME: animate.name, or where the latents are from, and the step of what moves them or "walk"."""
    settings = studio.config.animate
    source = pathlib.Path(settings.latents).name if settings.latents else f"seed{settings.seed}"
    moved = "walk" if settings.kind == "walk" else "edited" if step is None else str(step)
    return studio.folder.path / "animations" / (settings.name or latents.safe_name(f"{source}-{moved}"))


def check_settings(settings: ConfigDict, transformer: Any) -> None:
    """Refuses settings that cannot be followed, or would be without effect.

    Raises:
        InputError: naming the field.
    """
    if "mp4" in settings.formats:
        animations.ffmpeg()
    methods.check_noise_seeds(settings.noise_seeds, transformer, "config.animate.noise_seeds")
    methods.check_one_direction(transformer, "config.animate.alphas")


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Makes what is missing of the films in WORKDIR/animations/NAME.

    Raises:
        InputError: an input is wrong, or the folder holds something else or cannot be written.
    """
    studio = prepare_studio(config, workdir, local=True)
    # a walk is through latents as they are
    transformer = methods.learned_transformer(studio) if config.animate.kind == "sweep" else None
    check_settings(config.animate, transformer)
    films = films_of(studio)
    imaging = Imaging(studio, transformer, config.animate.batch_size)
    folder = folder_of(studio, transformer.source.get("step") if transformer else None)
    target = Animations(folder, imaging.facts, config.animate, films)
    target.check()
    studio.create()
    with told(folder):
        studio.folder.write_run(mesh=dict(studio.mesh.shape))
        missing = target.missing()
        if len(missing) < len(films):
            logging.info("%s: %d of %d films are there", folder, len(films) - len(missing), len(films))
        if missing:
            target.write(filmed(imaging, missing))
        target.write_page()
    logging.info("look at %s", folder / "index.html")
    return f"{len(missing)} films made, {len(films)} there"
