"""Evaluation grids: every latent along alpha, measured, drawn and summarised."""

import json
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from tqdm import tqdm

from latentjax import distributed, latents, networks, objective, pictures, weights
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs.workbench import Workbench, fitting, new_transformer, prepare
from latentjax.latents import Latent
from latentjax.properties import PROPERTIES
from latentjax.report.evaluation import Strip, finished_strips, log_result, open_folder, report, write_strip

PREVIEWS = 4  # strips drawn while training


class Evaluation:
    """Latents swept along alpha by one compiled program, whatever their number.

    Args:
        bench: the job's tools.
        transformer: whose kind is evaluated; its weights come with each call.

    Raises:
        InputError: the latents cannot be read or do not fit.
    """

    def __init__(self, bench: Workbench, transformer: networks.LatentTransformer):
        settings = bench.config.evaluate
        self.bench = bench
        self.transformer = per_sample(transformer)
        self.alphas = np.asarray(settings.alphas, np.float32)
        self.strips = [Strip(latent, seed) for latent in latents_of(bench) for seed in settings.noise_seeds]
        names = [strip.file for strip in self.strips]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(settings.latents or "latents", f"give two strips the name {twice}", "rename one")
        devices = bench.mesh.size
        self.batch = -(-settings.batch_size // devices) * devices
        self._sweep = jax.jit(self._measure)

    def _measure(self, params: Any, frozen: objective.Frozen, rows: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        """uint8 images [B, A, R, R, 3], and the score and properties [B, A]."""
        z, y, noise = distributed.constrain(rows, distributed.by_row(self.bench.mesh))
        nets, shape = self.bench.networks(self.transformer), (z.shape[0], len(self.alphas))
        images, scores = objective.sweep(nets, params, frozen, z, y, jnp.asarray(self.alphas), noise)
        measured = {"score": scores} | {name: measure(images) for name, measure in PROPERTIES.items()}
        tiles = pictures.to_uint8(images).reshape(*shape, *images.shape[1:])
        return tiles, {name: values.reshape(shape) for name, values in measured.items()}

    def sweep(self, params: Any, strips: list[Strip]) -> Iterator[tuple[Strip, np.ndarray, dict[str, list[float]]]]:
        """Strip, its tiles [A, R, R, 3] uint8 and its measures, for each strip; the last batch is padded."""
        for start in range(0, len(strips), self.batch):
            group = strips[start : start + self.batch]
            tiles, measured = jax.device_get(self._sweep(params, self.bench.frozen, self._rows(group)))
            for i, strip in enumerate(group):
                yield strip, tiles[i], {name: values[i].tolist() for name, values in measured.items()}

    def _rows(self, group: list[Strip]) -> Any:
        """z, y and noise of a batch; the noise depends on the latent and the seed, not on its neighbours."""
        noises = []
        for strip in group:
            key = jax.random.fold_in(jax.random.key(strip.noise_seed), int(strip.key[:8], 16))
            noises.append(self.transformer.sample_noise(key, 1))
        noise = tuple(None if rows[0] is None else np.concatenate(rows) for rows in zip(*noises, strict=True))
        z, y = (np.stack([getattr(strip.latent, name) for strip in group]) for name in ("z", "y"))
        rows = jax.tree.map(lambda array: distributed.padded(array, self.batch), (z, y, noise))
        return jax.device_put(rows, distributed.by_row(self.bench.mesh))

    def preview(self, params: Any, step: int) -> None:
        """Draws the first strips into samples/."""
        folder = self.bench.folder.path / "samples"
        folder.mkdir(exist_ok=True)
        drawn = self.sweep(params, self.strips[:PREVIEWS])
        images = [pictures.strip(tiles, self.alphas.tolist(), measured["score"]) for _, tiles, measured in drawn]
        labels = [strip.latent.name for strip in self.strips[:PREVIEWS]]
        pictures.save_png(pictures.overview(images, labels, title=f"step {step}"), folder / f"step{step:08d}.png")

    def run(self, params: Any, step: int | None, *, untrained: bool = False) -> dict[str, Any]:
        """Makes what is missing of the evaluation folder, and returns its summary.

        Args:
            params: the transformer's weights.
            step: how long they were trained, for the folder's name.
            untrained: keeps evaluate.name free for the learned transformer.

        Raises:
            InputError: the folder holds an evaluation of something else.
        """
        folder, facts = self._folder(step, untrained=untrained), self._facts(params)
        records = open_folder(folder, facts, self.strips)
        # a latent file that was edited since is drawn anew
        missing = [strip for strip in self.strips if records.get(strip.file, {}).get("key") != strip.key]
        if len(missing) < len(self.strips):
            logging.info("%s: %d of %d strips are there", folder, len(self.strips) - len(missing), len(self.strips))
        with open(folder / "strips.jsonl", "a", encoding="utf-8") as log:
            for record in tqdm(
                self._draw(params, missing, folder), total=len(missing), unit=" strips", desc=folder.name
            ):
                records[record["file"]] = record
                log.write(json.dumps(record) + "\n")
                log.flush()
        summary = report(folder, facts, [records[strip.file] for strip in self.strips], self.strips)
        log_result(folder, summary)
        return summary

    def refuse_taken_name(self, first: int) -> None:
        """Tells before a run goes on from step `first` that evaluate.name holds what it was before.

        Raises:
            InputError: it does.
        """
        settings, steps = self.bench.config.evaluate, self.bench.config.train.num_steps
        if settings.after_train and settings.name and first < steps and self._folder(steps).exists():
            todo = "choose another --config.evaluate.name, or leave it out to name evaluations by step"
            raise InputError(self._folder(steps), f"holds the evaluation of step {first} or earlier", todo)

    def check(self, params: Any, step: int | None) -> None:
        """Refuses, before anything is written, an evaluation folder of something else.

        Raises:
            InputError: it is.
        """
        folder = self._folder(step)
        if folder.exists():
            finished_strips(folder, self._facts(params), self.strips)

    def _folder(self, step: int | None, *, untrained: bool = False) -> pathlib.Path:
        """evaluation/NAME: evaluate.name, or where the latents are from and the step."""
        settings = self.bench.config.evaluate
        source = pathlib.Path(settings.latents).name if settings.latents else "sampled"
        name = settings.name or latents.safe_name(source if step is None else f"{source}-{step}")
        if settings.name and untrained:
            name += "-untrained"
        return self.bench.folder.path / "evaluation" / name

    def _draw(self, params: Any, missing: list[Strip], folder: pathlib.Path) -> Iterator[dict[str, Any]]:
        """Writes the pictures in threads while the device computes; yields a record when its picture is there."""
        with ThreadPoolExecutor(4) as pool:
            waiting = []
            for strip, tiles, measured in self.sweep(params, missing):
                waiting.append(pool.submit(write_strip, folder / "grids", strip, tiles, self.alphas, measured))
                while waiting and (waiting[0].done() or len(waiting) > 4 * self.batch):
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def _facts(self, params: Any) -> dict[str, Any]:
        """What an evaluation folder is of; strips of other facts do not belong into it."""
        return {
            "alphas": [round(float(alpha), 6) for alpha in self.alphas],
            "mode": self.bench.config.evaluate.mode,
            "generator": self.bench.generator.sha256 or self.bench.config.generator.weights,
            "assessor": self.bench.assessor.sha256 or json.dumps(self.bench.assessor.config, sort_keys=True),
            "transformer": weights.digest(jax.device_get(weights.named(params))),
            "settings": self.transformer.config,
            "precision": self.bench.config.precision,
        }


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
    return latents.sample_latents(settings.count, settings.seed, *sizes, drawn.truncation, drawn.classes)


def run(config: ConfigDict, workdir: str) -> None:
    """Evaluates the run's transformer, or transformer.weights where the run has none.

    Raises:
        InputError: there is no transformer, or an input is wrong.
    """
    bench = prepare(config, workdir)
    trained = bench.folder.path / "transformer"
    if trained.is_dir():
        transformer = fitting(networks.load_transformer(trained), bench, trained)
    elif config.transformer.weights:
        transformer = new_transformer(bench)
    else:
        what = "holds no learned transformer"
        raise InputError(workdir, what, "train first (leave --job out), or set --config.transformer.weights")
    evaluation, step = Evaluation(bench, transformer), transformer.source.get("step")
    evaluation.check(transformer.state, step)
    bench.create()
    params = jax.device_put(transformer.state, distributed.replicated(bench.mesh))
    evaluation.run(params, step)
