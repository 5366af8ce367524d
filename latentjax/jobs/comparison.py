"""Several ways of moving latents on the same latents and noise, and one page on all of them."""

import copy
import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

from absl import logging

from latentjax import distributed, latents
from latentjax.errors import InputError
from latentjax.files import told
from latentjax.jobs.evaluation import Evaluation, folder_of
from latentjax.jobs.kept import FITTED, transformer_of
from latentjax.jobs.samples import Samples
from latentjax.jobs.sweep import Measures
from latentjax.jobs.workbench import Workbench
from latentjax.report import evaluation
from latentjax.unsupervised_directions import KINDS


class Entry(NamedTuple):
    """One of evaluate.runs."""

    label: str
    method: str  # of evaluate.method, or a run or transformer folder

    @property
    def folder(self) -> str:
        """Its name within the comparison's."""
        return latents.safe_name(self.label.replace(" ", "-"))


def entries_of(runs: tuple[Any, ...]) -> list[Entry]:
    """evaluate.runs: "pca", "runs/one", "one direction=runs/one".

    Raises:
        InputError: one is no text, or two would have one folder.
    """
    field, found = "config.evaluate.runs", dict[str, Entry]()
    for run in runs:
        if not isinstance(run, str) or not run:
            raise InputError(field, f"has {run!r}", "give texts: a method, a folder, or LABEL=either")
        label, equals, method = run.partition("=")
        if os.path.exists(run):  # a folder's name may have a "="
            label, method = os.path.basename(os.path.abspath(run)), run
        elif not equals:
            label, method = run, run
        entry = Entry(label, method)
        if other := found.get(entry.folder):
            what = f"has the labels {other.label!r} and {label!r}, which name one folder"
            raise InputError(field, what, 'give each its own: "LABEL=FOLDER"')
        found[entry.folder] = entry
    return list(found.values())


class Prepared(NamedTuple):
    """A run that is ready to be evaluated."""

    label: str
    evaluation: Evaluation
    params: Any
    step: int | None

    def folder(self, direction: int) -> pathlib.Path:
        """Of one of its directions."""
        return self.evaluation.folder(self.step, direction)

    def name(self, direction: int) -> str:
        """The label, with the direction where there are several."""
        return f"{self.label} direction {direction}" if len(self.evaluation.directions) > 1 else self.label


def prepare(bench: Workbench, entries: list[Entry], folder: pathlib.Path) -> list[Prepared]:
    """What each entry moves latents by; folders first, then what is fitted to files.

    What is wrong with them is told before other directions are fitted.

    Raises:
        InputError: naming the entry.
    """
    measures, samples, found = Measures(bench), Samples(bench), {}
    for entry in sorted(entries, key=lambda entry: (entry.method in FITTED, entry.method in KINDS)):
        config = copy.deepcopy(bench.config)
        config.evaluate.update({"method": entry.method, "runs": ()})
        own = dataclasses.replace(bench, config=config)
        transformer = transformer_of(own, folder / entry.folder, samples)
        if transformer is None or not any(transformer.noise_dims):
            config.evaluate.noise_seeds = config.evaluate.noise_seeds[:1]  # the others would be the same pictures
        params = distributed.placed(transformer.state if transformer else None, distributed.replicated(bench.mesh))
        made = Evaluation(own, transformer, measures, folder / entry.folder)
        step = transformer.source.get("step") if transformer else None
        made.check(params, step)
        found[entry] = Prepared(entry.label, made, params, step)
    return [found[entry] for entry in entries]


def run(bench: Workbench) -> None:
    """Makes what is missing of evaluation/NAME and of its folder for each run.

    Raises:
        InputError: an entry is wrong, or a folder is of something else.
    """
    entries, folder = entries_of(bench.config.evaluate.runs), folder_of(bench, made="compared")
    if (folder / "evaluation.json").exists():
        raise InputError(folder, "holds the evaluation of one run", "choose another --config.evaluate.name")
    prepared = prepare(bench, entries, folder)
    bench.create()
    with told(folder):
        bench.folder.write_run(mesh=dict(bench.mesh.shape))
        parts = [(each, direction) for each in prepared for direction in each.evaluation.directions]
        for each, direction in parts:  # what was fitted is kept before the first picture is made
            each.evaluation.open(each.params, direction, each.folder(direction))
        for each, direction in parts:
            filled = each.evaluation.fill(each.params, direction, each.folder(direction))
            if distributed.is_primary():
                evaluation.report(each.folder(direction), filled.facts, filled.records, page=False)
        if not distributed.is_primary():
            return
        folders = {each.name(direction): each.folder(direction) for each, direction in parts}
        summary = evaluation.write_comparison(folder, folders)
    for label, each in summary["runs"].items():
        logging.info("%s: achieved %s", label, "-" if each["achieved"] is None else f"{each['achieved']:.3f}")
    logging.info("look at %s", folder / "index.html")
