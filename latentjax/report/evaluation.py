"""The folder of one evaluation: which strips are done, and what is written about them."""

import csv
import io
import json
import os
import pathlib
import shlex
from typing import Any

import numpy as np
from absl import logging

from latentjax.errors import InputError
from latentjax.files import read_lines, recover, write_json, write_text
from latentjax.report import comparison, curves, gallery, quality, quality_figures, statistics
from latentjax.report.finished_runs import notes_of
from latentjax.report.strips import Strip, finished
from latentjax.run_folder import refuse_other_facts

FIGURES = [
    ("curves.png", "Score and image properties along alpha, with 95 % bands over latents"),
    ("quality.png", "How well the edits do what was asked"),
]
COMPARED = [
    ("curves.png", "Score and image properties along alpha, with 95 % bands over latents"),
    ("relative.png", "The same as relative changes"),
    ("strips.png", "The same latents by every run"),
    ("quality.png", "How well the edits do what was asked"),
]
PARTS = ("grids", "sprites", "features")  # sub-folders with a file for each strip
# beside them, written to the side and then renamed, as pictures are by `pictures.save`
REPLACED = (
    *("evaluation.json", "strips.jsonl", "scores.csv", "manifest.jsonl", "summary.json", "index.html"),
    "transformer",
)
# what a strip's record has
FIELDS = {
    **dict.fromkeys(("key", "file", "sprite", "name", "sha256"), str),
    **dict.fromkeys(("noise_seed", "class", "batch"), int),
    **dict.fromkeys(("latent", "measured", "judged"), dict),
    "tiles": list,
}


def finished_strips(folder: pathlib.Path, facts: dict[str, Any], strips: list[Strip]) -> dict[str, dict[str, Any]]:
    """The records of the finished strips of an evaluation folder, by file.

    Raises:
        InputError: it is of other weights, alphas or latents.
    """
    if (folder / "comparison.json").exists():
        raise InputError(folder, "holds a comparison of several runs", "choose another --config.evaluate.name")
    refuse_other_facts(folder / "evaluation.json", facts, "--config.evaluate.name")
    records = {}
    for record in read_lines(folder / "strips.jsonl"):
        if any(type(record.get(name)) is not kind for name, kind in FIELDS.items()):
            continue  # damaged: the strip is made again
        kept = [folder / "grids" / record["file"], folder / "sprites" / record["sprite"]]
        kept += [features_file(folder, record)] if "identity" in record["judged"] else []
        if all(path.exists() for path in kept):
            records[record["file"]] = record
    others = len(records.keys() - {strip.file for strip in strips})
    if others:
        what = f"holds {others} strips of other latents or noise seeds"
        raise InputError(folder, what, "choose another --config.evaluate.name")
    return records


def features_file(folder: pathlib.Path, record: dict[str, Any]) -> pathlib.Path:
    """Where a strip's features [J, F] are."""
    return folder / "features" / f"{pathlib.PurePath(record['file']).stem}.npy"


def open_folder(
    folder: pathlib.Path, facts: dict[str, Any], strips: list[Strip], settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """`finished_strips`; makes the folder where it is missing and clears away what a stopped process left.

    Args:
        folder, facts, strips: of the evaluation.
        settings: the config's evaluate group, under which its tiles can be made again.

    Raises:
        InputError: it is of other weights, alphas or latents.
    """
    records = finished_strips(folder, facts, strips)
    for part in PARTS if facts["judges"].get("features") else PARTS[:2]:
        (folder / part).mkdir(parents=True, exist_ok=True)
        for cut_off in (folder / part).glob(".*"):
            cut_off.unlink()
    for name in REPLACED:
        recover(folder / name)
    for cut_off in folder.glob(".*.part"):
        cut_off.unlink()
    header = {**facts, "evaluate": settings, "strips": [strip.file for strip in strips]}
    write_json(folder / "evaluation.json", header)
    write_strips(folder, list(records.values()))
    return records


def write_strips(folder: pathlib.Path, records: list[dict[str, Any]]) -> None:
    """strips.jsonl: all that is known of every strip; the other files of the folder follow from it."""
    write_text(folder / "strips.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def report(
    folder: pathlib.Path, facts: dict[str, Any], records: list[dict[str, Any]], *, page: bool = True
) -> dict[str, Any]:
    """Writes scores.csv, manifest.jsonl, summary.json and, for a page of its own, the figures and index.html.

    Returns:
        The summary.
    """
    summary = summarise(folder, facts, records)
    write_tables(folder, facts, records)
    if page:
        latents_of = [record["name"] for record in records]
        drawn = {name: statistics.by_latent(values_of(records, name), latents_of) for name in records[0]["measured"]}
        title = f"{folder.name}: {len(records)} strips of {summary['latents']} latents"
        told = {"title": title, "bounded": facts["bounded"], "notes": notes_of({folder.name: drawn})}
        curves.draw(folder / "curves.png", facts["alphas"], {folder.name: drawn}, **told)
        quality_figures.draw(folder / "quality.png", {folder.name: summary["quality"]})
        learned = f", by an assessor of {facts['origin']}" if "origin" in facts else ""
        shown = run_of(folder, folder.name, "", facts, records, summary)
        gallery.write(folder, f"Evaluation {folder.name}{learned}", [shown], FIGURES, table=[])
    write_json(folder / "summary.json", summary)
    return summary


def run_of(
    folder: pathlib.Path, label: str, path: str, facts: dict[str, Any], records: list[dict[str, Any]], summary: Any
) -> gallery.Run:
    """An evaluation as the page shows it; `path` leads to it from the page."""
    # as it was given, where the command is typed in the same folder
    given = folder if pathlib.Path("launch.py").exists() else folder.resolve()
    parents = [parent for start in (given, given.resolve()) for parent in start.parents]
    workdir = next((parent for parent in parents if (parent / "config.json").exists()), given.parent)
    within = pathlib.Path(os.path.relpath(folder, workdir)).as_posix()
    words = [
        "python",
        "launch.py",
        "--job=generate",
        f"--workdir={workdir}",
        f"--config.generate.tile={within}/manifest.jsonl:",
    ]
    command = shlex.join(words) + "{line}"
    judged = facts["judged_alphas"]
    return gallery.Run(label, path, facts["alphas"], facts["tile"], records, summary, command, judged)


def write_comparison(folder: pathlib.Path, folders: dict[str, pathlib.Path], name: str = "") -> dict[str, Any]:
    """Figures, tables, index.html and summary.json of several finished evaluations.

    Args:
        folder: where.
        folders: label -> folder of an evaluation.
        name: of the comparison, for its headings; the folder's by default.

    Returns:
        The summary.

    Raises:
        InputError: they are not of the same latents and alphas, or one is damaged.
    """
    name = name or folder.name
    summary = comparison.write(folder, folders, name)
    quality_figures.draw(folder / "quality.png", {label: each["quality"] for label, each in summary["runs"].items()})
    shown, origins = [], set()
    for label, path in folders.items():
        facts, records = finished(path)
        origins |= {facts["origin"]} if "origin" in facts else set()
        prefix = gallery.address(f"{pathlib.Path(os.path.relpath(path, folder)).as_posix()}/")
        shown.append(run_of(path, label, prefix, facts, records, summary["runs"][label]))
    learned = f", by an assessor of {', '.join(sorted(origins))}" if origins else ""
    gallery.write(folder, f"Comparison {name}{learned}", shown, COMPARED, comparison.table(summary))
    return summary


def values_of(records: list[dict[str, Any]], name: str) -> np.ndarray:
    """What was measured under a name, [N, A]."""
    return np.array([record["measured"][name] for record in records])


def summarise(folder: pathlib.Path, facts: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of summary.json."""
    alphas, bounded = facts["alphas"], facts["bounded"]
    properties = {name: values_of(records, name) for name in records[0]["measured"] if name != "score"}
    latents_of = [record["name"] for record in records]
    scores = values_of(records, "score")
    summary = statistics.summarise(scores, alphas, properties, latents=latents_of, bounded=bounded)
    features = {}
    if facts["judges"].get("features"):
        features = {record["file"]: np.load(features_file(folder, record)) for record in records}
    summary["quality"] = quality.measure(records, alphas, facts["judged_alphas"], features, bounded)
    return summary


def write_tables(folder: pathlib.Path, facts: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """scores.csv and manifest.jsonl: a line for each tile."""
    names = list(records[0]["measured"])
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["name", "noise_seed", "alpha", *names])
    manifest = []
    hashes = {name: facts[name] for name in ("generator", "assessor", "transformer")}
    for record in records:
        for i, alpha in enumerate(facts["alphas"]):
            tile = {"name": record["name"], "noise_seed": record["noise_seed"], "alpha": alpha}
            rows.writerow([*tile.values(), *(record["measured"][name][i] for name in names)])
            made = {"strip": record["file"], "batch": record["batch"], "tile_sha256": record["tiles"][i]}
            manifest.append(tile | {"latent": record["latent"], **hashes, **made})
    write_text(folder / "scores.csv", table.getvalue())
    write_text(folder / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in manifest))


def rebuild(folder: pathlib.Path) -> dict[str, Any]:
    """What is written about a finished evaluation or comparison, from what it kept; no image is made.

    Raises:
        InputError: no finished evaluation there, or a damaged one.
    """
    listed = folder / "comparison.json"
    if listed.exists():
        return write_comparison(folder, {label: folder / name for label, name in comparison.folders(listed).items()})
    facts, records = finished(folder)
    try:
        return report(folder, facts, records)
    except (OSError, ValueError, TypeError, LookupError) as error:
        what = f"is no finished evaluation ({error!r:.200})"
        raise InputError(folder, what, "give a folder under evaluation/") from error


def log_result(folder: pathlib.Path, summary: dict[str, Any]) -> None:
    """The evaluation in two lines."""
    logging.info("mean scores along alpha: %s", " ".join(f"{mean:.3f}" for mean in summary["score"]["mean"]))
    if summary["achieved"] is None:
        logging.info("look at %s", folder / "index.html")
        return
    limit = summary["achieved_limit"]
    most = "" if limit is None else f" ({limit:.2f} if every request were met within 0 to 1)"
    logging.info("achieved %.3f%s; look at %s", summary["achieved"], most, folder / "index.html")
