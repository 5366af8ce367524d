"""The folder of one evaluation: which strips are done, and what is written about them."""

import csv
import io
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from latentjax import latents, pictures
from latentjax.errors import InputError
from latentjax.files import write_json, write_text
from latentjax.latents import Latent
from latentjax.report import curves, gallery, statistics
from latentjax.run_folder import refuse_other_facts


class Strip(NamedTuple):
    """One latent with one noise seed: a row of the evaluation."""

    latent: Latent
    noise_seed: int
    ending: str = "png"

    @property
    def file(self) -> str:
        """Name of its picture in grids/."""
        noise = f"-noise{self.noise_seed}" if self.noise_seed else ""
        return f"{latents.safe_name(self.latent.name)}{noise}.{self.ending}"

    @property
    def key(self) -> str:
        """What identifies the strip in strips.jsonl, by content."""
        return f"{self.latent.key}:{self.noise_seed}"


def write_strip(
    folder: pathlib.Path,
    strip: Strip,
    tiles: np.ndarray,
    alphas: np.ndarray,
    measured: dict[str, list[float]],
    quality: int = 90,
) -> dict[str, Any]:
    """Draws one strip; its record for strips.jsonl."""
    title = strip.latent.name + (f" (noise {strip.noise_seed})" if strip.noise_seed else "")
    image = pictures.strip(tiles, alphas.tolist(), measured["score"], title=title)
    return {
        "key": strip.key,
        "file": strip.file,
        "name": strip.latent.name,
        "noise_seed": strip.noise_seed,
        "latent": strip.latent.source,
        "measured": measured,
        "sha256": pictures.save(image, folder / strip.file, quality),
    }


def finished_strips(folder: pathlib.Path, facts: dict[str, Any], strips: list[Strip]) -> dict[str, dict[str, Any]]:
    """The records of the finished strips of an evaluation folder, by file.

    Raises:
        InputError: it is of other weights, alphas or latents.
    """
    refuse_other_facts(folder / "evaluation.json", facts, "--config.evaluate.name")
    log = folder / "strips.jsonl"
    records = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            record = json.loads(line)
            file, *_ = (record[name] for name in ("file", "name", "noise_seed", "latent", "measured"))
        except (ValueError, KeyError, TypeError):
            continue  # cut off when the process was killed: the strip is made again
        if (folder / "grids" / file).exists():
            records[file] = record
    others = len(records.keys() - {strip.file for strip in strips})
    if others:
        what = f"holds {others} strips of other latents or noise seeds"
        raise InputError(folder, what, "choose another --config.evaluate.name")
    return records


def open_folder(folder: pathlib.Path, facts: dict[str, Any], strips: list[Strip]) -> dict[str, dict[str, Any]]:
    """`finished_strips`; makes the folder where it is missing and clears away what a stopped process left.

    Raises:
        InputError: it is of other weights, alphas or latents.
    """
    records = finished_strips(folder, facts, strips)
    (folder / "grids").mkdir(parents=True, exist_ok=True)
    for cut_off in (folder / "grids").glob(".*.part"):
        cut_off.unlink()
    write_json(folder / "evaluation.json", facts | {"strips": [strip.file for strip in strips]})
    write_strips(folder, list(records.values()))
    return records


def write_strips(folder: pathlib.Path, records: list[dict[str, Any]]) -> None:
    """strips.jsonl: all that is known of every strip; the other files of the folder follow from it."""
    write_text(folder / "strips.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def report(folder: pathlib.Path, facts: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    """Writes scores.csv, manifest.jsonl, curves.png, index.html and summary.json; returns the summary."""
    alphas, names = facts["alphas"], list(records[0]["measured"])
    measured = {name: np.array([record["measured"][name] for record in records]) for name in names}
    properties = {name: measured[name] for name in names if name != "score"}
    latents_of = [record["name"] for record in records]
    bounded = facts["bounded"]
    summary = statistics.summarise(measured["score"], alphas, properties, latents=latents_of, bounded=bounded)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", "noise_seed", "alpha", *names])
    manifest = []
    hashes = {name: facts[name] for name in ("generator", "assessor", "transformer")}
    for record in records:
        for i, alpha in enumerate(alphas):
            tile = {"name": record["name"], "noise_seed": record["noise_seed"], "alpha": alpha}
            rows.writerow([*tile.values(), *(record["measured"][name][i] for name in names)])
            manifest.append(tile | {"latent": record["latent"], **hashes, "strip": record["file"]})
    write_text(folder / "scores.csv", table.getvalue())
    write_text(folder / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in manifest))
    drawn = {name: statistics.by_latent(values, latents_of) for name, values in measured.items()}
    title = f"{folder.name}: {len(records)} strips of {summary['latents']} latents"
    curves.draw(folder / "curves.png", alphas, {folder.name: drawn}, title=title, bounded=bounded)
    shown = [{**record, "scores": record["measured"]["score"]} for record in records]
    learned = f", by an assessor of {facts['origin']}" if "origin" in facts else ""
    gallery.write(folder, f"Evaluation {folder.name}{learned}", summary, shown)
    write_json(folder / "summary.json", summary)
    return summary


def rebuild(folder: pathlib.Path) -> dict[str, Any]:
    """`report` of a finished evaluation from what it kept; no image is made or read.

    Raises:
        InputError: no finished evaluation there, or a damaged one.
    """
    try:
        facts = dict(json.loads((folder / "evaluation.json").read_text()))
        lines = [json.loads(line) for line in (folder / "strips.jsonl").read_text().splitlines()]
        found = {record["file"]: record for record in lines}  # of a strip made anew, the last
        if missing := [file for file in facts["strips"] if file not in found]:
            raise InputError(folder, f"is not finished ({len(missing)} strips)", "run its evaluation again first")
        return report(folder, facts, [found[file] for file in facts["strips"]])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(folder, f"is no evaluation ({error!r:.200})", "give a folder under evaluation/") from error


def log_result(folder: pathlib.Path, summary: dict[str, Any]) -> None:
    """The evaluation in two lines."""
    logging.info("mean scores along alpha: %s", " ".join(f"{mean:.3f}" for mean in summary["score"]["mean"]))
    if summary["achieved"] is None:
        logging.info("look at %s", folder / "index.html")
        return
    limit = summary["achieved_limit"]
    most = "" if limit is None else f" ({limit:.2f} if every request were met within 0 to 1)"
    logging.info("achieved %.3f%s; look at %s", summary["achieved"], most, folder / "index.html")
