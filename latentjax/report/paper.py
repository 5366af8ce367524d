"""The page on a whole paper's run: what was simulated, the assessor, the map beside one direction, what it all says."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from latentjax import breeding, trivial
from latentjax.errors import InputError
from latentjax.files import write_json, write_text
from latentjax.report import pages, reading
from latentjax.report.figures import draw_curves, draw_strips

STRIPS = 6
PUBLISHED = [
    ["the assessor's accuracy on its validation split", "92 %"],
    ["its pictures", "48,000 bred, 24,000 without ancestors, 24,000 generated; 80 to 20, split by picture"],
    ["evaluated on", "1,500 latents at 11 alphas (16,500 images)"],
    ["the map changes the score further than one direction most at", "alpha -0.5, 0.4 and 0.5"],
]
LABELS = {"learned": "map", "one_direction": "one direction"}


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading.
        paragraphs: of text.
        head, rows: a table; its first column names the rows.
        figures, links: (file relative to the page, what it is).
    """

    title: str
    paragraphs: list[str]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Sequence[tuple[str, str]] = ()
    links: Sequence[tuple[str, str]] = ()


class Facts(NamedTuple):
    """What the page tells.

    Attributes:
        settings: field ("train.num_steps") -> value.
        classes: of the generator.
        judgement: of the assessor, see `latentjax.jobs.judge`.
        statistics: title -> statistics of latents; {} where no crowd was simulated.
        summaries: "learned" and "one_direction" -> summary.json.
        seconds: of each stage.
    """

    settings: Mapping[str, Any]
    classes: int
    judgement: Mapping[str, Any]
    statistics: Mapping[str, Any]
    summaries: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]


def write(
    folder: pathlib.Path,
    settings: Mapping[str, Any],
    classes: int,
    evaluations: Mapping[str, pathlib.Path],
    seconds: Mapping[str, float],
) -> None:
    """Writes index.html, report.md, summary.json and the figures of a finished run.

    Args:
        folder: of the run.
        settings, classes, seconds: see `Facts`.
        evaluations: "learned" and "one_direction" -> their evaluation folders.

    Raises:
        InputError: a stage's result is missing or damaged, or the evaluations are not of the same latents.
    """
    crowd = folder / "breeding" / "statistics.json"
    facts = Facts(
        settings,
        classes,
        _read(folder / "judgement.json"),
        _read(crowd) if crowd.exists() else {},
        {name: _read(path / "summary.json") for name, path in evaluations.items()},
        seconds,
    )
    draw_curves(folder / "curves.png", {LABELS[name]: path for name, path in evaluations.items()})
    for name, path in evaluations.items():
        draw_strips(folder / f"strips-{name}.png", path, STRIPS)
    pages_of = {name: (path / "index.html").relative_to(folder).as_posix() for name, path in evaluations.items()}
    title, sections = title_of(facts), sections_of(facts, pages_of)
    pages.write(folder, "paper.html", title=title, sections=sections)
    write_text(folder / "report.md", markdown(title, sections))
    write_json(folder / "summary.json", summary_of(facts))


def _read(file: pathlib.Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            file, f"is missing or damaged ({error!r})", "move its stage's folder away, run again"
        ) from error


def title_of(facts: Facts) -> str:
    """The page's heading."""
    return "The paper in miniature" if facts.statistics else "The paper"


def summary_of(facts: Facts) -> dict[str, Any]:
    """The content of summary.json."""
    return {
        "assessor": facts.judgement["assessor"],
        "trivial": facts.judgement["trivial"],
        "statistics": facts.statistics,
        **facts.summaries,
        "advantages": {f"{a:g}": v for a, v in reading.advantages(*facts.summaries.values()).items()},
        "reading": read(facts),
        "seconds": facts.seconds,
    }


def read(facts: Facts) -> list[str]:
    """What the numbers say."""
    learned, single = facts.summaries["learned"], facts.summaries["one_direction"]
    steps = facts.settings["train.num_steps"]
    return [
        *reading.of_assessor(facts.judgement),
        *reading.of_directions(learned, single),
        f"Both were learned once, in {steps} steps at rates chosen for each: how much that varies was not measured.",
    ]


def sections_of(facts: Facts, pages_of: Mapping[str, str]) -> list[Section]:
    """All of the page.

    Args:
        facts: what it tells.
        pages_of: "learned" and "one_direction" -> the pages on their evaluations.
    """
    return [
        *([_crowd(facts)] if facts.statistics else []),
        _assessor(facts),
        _directions(facts, pages_of),
        Section("Reading", read(facts)),
        _published(),
        _stages(facts),
    ]


def _crowd(facts: Facts) -> Section:
    settings, many = facts.settings, facts.settings["data.many"]
    paragraphs = [
        "The crowd's data cannot be had, so the process behind it is simulated: no person chose, liked or named any of"
        " these images. A population starts from plain latents (a truncated normal z, one class). Each child mixes"
        " some parents' z and y by sliders that may leave 0 to 1, or changes a few class weights of one parent; z"
        " mutates a little. Parents are drawn at random, recent ones more often; nobody's taste is simulated.",
        f"Called bred is what has more than {many} ancestors, plain what has none:"
        f" {settings['paper.bred']} bred, {settings['paper.plain']} plain and {settings['paper.fresh']} freshly"
        f" generated images after {settings['paper.generations']} generations. The score is the probability of bred."
        " It says nothing about creativity.",
        "The process was chosen so that with 1,000 classes its latents resemble real ones, which are of any ancestry:"
        f" compare the first two columns. The last is the same process with this run's {facts.classes} classes; the"
        " same changes fall on fewer or more of them. For a DCGAN, which knows no truncation, every z gets the length"
        " of an unscaled draw.",
    ]
    head, rows = breeding.table(facts.statistics)
    figures = [
        ("images/generated/crowd-overview.png", "Some of the crowd"),
        ("images/generated/fresh-overview.png", "Some of the fresh ones"),
    ]
    return Section("What was simulated", paragraphs, head, rows, figures)


def _assessor(facts: Facts) -> Section:
    own, rivals = facts.judgement["assessor"], facts.judgement["trivial"]
    head = ["", *(f"{name}, {split}" for split in own for name in ("accuracy", "F1", "AUC"))]
    rows = [["the assessor", *_measures(own, own)], *([row["name"], *_measures(row, own)] for row in rivals)]
    counts = " and ".join(f"{metrics['count']} pictures ({split})" for split, metrics in own.items())
    paragraphs = [
        f"Measured on {counts}; the expected calibration error is"
        f" {reading.number(own['validation']['ece'])} on the validation split. Each trivial predictor is a logistic"
        f" regression on a few numbers, taught and validated on up to {trivial.PICTURES:,} pictures each.",
    ]
    links = [("assessor/report/index.html", "The report on the assessor")]
    return Section("The assessor, and what needs no assessor", paragraphs, head, rows, links=links)


def _measures(row: Mapping[str, Any], splits: Mapping[str, Any]) -> list[str]:
    return [reading.number(row[split][name]) for split in splits for name in ("accuracy", "f1", "auc")]


def _directions(facts: Facts, pages_of: Mapping[str, str]) -> Section:
    summaries, settings = facts.summaries, facts.settings
    first = next(iter(summaries.values()))
    calibrated = (
        "; the assessor's logits are first spread over generated images, which keeps the order of scores"
        if settings["assessor.calibrate"]
        else ""
    )
    latents = "held-out latents of a population of its own" if facts.statistics else "latents"
    paragraphs = [f"Mean scores of {first['latents']} {latents} along alpha, 0 being the original{calibrated}."]
    head = ["alpha", *(f"{alpha:+g}" if alpha else "0" for alpha in first["alphas"])]
    rows = [[LABELS[name], *(f"{mean:.3f}" for mean in found["score"]["mean"])] for name, found in summaries.items()]
    figures = [("curves.png", "Score and image properties along alpha, with 95 % bands")]
    figures += [
        (f"strips-{name}.png", f"Strips of the {LABELS[name]}, at even ranks of the change, the most changed first")
        for name in summaries
    ]
    links = [(page, f"The evaluation of the {LABELS[name]}") for name, page in pages_of.items()]
    return Section("The map beside one direction", paragraphs, head, rows, figures, links)


def _published() -> Section:
    told = "Of other images, another generator and people's own choices: not to be compared with anything above."
    return Section("What the paper reports", [told], ["", "paper"], PUBLISHED)


def _stages(facts: Facts) -> Section:
    rows = [[name, f"{seconds:.0f}"] for name, seconds in facts.seconds.items()]
    told = "Seconds of the start that finished each stage."
    return Section("How long it took", [told], ["stage", "seconds"], rows)


def markdown(title: str, sections: list[Section]) -> str:
    """The page as Markdown."""
    lines = [f"# {title}"]
    for section in sections:
        lines += ["", f"## {section.title}"]
        for paragraph in section.paragraphs:
            lines += ["", paragraph]
        if section.rows:
            ruler = ["---", *("---:" for _ in section.head[1:])]
            lines += ["", *map(_row, (section.head, ruler, *section.rows))]
        for file, what in section.figures:
            lines += ["", f"![{what}]({file})"]
        for file, what in section.links:
            lines += ["", f"[{what}]({file})"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
