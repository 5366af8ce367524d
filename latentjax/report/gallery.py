"""The page on which people look at an evaluation and play with it: what it knows, and how that is written."""

import json
import math
import os
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax import pictures
from latentjax.report import pages

STYLE = "gallery.css"
SCRIPTS = ("gallery_data.js", "gallery_tiles.js", "gallery_large.js", "gallery.js")
DIGITS = 4  # significant ones of the page's numbers


class Run(NamedTuple):
    """One evaluation on the page; a comparison has several, of the same latents.

    Attributes:
        label: what people choose it by.
        path: URL prefix of its evaluation folder, relative to the page: "" or "svm/".
        alphas: in the order of the sprites' tiles, which may be any.
        tile: width and height of a sprite's tile in pixels.
        records: of strips.jsonl, in its order.
        summary: the content of summary.json.
        command: makes one tile again; {line} stands for its line in manifest.jsonl, from 1.
        judged_alphas: at which the records' "judged" are, in their order.
    """

    label: str
    path: str
    alphas: Sequence[float]
    tile: int
    records: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    command: str
    judged_alphas: Sequence[float] = ()


def write(
    folder: pathlib.Path,
    title: str,
    runs: Sequence[Run],
    figures: Sequence[tuple[str, str]],
    table: Sequence[Sequence[str]],
) -> None:
    """Writes index.html beside the files that it shows; it needs no server and no network.

    Args:
        folder: the evaluation folder.
        title: heading of the page; any characters, as everywhere below.
        runs: at least one.
        figures: (file relative to the page, caption); those that are not there are left out.
        table: what the numbers say, its head row first; may be empty.
    """
    pages.write(
        folder,
        "gallery.html",
        title=title,
        runs=[_told(run) for run in runs],
        figures=[(address(file), caption) for file, caption in figures if (folder / file).exists()],
        table=table,
        data=strict_json(_data(folder, runs)),
        style=(pages.TEMPLATES / STYLE).read_text(encoding="utf-8"),
        script="\n".join((pages.TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS),
    )


def address(file: str) -> str:
    """A file's name as part of a URL; every name that a file can have has one."""
    return urllib.parse.quote(os.fsencode(file))


def strict_json(value: Any) -> str:
    """JSON that every browser reads and that may stand inside <script>: ASCII, no NaN, nothing that ends the element.

    Numbers that are not finite become null; the others are rounded to four significant digits.
    """
    text = json.dumps(_rounded(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    if isinstance(value, (float, np.floating)):
        # adding 0 turns -0 into 0
        return float(f"{float(value):.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _data(folder: pathlib.Path, runs: Sequence[Run]) -> dict[str, Any]:
    """What the page's script reads: the latents by name, and of each run its strips by latent and noise seed."""
    classes = {record["name"]: record.get("class") for run in runs for record in run.records}
    number = {name: i for i, name in enumerate(classes)}
    return {
        "latents": [{"name": name, "class": label} for name, label in classes.items()],
        "runs": [_run(folder, run, number) for run in runs],
    }


def _run(folder: pathlib.Path, run: Run, number: Mapping[str, int]) -> dict[str, Any]:
    """One run for the script: alphas ascend, `columns` says which tile of a sprite each of them is."""
    columns = np.argsort(np.asarray(run.alphas, np.float64), kind="stable").tolist()
    seeds = sorted({record["noise_seed"] for record in run.records})
    strips: list[list[Any]] = [[None] * len(seeds) for _ in number]
    for i, record in enumerate(run.records):
        # lines of manifest.jsonl: the alphas of the first strip, then those of the second ...
        known = {"first": i * len(columns) + 1, **_strip(run, record, columns)}
        strips[number[record["name"]]][seeds.index(record["noise_seed"])] = known
    return {
        "label": run.label,
        "path": run.path,
        "alphas": [run.alphas[column] for column in columns],
        "columns": columns,
        "tile": run.tile,
        "seeds": seeds,
        "measures": list(run.records[0]["measured"]) if run.records else [],
        "judges": list(run.records[0].get("judged", ())) if run.records else [],
        "grid": _grid(folder, run),
        "command": run.command,
        "strips": strips,
    }


def _strip(run: Run, record: Mapping[str, Any], columns: Sequence[int]) -> dict[str, Any]:
    """Files, and the values of each measure and judge at the ascending alphas."""
    places = {round(float(alpha), 6): i for i, alpha in enumerate(run.judged_alphas)}
    judged_at = [places.get(round(float(run.alphas[column]), 6)) for column in columns]
    judged = record.get("judged", {}).values()
    return {
        "sprite": address(record["sprite"]),
        "grid": address(record["file"]),
        "values": [[values[column] for column in columns] for values in record["measured"].values()],
        "judged": [[None if place is None else values[place] for place in judged_at] for values in judged],
    }


def _grid(folder: pathlib.Path, run: Run) -> dict[str, Any] | None:
    """Where the tiles are in the run's strips in grids/, all laid out alike; None where these are missing."""
    if not run.records:
        return None
    file = folder / urllib.parse.unquote(run.path) / "grids" / run.records[0]["file"]
    found = pictures.layout_of(file, run.alphas)
    return found and {"size": found.size, "tile": found.tile[0], "top": found.top, "left": found.left}


def _told(run: Run) -> dict[str, Any]:
    """One run for the template: sentences, the means along ascending alphas, the strips as plain pictures."""
    summary = run.summary
    columns = np.argsort(np.asarray(summary["alphas"], np.float64), kind="stable").tolist()
    means = {"score": summary["score"]["mean"]}
    means |= {name: values["mean"] for name, values in summary.get("properties", {}).items() if values["mean"]}
    return {
        "label": run.label,
        "summary": summary,
        "alphas": [summary["alphas"][column] for column in columns],
        "means": {name: [values[column] for column in columns] for name, values in means.items()},
        "strips": [
            {
                "address": f"{run.path}grids/{address(record['file'])}",
                "name": record["name"],
                "noise_seed": record["noise_seed"],
            }
            for record in run.records
        ],
    }
