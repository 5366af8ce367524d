"""One evaluation: every latent along alpha, measured, drawn and summarised in a folder."""

import collections
import contextlib
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import config as configs
from latentjax import distributed, latents, networks, pictures, precision, preemption, space
from latentjax.config_checks import METHODS
from latentjax.errors import InputError
from latentjax.files import told
from latentjax.heartbeat import Heartbeat
from latentjax.jobs import methods
from latentjax.jobs.kept import keep
from latentjax.jobs.sweep import Measures, Sweep
from latentjax.jobs.workbench import Workbench
from latentjax.networks import identity_of
from latentjax.overlap import in_threads
from latentjax.report import strips as written
from latentjax.report.evaluation import finished_strips, log_result, open_folder, report, write_strips
from latentjax.report.strips import Strip, Swept

PREVIEWS = 4  # strips drawn while training


class Filled(NamedTuple):
    """A folder with all its strips."""

    facts: dict[str, Any]
    records: list[dict[str, Any]]  # of all strips, on the primary process
    made: int  # strips that it lacked before


class Evaluation:
    """Latents along alpha, in a folder.

    Args:
        bench: the job's tools; evaluate.method may also be a path.
        transformer: what moves them, its weights come with each call; None: gradient ascent.
        measures: what is measured; None: as the config says.
        within: the folder to write; None: evaluation/NAME of the run folder.

    Raises:
        InputError: the latents cannot be read or do not fit, or there is no such direction.
    """

    def __init__(
        self,
        bench: Workbench,
        transformer: networks.LatentTransformer | None,
        measures: Measures | None = None,
        within: pathlib.Path | None = None,
    ):
        settings = bench.config.evaluate
        self.bench, self.within = bench, within
        self.directions = methods.directions_of(settings.directions, transformer)
        self.sweep = Sweep(bench, transformer, measures or Measures(bench))
        self.transformer, self.alphas = self.sweep.transformer, self.sweep.alphas
        self.strips = strips_of(bench)
        distributed.refuse_other_files(" ".join(strip.key for strip in self.strips), "config.evaluate.latents")
        distributed.refuse_other_files(transformer.sha256 if transformer else "", "the transformer")

    def preview(self, params: Any, step: int) -> None:
        """Draws the first strips into samples/."""
        folder, strips = self.bench.folder.path / "samples", self.strips[:PREVIEWS]
        images, labels = [], []
        for direction in self.directions:
            for swept in self.sweep(params, strips, direction):
                images.append(pictures.strip(swept.tiles, self.alphas.tolist(), swept.measured["score"]))
                labels.append(swept.strip.latent.name + (f", {direction}" if len(self.directions) > 1 else ""))
        if images:
            folder.mkdir(exist_ok=True)
            for cut_off in folder.glob(".*.part"):
                cut_off.unlink()
            pictures.save(pictures.overview(images, labels, title=f"step {step}"), folder / f"step{step:08d}.png")

    def run(self, params: Any, step: int | None, *, untrained: bool = False) -> int:
        """Makes what is missing of the evaluation folder, of one for each of several directions.

        Args:
            params: the transformer's weights.
            step: how long they were trained, for the folder's name.
            untrained: keeps evaluate.name free for the learned transformer.

        Returns:
            How many strips were made.

        Raises:
            InputError: a folder holds an evaluation of something else.
        """
        made = 0
        for direction in self.directions:
            folder = self.folder(step, direction, untrained=untrained)
            with told(folder):
                filled = self.fill(params, direction, folder)
                made += filled.made
                if not distributed.is_primary():
                    continue
                if not filled.made and all((folder / name).exists() for name in ("index.html", "summary.json")):
                    logging.info("nothing is missing; look at %s", folder / "index.html")
                else:
                    log_result(folder, report(folder, filled.facts, filled.records))
        return made

    def open(self, params: Any, direction: int, folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Makes a folder and keeps in it what moves the latents; its facts, and the records of strips that are there.

        Only the primary process does, and knows of the strips.

        Raises:
            InputError: the folder holds an evaluation of something else.
        """
        facts = self.facts(params, direction)
        if not distributed.is_primary():
            return facts, {}
        records = open_folder(folder, facts, self.strips, configs.plain(self.bench.config.evaluate))
        if self.transformer is not None:
            keep(folder / "transformer", self.transformer, params)
        return facts, records

    def fill(self, params: Any, direction: int, folder: pathlib.Path) -> Filled:
        """Makes the strips that a folder lacks.

        All processes compute them; the primary one writes, and has the records.

        Raises:
            InputError: the folder holds an evaluation of something else.
        """
        facts, records = self.open(params, direction, folder)
        # a latent file that was edited since is drawn anew
        known = np.array([records.get(strip.file, {}).get("key") == strip.key for strip in self.strips])
        known = distributed.told_by_primary(known)
        missing = [strip for strip, there in zip(self.strips, known, strict=True) if not there]
        if not distributed.is_primary():
            with preemption.deferred() as stop:
                collections.deque(self.sweep(params, missing, direction, stop), maxlen=0)
            return Filled(facts, [], len(missing))
        space.check(folder, f"{len(missing)} strips", self._bytes_of(len(missing)))
        if len(missing) < len(self.strips):
            logging.info("%s: %d of %d strips are there", folder, len(self.strips) - len(missing), len(self.strips))
        drawn = self._draw(params, direction, missing, folder)
        bar = tqdm(drawn, total=len(missing), unit=" strips", desc=folder.name)
        heart = Heartbeat(self.bench.folder.path, folder.name, "strips", 1, 0, len(missing))
        for record in heart.along(bar):
            records[record["file"]] = record
        heart.close()
        ordered = [records[strip.file] for strip in self.strips]
        write_strips(folder, ordered)
        return Filled(facts, ordered, len(missing))

    def _bytes_of(self, count: int) -> int:
        """What so many strips take, about."""
        settings, tiles = self.bench.config.evaluate, count * len(self.alphas)
        needed = space.of_pictures(tiles, self.bench.generator.resolution, settings.format)
        return needed + space.of_pictures(tiles, self.tile, "jpeg")

    def ahead(self, step: int) -> list[space.Need]:
        """What a training that goes on from `step` will draw: previews, and what its evaluation lacks."""
        train, home = self.bench.config.train, self.bench.folder.path
        steps, every = train.num_steps, train.samples_every
        previews = steps // every - step // every + (steps % every > 0) if every and step < steps else 0
        tiles = previews * len(self.directions) * min(PREVIEWS, len(self.strips)) * len(self.alphas)
        missing = 0
        if self.bench.config.evaluate.after_train:
            grids = [self.folder(steps, direction) / "grids" for direction in self.directions]
            missing = sum(not (folder / strip.file).exists() for folder in grids for strip in self.strips)
        drawn = space.of_pictures(tiles, self.bench.generator.resolution, "png")
        return [
            space.Need(home, f"{previews} previews", drawn),
            space.Need(home, f"{missing} strips", self._bytes_of(missing)),
        ]

    def refuse_taken_name(self, first: int) -> None:
        """Tells before a run goes on from step `first` that evaluate.name holds what it was before.

        Raises:
            InputError: it does.
        """
        settings, steps = self.bench.config.evaluate, self.bench.config.train.num_steps
        if not (settings.after_train and settings.name and first < steps):
            return
        for direction in self.directions:
            if (folder := self.folder(steps, direction)).exists():
                todo = "choose another --config.evaluate.name, or leave it out to name evaluations by step"
                raise InputError(folder, f"holds the evaluation of step {first} or earlier", todo)

    def check(self, params: Any, step: int | None) -> None:
        """Refuses, before anything is written, an evaluation folder of something else.

        Raises:
            InputError: it is.
        """
        for direction in self.directions:
            if (folder := self.folder(step, direction)).exists():
                finished_strips(folder, self.facts(params, direction), self.strips)
        distributed.wait_for_all("what is there")

    def folder(self, step: int | None, direction: int, *, untrained: bool = False) -> pathlib.Path:
        """evaluation/NAME, with the direction where there are several; see `folder_of`."""
        folder = self.within or folder_of(self.bench, step)
        ending = "-untrained" if self.bench.config.evaluate.name and untrained else ""
        if self.transformer is not None and self.transformer.config.get("num_directions"):
            ending += f"-direction{direction}"
        return folder.with_name(folder.name + ending)

    def _draw(
        self, params: Any, direction: int, missing: list[Strip], folder: pathlib.Path
    ) -> Iterator[dict[str, Any]]:
        """Writes pictures in threads while the device computes, each logged at once; yields their records."""
        settings, judges = self.bench.config.evaluate, self.sweep.measures.judges
        original = list(judges.alphas).index(0) if judges else None
        lock = threading.Lock()

        def write(swept: Swept) -> dict[str, Any]:
            record = written.write(folder, swept, self.alphas, original, self.tile, settings.jpeg_quality)
            record["batch"] = self.sweep.batch  # of another size, it is another program with other last digits
            with lock:
                log.write(json.dumps(record) + "\n")
                log.flush()
            return record

        # alone, a signal may break in anywhere; of several processes none may leave the others waiting
        listening = preemption.deferred() if distributed.several() else contextlib.nullcontext()
        with open(folder / "strips.jsonl", "a", encoding="utf-8") as log, listening as stop:
            swept = self.sweep(params, missing, direction, stop)
            yield from in_threads(write, zip(swept), 4 * self.sweep.batch)

    @property
    def tile(self) -> int:
        """Width in pixels of the page's tiles."""
        return min(self.bench.config.evaluate.sprite_size, self.bench.generator.resolution)

    def facts(self, params: Any, direction: int) -> dict[str, Any]:
        """What an evaluation folder is of; strips of other facts do not belong into it."""
        settings, assessor = self.bench.config.evaluate, self.bench.assessor
        origins = {"origin": ", ".join(assessor.origins)} if assessor.origins else {}
        ascent = [settings.ascent_steps, settings.ascent_step_size]
        return {
            "alphas": [round(float(alpha), 6) for alpha in self.alphas],
            # a path may be written in several ways; what is there is told by its transformer
            "method": settings.method if settings.method in METHODS else "learned",
            "mode": settings.mode,
            "move": settings.move,
            "format": [settings.format, settings.jpeg_quality] if settings.format == "jpeg" else settings.format,
            "generator": self.bench.generator.sha256 or self.bench.config.generator.weights,
            "assessor": assessor.sha256 or json.dumps(assessor.settings, sort_keys=True),
            "score": assessor.settings,
            "bounded": assessor.bounded,
            "transformer": identity_of(self.transformer, params),
            "settings": self.transformer.config if self.transformer else {"ascent": ascent},
            "direction": direction,
            "precision": precision.chosen(self.bench.config.precision, self.bench.mesh),
            "tile": self.tile,
            **self.sweep.measures.facts,
            **origins,
        }


def folder_of(bench: Workbench, step: int | None = None, made: str = "") -> pathlib.Path:
    """evaluation/NAME: evaluate.name, or where the latents are from, what made it, and how they move.

    Args:
        bench: the job's tools.
        step: how long a learned map was trained.
        made: what made it; by default the step, or the method.
    """
    settings = bench.config.evaluate
    source = pathlib.Path(settings.latents).name if settings.latents else "sampled"
    if not made:
        made = settings.method if settings.method != "learned" else "" if step is None else str(step)
    how = [f"{settings.move}_only"] * (settings.move != "both") + ["iterative"] * (settings.mode == "iterative")
    name = settings.name or latents.safe_name("-".join(filter(None, [source, made, *how])))
    return bench.folder.path / "evaluation" / name


def strips_of(bench: Workbench) -> list[Strip]:
    """Every latent with every noise seed.

    Raises:
        InputError: the latents cannot be read or do not fit, or two strips would have one name.
    """
    settings = bench.config.evaluate
    ending = {"png": "png", "jpeg": "jpg"}[settings.format]
    strips = [Strip(latent, seed, ending) for latent in bench.points(settings) for seed in settings.noise_seeds]
    names = [strip.file for strip in strips]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(settings.latents or "latents", f"give two strips the name {twice}", "rename one")
    return strips
