"""Several ways of moving latents on the same latents and noise, and one page on all of them."""

import copy
import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
from absl import logging

from latentjax import distributed, latents
from latentjax.errors import InputError
from latentjax.jobs.evaluation import FITTED, Evaluation, folder_of, transformer_of
from latentjax.jobs.samples import Samples
from latentjax.jobs.sweep import Measures
from latentjax.jobs.workbench import Workbench
from latentjax.report import evaluation


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
        InputError: one is no text, or two have one label.
    """
    field, entries = "config.evaluate.runs", []
    for run in runs:
        if not isinstance(run, str) or not run:
            raise InputError(field, f"has {run!r}", "give texts: a method, a folder, or LABEL=either")
        label, _, method = run.rpartition("=")
        entries.append(Entry(label or pathlib.PurePath(method).name, method))
    folders = [entry.folder for entry in entries]
    if twice := [entry.label for entry in entries if folders.count(entry.folder) > 1]:
        raise InputError(field, f"has the label {twice[0]!r} twice", 'give each its own: "LABEL=FOLDER"')
    return entries


class Prepared(NamedTuple):
    """A run that is ready to be evaluated."""

    label: str
    evaluation: Evaluation
    params: Any
    step: int | None


def prepare(bench: Workbench, entries: list[Entry], folder: pathlib.Path) -> list[Prepared]:
    """What each entry moves latents by; folders first, so that a wrong one is told before directions are fitted.

    Raises:
        InputError: naming the entry.
    """
    measures, samples, found = Measures(bench), Samples(bench), {}
    for entry in sorted(entries, key=lambda entry: entry.method in FITTED):
        config = copy.deepcopy(bench.config)
        config.evaluate.update({"method": entry.method, "runs": ()})
        own = dataclasses.replace(bench, config=config)
        transformer = transformer_of(own, folder / entry.folder, samples)
        if transformer is None or not any(transformer.noise_dims):
            config.evaluate.noise_seeds = config.evaluate.noise_seeds[:1]  # the others would be the same pictures
        params = jax.device_put(transformer.state if transformer else None, distributed.replicated(bench.mesh))
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
    entries, folder = entries_of(bench.config.evaluate.runs), folder_of(bench)
    if (folder / "grids").exists():
        raise InputError(folder, "holds the evaluation of one run", "choose another --config.evaluate.name")
    prepared = prepare(bench, entries, folder)
    bench.create()
    folders: dict[str, pathlib.Path] = {}
    for each in prepared:
        for direction in each.evaluation.directions:
            several = len(each.evaluation.directions) > 1
            own = each.evaluation.folder(each.step, direction)
            facts, records = each.evaluation.fill(each.params, direction, own)
            evaluation.report(own, facts, records, page=False)
            folders[each.label + (f" {direction}" if several else "")] = own
    summary = evaluation.write_comparison(folder, folders)
    for label, each in summary["runs"].items():
        logging.info("%s: achieved %s", label, "-" if each["achieved"] is None else f"{each['achieved']:.3f}")
    logging.info("look at %s", folder / "index.html")
