"""A map of latents to look around in, and directions that nobody had to name, as transformers."""

import hashlib
import pathlib
import shlex
from typing import Any

import numpy as np
from absl import logging
from PIL import Image
from tqdm import tqdm

from latentjax import artbreeder, exploration, fixed_directions, latents, packages, pictures
from latentjax.config import ConfigDict
from latentjax.data import latent_sets
from latentjax.errors import InputError
from latentjax.files import told, write_json
from latentjax.generated import Picture
from latentjax.jobs import methods
from latentjax.jobs.imaging import Imaging
from latentjax.jobs.samples import Samples
from latentjax.jobs.workbench import Studio, Workbench, prepare, prepare_studio, start
from latentjax.latents import Latent
from latentjax.networks import LatentTransformer
from latentjax.overlap import in_threads
from latentjax.report.exploration import Exploration, report
from latentjax.run_folder import RunFolder, job, refuse_other_facts
from latentjax.unsupervised_directions import KINDS

NAMED = "--config.explore.name"
SIDE = 96  # of a thumbnail, in pixels at most
FEWER_CLUSTERS = "Sampled z are independent draws: they have no groups of their own, and clusters only part the map."


def points_of(config: ConfigDict, studio: Studio | None) -> list[Latent]:
    """The latents that the config names; without a generator their files tell their sizes.

    Raises:
        InputError: they cannot be read, do not fit the generator, or are to be sampled without one.
    """
    settings = config.explore
    if studio is not None:
        return studio.points(settings)
    if not settings.latents:
        todo = "give a generator to sample latents for, or --config.explore.latents"
        raise InputError("config.generator.weights", "is not set", todo)
    root = pathlib.Path(settings.latents)
    files = sorted(root.iterdir()) if root.is_dir() else [root]
    return artbreeder.read(root, *latent_sets.sizes_of(files), skip_bad=settings.skip_bad)


def explored(config: ConfigDict, title: str, points: list[Latent], found: exploration.Map) -> Exploration:
    """The map with its colours; thumbnails are added when they are made.

    Raises:
        InputError: the table of users is wrong.
    """
    settings = config.explore
    classes, users, notes = exploration.classes_of(points), [""] * len(points), []
    facts: dict[str, Any] = {"of": settings.of, "perplexity": settings.perplexity, "seed": settings.seed}
    if settings.users:
        users, unused = exploration.users_of(settings.users, points)
        coloured = exploration.coloured_users(users, settings.user_images)
        groups = [user if user in coloured else "" for user in users]
        least, most = settings.user_images
        known = len(set(filter(None, users)))
        notes.append(f"{len(coloured)} of {known} users have {least} to {most} images here and are coloured.")
        facts["users"] = {"known": known, "coloured": len(coloured), "images": len(groups) - groups.count("")}
        logging.info("%s (%d lines of the table name none of the latents)", notes[-1], unused)
    else:
        chosen = exploration.coloured_classes(classes)
        coloured = [f"class {label}" for label in chosen]
        groups = [f"class {label}" if label in chosen else "" for label in classes]
        if (others := len(set(classes)) - len(chosen)) and coloured:
            notes.append(f"The {len(chosen)} most frequent classes are coloured, {others} others are grey.")
    if not settings.latents and settings.of == "z":
        notes.append(FEWER_CLUSTERS)
    names = [point.name for point in points]
    return Exploration(title, names, users, classes, groups, coloured, found, [], facts, notes)


def thumbnails(imaging: Imaging, points: list[Latent], folder: pathlib.Path) -> list[str]:
    """Makes the thumbnails that are missing; the names of all, which tell their content."""
    files = [f"{latents.safe_name(point.name)[:100]}-{point.key[:12]}.jpg" for point in points]
    folder.mkdir(exist_ok=True)
    for cut_off in folder.glob(".*.part"):
        cut_off.unlink()
    missing = [i for i, file in enumerate(files) if not (folder / file).exists()]

    def save(picture: Picture, image: np.ndarray) -> None:
        thumbnail = Image.fromarray(image)
        thumbnail.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        pictures.save(thumbnail, folder / files[picture.index])

    made = imaging.images(Picture(i, points[i]) for i in missing)
    bar = tqdm(made, total=len(missing), unit=" images", desc="thumbnails", disable=not missing)
    for _ in in_threads(save, bar, 4 * imaging.batch):
        pass
    return files


def directions_of(studio: Studio) -> dict[str, LatentTransformer]:
    """Name to direction: the first of PCA and SeFa, and where an assessor judges, the boundary between its scores.

    Raises:
        InputError: there are fewer, or scores do not differ.
    """
    field = "config.explore.directions"
    found = {}
    for kind in KINDS:
        of_kind = methods.directions_of_kind(studio, kind, studio.config.explore.directions, field)
        found |= {f"{kind}-{number}": direction for number, direction in enumerate(of_kind)}
    if isinstance(studio, Workbench):
        found["svm"] = methods.boundary_of(Samples(studio))
    return found


def export(directions: dict[str, LatentTransformer], studio: Studio, folder: pathlib.Path) -> None:
    """Writes directions/, transformer folders all of them, and tells how one is evaluated."""
    for name, direction in directions.items():
        fixed_directions.save(direction, folder / "directions" / name, replace=True)
    first = next(iter(directions))
    run = shlex.quote(f'--config.evaluate.runs=("{first}={folder / "directions" / first}",)')
    logging.info("%d directions are in %s; evaluate one with", len(directions), folder / "directions")
    workdir = shlex.quote(str(studio.folder.path))
    logging.info("python launch.py --job=evaluate --workdir=%s --config.evaluate.name=%s %s", workdir, first, run)


def folder_of(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """exploration/NAME: explore.name, or where the latents are from, and what of them is mapped unless z."""
    settings = config.explore
    source = pathlib.Path(settings.latents).name if settings.latents else f"seed{settings.seed}"
    mapped = f"-{settings.of}" * (settings.of != "z")
    return workdir / "exploration" / (settings.name or latents.safe_name(source + mapped))


def check_folder(folder: pathlib.Path, facts: dict[str, Any]) -> None:
    """Refuses, before anything is written, a folder of something else.

    Raises:
        InputError: it is of other latents or networks, or no exploration.
    """
    known = refuse_other_facts(folder / "exploration.json", facts, NAMED)
    if not known and folder.exists() and any(path.name[0] != "." for path in folder.iterdir()):
        raise InputError(folder, "is neither empty nor an exploration", f"choose another {NAMED}")


def prepared(config: ConfigDict, workdir: str) -> Studio | None:
    """The job's tools: with an assessor where one is to judge directions; None without a generator.

    Raises:
        InputError: the workdir is another run's, or a network cannot be loaded.
    """
    if not config.generator.weights:
        start(config)
        return None
    judging = config.explore.directions and (config.assessor.weights or config.assessor.terms)
    return prepare(config, workdir, "explore", fits=True) if judging else prepare_studio(config, workdir)


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Maps latents in WORKDIR/exploration/NAME; with a generator, shows them and exports directions too.

    The map is made anew each time, under whatever settings; thumbnails that are there are not.

    Raises:
        InputError: an input is wrong, scikit-learn is missing, or the folder is another's or cannot be written.
    """
    settings, run_folder = config.explore, RunFolder(workdir, config)
    packages.scikit_learn("manifold")
    studio = prepared(config, workdir)
    points = points_of(config, studio)
    vectors = exploration.vectors(points, settings.of)
    exploration.check_sizes(vectors, settings.perplexity, settings.clusters)
    imaging = None if studio is None else Imaging(studio, None, settings.batch_size)
    folder = folder_of(config, run_folder.path)
    facts = {"latents": hashlib.sha256("".join(point.key for point in points).encode()).hexdigest()}
    facts |= {} if imaging is None else imaging.facts
    check_folder(folder, facts)
    logging.info("mapping %d latents by PCA and t-SNE", len(points))
    sizes = (settings.components, settings.perplexity, settings.clusters)
    found = exploration.made(vectors, *sizes, settings.seed)
    mapped = explored(config, f"Map of {folder.name}: {len(points)} latents", points, found)
    directions = directions_of(studio) if studio is not None and settings.directions else {}
    (run_folder if studio is None else studio).create()
    with told(folder):
        (run_folder if studio is None else studio.folder).write_run()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "exploration.json", facts)
        if imaging is not None:
            mapped.thumbnails.extend(thumbnails(imaging, points, folder / "thumbnails"))
        summary = report(folder, mapped)
    variance = 100 * sum(summary["explained_variance"])
    logging.info("%d components keep %.0f %% of the variance", len(summary["explained_variance"]), variance)
    if studio is not None and directions:
        export(directions, studio, folder)
    logging.info("look at %s", folder / "index.html")
    return f"{len(points)} latents mapped"
