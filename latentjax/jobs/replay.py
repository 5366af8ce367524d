"""One tile of an evaluation made again, by the program that made it."""

import copy
import json
import pathlib
from typing import Any, NamedTuple

import jax
from absl import logging
from PIL import Image

from latentjax import config as configs
from latentjax import distributed, networks, pictures
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import told
from latentjax.generated import written
from latentjax.jobs.evaluation import Evaluation
from latentjax.jobs.workbench import prepare
from latentjax.report.strips import pixels_sha256

FIELD = "config.generate.tile"
DIFFERENT = "not every pixel as in the evaluation, which ran on another machine or with other versions"


class Tile(NamedTuple):
    """A line of manifest.jsonl, and the folder that it is in."""

    folder: pathlib.Path
    line: dict[str, Any]
    facts: dict[str, Any]  # evaluation.json

    @property
    def settings(self) -> dict[str, Any]:
        """The config's evaluate group under which it was made."""
        settings = {f"evaluate.{name}": configs.tuples(value) for name, value in self.facts["evaluate"].items()}
        return settings | {"evaluate.batch_size": self.line["batch"]}

    @property
    def name(self) -> str:
        """Of the picture's file."""
        run = self.folder.name
        return f"{run}-{pathlib.PurePath(self.line['strip']).stem}-alpha{written(self.line['alpha'])}.png"


def find(wanted: str, workdir: pathlib.Path) -> Tile:
    """The tile of "EVALUATION/manifest.jsonl:LINE"; lines count from 1.

    Raises:
        InputError: there is no such line, or its evaluation is damaged.
    """
    file, _, number = wanted.rpartition(":")
    manifest, todo = workdir / file, "give evaluation/NAME/manifest.jsonl:LINE, as the page shows it"
    if not file or not number.isascii() or not number.isdigit():
        raise InputError(FIELD, f"is {wanted!r}", todo)
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
        if not 1 <= int(number) <= len(lines):
            raise InputError(FIELD, f"asks for line {number} of {len(lines)} of {manifest}", todo)
        facts = dict(json.loads((manifest.parent / "evaluation.json").read_text(encoding="utf-8")))
        tile = Tile(manifest.parent, dict(json.loads(lines[int(number) - 1])), facts)
        _ = tile.name, tile.settings, facts["direction"], tile.line["tile_sha256"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(manifest, f"is no evaluation's ({error!r:.200})", todo) from error
    return tile


def run(config: ConfigDict, workdir: str) -> None:
    """Writes the tile that generate.tile names into WORKDIR/generated/tiles/.

    It is made as the evaluation made it: with its settings, whatever config.evaluate says now, and with the direction
    that is kept in its folder.

    Raises:
        InputError: there is no such tile, the networks or latents are no longer those of the evaluation, or there are
            several processes.
    """
    # one that is alone is not asked: that would choose a platform
    if jax.distributed.is_initialized() and distributed.several():
        raise InputError(FIELD, "is made by one process", "start the job once")
    tile = find(config.generate.tile, pathlib.Path(workdir))
    own = copy.deepcopy(config)
    try:
        own.update_from_flattened_dict(tile.settings)
    except (KeyError, TypeError, AttributeError) as error:
        todo = "evaluate again, under another --config.evaluate.name"
        raise InputError(tile.folder, f"is of another version of latentjax ({error!r:.200})", todo) from error
    bench = prepare(own, workdir)
    kept = tile.folder / "transformer"
    transformer = networks.load_transformer(kept) if kept.exists() else None
    evaluation = Evaluation(bench, transformer, within=tile.folder)
    params = jax.device_put(transformer.state if transformer else None, distributed.replicated(bench.mesh))
    now = evaluation.facts(params, tile.facts["direction"])
    if differing := [name for name in now if now[name] != tile.facts.get(name)]:
        what = f"was made with another {' and '.join(differing)}"
        raise InputError(tile.folder, what, "give the config, weights and latents that it was evaluated with")
    found = [strip for strip in evaluation.strips if strip.file == tile.line["strip"]]
    if not found or found[0].latent.source != tile.line["latent"]:
        raise InputError(tile.folder, "was made with other latents", "put them back where they were")
    (swept,) = evaluation.sweep(params, found, tile.facts["direction"])
    image = swept.tiles[tile.facts["alphas"].index(tile.line["alpha"])]
    folder = bench.folder.path / "generated" / "tiles"
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        pictures.save(Image.fromarray(image), folder / tile.name)
    same = pixels_sha256(image) == tile.line["tile_sha256"]
    logging.info("%s: %s", folder / tile.name, "every pixel as in the evaluation" if same else DIFFERENT)
