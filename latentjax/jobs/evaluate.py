"""Evaluation grids: every latent along alpha, measured, drawn and summarised."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import distributed, latents, networks, objective, pictures, precision, weights
from latentjax.ascent import Ascent, ascend
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs import methods
from latentjax.jobs.workbench import Workbench, prepare
from latentjax.latents import Latent
from latentjax.overlap import ahead, in_threads
from latentjax.properties import PROPERTIES
from latentjax.report.evaluation import (
    Strip,
    finished_strips,
    log_result,
    open_folder,
    report,
    write_strip,
    write_strips,
)

PREVIEWS = 4  # strips drawn while training


class Evaluation:
    """Latents swept along alpha by one compiled program, whatever their number.

    Args:
        bench: the job's tools.
        transformer: whose kind is evaluated, its weights come with each call; None: gradient ascent.

    Raises:
        InputError: the latents cannot be read or do not fit, or there is no such direction.
    """

    def __init__(self, bench: Workbench, transformer: networks.LatentTransformer | None):
        settings = bench.config.evaluate
        self.bench = bench
        self.transformer = None if transformer is None else per_sample(transformer)
        self.alphas = np.asarray(settings.alphas, np.float32)
        self.measures = ["score", *PROPERTIES, *(f"kept {name}" for name in bench.assessor.kept_names)]
        self.directions = methods.directions_of(settings.directions, transformer)
        methods.check_settings(settings, transformer)
        ending = {"png": "png", "jpeg": "jpg"}[settings.format]
        seeds = settings.noise_seeds
        self.strips = [Strip(latent, seed, ending) for latent in latents_of(bench) for seed in seeds]
        names = [strip.file for strip in self.strips]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(settings.latents or "latents", f"give two strips the name {twice}", "rename one")
        self.batch = distributed.shareable(settings.batch_size, bench.mesh)
        self._sweep = jax.jit(self._measure, compiler_options=distributed.compiler_options(bench.mesh))

    def _measure(
        self, params: Any, frozen: objective.Frozen, rows: Any, direction: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """uint8 images [B, A, R, R, 3], and the score, properties and kept scores [B, A]."""
        rows = distributed.constrain(rows, distributed.by_row(self.bench.mesh))
        nets, shape = self.bench.networks(self.transformer), (rows[0].shape[0], len(self.alphas))
        moved = [array.reshape(-1, array.shape[-1]) for array in self._moved(nets, params, frozen, rows, direction)]
        images, scores, kept = objective.assess(nets, frozen, *moved)
        values = [scores, *(measure(images) for measure in PROPERTIES.values()), *kept.T]
        measured = dict(zip(self.measures, values, strict=True))
        tiles = pictures.to_uint8(images).reshape(*shape, *images.shape[1:])
        return tiles, {name: values.reshape(shape) for name, values in measured.items()}

    def _moved(
        self,
        nets: objective.Networks,
        params: Any,
        frozen: objective.Frozen,
        rows: Any,
        direction: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """z' [B, A, Z] and y' [B, A, C], by the method of the config."""
        settings, (z, y, noise) = self.bench.config.evaluate, rows
        if self.transformer is None:
            kept = self.bench.assessor.kept_weights
            ascent = Ascent(settings.ascent_steps, settings.ascent_step_size, settings.move, kept)
            return ascend(nets, frozen, z, y, self.alphas, ascent)

        def move(params: Any, z: jax.Array, y: jax.Array, *asked: Any) -> tuple[jax.Array, jax.Array]:
            moved_z, moved_y = nets.transformer(params, z, y, *asked)
            return z if settings.move == "y" else moved_z, y if settings.move == "z" else moved_y

        moving, iterative = nets._replace(transformer=move), settings.mode == "iterative"
        return objective.along(moving, params, z, y, self.alphas, noise, direction, iterative=iterative)

    def sweep(
        self, params: Any, strips: list[Strip], direction: int = 0
    ) -> Iterator[tuple[Strip, np.ndarray, dict[str, list[float]]]]:
        """Strip, its tiles [A, R, R, 3] uint8 and its measures, for each strip; the last batch is padded."""
        groups = (strips[start : start + self.batch] for start in range(0, len(strips), self.batch))
        frozen, chosen = self.bench.frozen, np.int32(direction)
        started = ((group, self._sweep(params, frozen, self._rows(group), chosen)) for group in groups)
        # the device works on the next batch while this one is fetched and drawn
        for group, swept in ahead(started):
            yield from self._fetched(group, swept)

    def _fetched(self, group: list[Strip], swept: Any) -> Iterator[tuple[Strip, np.ndarray, dict[str, list[float]]]]:
        """Strip, tiles and measures of a batch, from the device."""
        tiles, measured = jax.device_get(swept)
        for i, strip in enumerate(group):
            yield strip, tiles[i], {name: measured[name][i].tolist() for name in self.measures}

    def _rows(self, group: list[Strip]) -> Any:
        """z, y and noise of a batch; the noise depends on the latent and the seed, not on its neighbours."""
        noise = methods.noise_of(self.transformer, ((strip.latent, strip.noise_seed) for strip in group))
        z, y = latents.stacked([strip.latent for strip in group])
        rows = jax.tree.map(lambda array: distributed.padded(array, self.batch), (z, y, noise))
        return jax.device_put(rows, distributed.by_row(self.bench.mesh))

    def preview(self, params: Any, step: int) -> None:
        """Draws the first strips into samples/."""
        folder, strips = self.bench.folder.path / "samples", self.strips[:PREVIEWS]
        folder.mkdir(exist_ok=True)
        images, labels = [], []
        for direction in self.directions:
            for strip, tiles, measured in self.sweep(params, strips, direction):
                images.append(pictures.strip(tiles, self.alphas.tolist(), measured["score"]))
                labels.append(strip.latent.name + (f", {direction}" if len(self.directions) > 1 else ""))
        pictures.save(pictures.overview(images, labels, title=f"step {step}"), folder / f"step{step:08d}.png")

    def run(self, params: Any, step: int | None, *, untrained: bool = False) -> None:
        """Makes what is missing of the evaluation folder, of one for each of several directions.

        Args:
            params: the transformer's weights.
            step: how long they were trained, for the folder's name.
            untrained: keeps evaluate.name free for the learned transformer.

        Raises:
            InputError: a folder holds an evaluation of something else.
        """
        for direction in self.directions:
            self._run(params, direction, self._folder(step, direction, untrained=untrained))

    def _run(self, params: Any, direction: int, folder: pathlib.Path) -> None:
        """One evaluation folder."""
        facts = self._facts(params, direction)
        records = open_folder(folder, facts, self.strips)
        # a latent file that was edited since is drawn anew
        missing = [strip for strip in self.strips if records.get(strip.file, {}).get("key") != strip.key]
        if len(missing) < len(self.strips):
            logging.info("%s: %d of %d strips are there", folder, len(self.strips) - len(missing), len(self.strips))
        with open(folder / "strips.jsonl", "a", encoding="utf-8") as log:
            drawn = self._draw(params, direction, missing, folder)
            for record in tqdm(drawn, total=len(missing), unit=" strips", desc=folder.name):
                records[record["file"]] = record
                log.write(json.dumps(record) + "\n")
                log.flush()
        ordered = [records[strip.file] for strip in self.strips]
        write_strips(folder, ordered)
        log_result(folder, report(folder, facts, ordered))

    def refuse_taken_name(self, first: int) -> None:
        """Tells before a run goes on from step `first` that evaluate.name holds what it was before.

        Raises:
            InputError: it does.
        """
        settings, steps = self.bench.config.evaluate, self.bench.config.train.num_steps
        if not (settings.after_train and settings.name and first < steps):
            return
        for direction in self.directions:
            if (folder := self._folder(steps, direction)).exists():
                todo = "choose another --config.evaluate.name, or leave it out to name evaluations by step"
                raise InputError(folder, f"holds the evaluation of step {first} or earlier", todo)

    def check(self, params: Any, step: int | None) -> None:
        """Refuses, before anything is written, an evaluation folder of something else.

        Raises:
            InputError: it is.
        """
        for direction in self.directions:
            if (folder := self._folder(step, direction)).exists():
                finished_strips(folder, self._facts(params, direction), self.strips)

    def _folder(self, step: int | None, direction: int, *, untrained: bool = False) -> pathlib.Path:
        """evaluation/NAME: evaluate.name, or where the latents are from, the step or method, and how they move."""
        settings = self.bench.config.evaluate
        source = pathlib.Path(settings.latents).name if settings.latents else "sampled"
        made = [settings.method] if settings.method != "learned" else [] if step is None else [str(step)]
        how = [f"{settings.move}_only"] * (settings.move != "both") + ["iterative"] * (settings.mode == "iterative")
        name = settings.name or latents.safe_name("-".join([source, *made, *how]))
        if settings.name and untrained:
            name += "-untrained"
        if self.transformer is not None and self.transformer.config.get("num_directions"):
            name += f"-direction{direction}"
        return self.bench.folder.path / "evaluation" / name

    def _draw(
        self, params: Any, direction: int, missing: list[Strip], folder: pathlib.Path
    ) -> Iterator[dict[str, Any]]:
        """Writes the pictures in threads while the device computes; yields a record when its picture is there."""
        grids, quality = folder / "grids", self.bench.config.evaluate.jpeg_quality
        swept = self.sweep(params, missing, direction)
        calls = ((grids, strip, tiles, self.alphas, measured, quality) for strip, tiles, measured in swept)
        return in_threads(write_strip, calls, 4 * self.batch)

    def _facts(self, params: Any, direction: int) -> dict[str, Any]:
        """What an evaluation folder is of; strips of other facts do not belong into it."""
        settings, assessor = self.bench.config.evaluate, self.bench.assessor
        origins = {"origin": ", ".join(assessor.origins)} if assessor.origins else {}
        ascent = [settings.ascent_steps, settings.ascent_step_size]
        return {
            "alphas": [round(float(alpha), 6) for alpha in self.alphas],
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
            **origins,
        }


def identity_of(transformer: networks.LatentTransformer | None, params: Any) -> str:
    """What tells one transformer from another: how it is defined, or its weights; empty without one."""
    if transformer is None:
        return ""
    return transformer.source.get("definition") or weights.digest(jax.device_get(weights.named(params)))


def per_sample(transformer: networks.LatentTransformer) -> networks.LatentTransformer:
    """The transformer with renorm "sample" in place of "batch": the published script evaluates one by one."""
    if transformer.config.get("renorm") != "batch":
        return transformer
    return networks.with_settings(transformer, renorm="sample")


def latents_of(bench: Workbench) -> list[Latent]:
    """The latents that the config names.

    Raises:
        InputError: they cannot be read or do not fit the generator.
    """
    settings, generator = bench.config.evaluate, bench.generator
    sizes = (generator.latent_dim, generator.num_classes)
    if settings.latents:
        return latents.read(settings.latents, *sizes, skip_bad=settings.skip_bad)
    drawn = bench.config.latents
    return latents.sample_latents(settings.count, settings.seed, *sizes, drawn.truncation, bench.classes)


def run(config: ConfigDict, workdir: str) -> None:
    """Evaluates the run's transformer, or transformer.weights where the run has none, or what evaluate.method says.

    Raises:
        InputError: there is no transformer, or an input is wrong.
    """
    bench = prepare(config, workdir)
    transformer, step = methods.transformer_of(bench)
    evaluation, params = Evaluation(bench, transformer), transformer.state if transformer else None
    evaluation.check(params, step)
    bench.create()
    evaluation.run(jax.device_put(params, distributed.replicated(bench.mesh)), step)
