"""The whole paper: a crowd, its pictures, an assessor that learns from them, the map, the baseline, one page.

Where config.data.images names real pictures, they take the place of the simulated crowd's.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import logging

from latentjax import config as configs
from latentjax import networks, packages
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import read_json, write_json
from latentjax.jobs import breed, generate, judge, paper_checks, train, train_assessor
from latentjax.jobs.workbench import start
from latentjax.report import paper as report
from latentjax.run_folder import RunFolder, job

# the fields that a stage's result depends on, by how they begin
SOURCES = ("generator.", "data.", "paper.", "latents.", "precision", "forms")
READS = {
    "breed": (*SOURCES, "evaluate.count"),
    "images": (*SOURCES, "generate."),
    "assessor": (*SOURCES, "assessor.", "assessor_training."),
    "judgement": (*SOURCES, "assessor.", "assessor_training."),
    "learned": (*SOURCES, "assessor.", "transformer.", "train.", "evaluate."),
    "one_direction": (*SOURCES, "assessor.", "transformer.", "train.", "evaluate."),
}


class Stage(NamedTuple):
    """A part of the run: a finished one is skipped unless what it is made with has changed.

    Attributes:
        name: in stages.json.
        what: for people.
        config: what it is made with.
        result: the last file or folder that it makes.
        work: makes it, or goes on with it where it was stopped.
    """

    name: str
    what: str
    config: ConfigDict
    result: pathlib.Path
    work: Callable[[], None]

    @property
    def digest(self) -> str:
        """Stands for the fields that the stage reads."""
        fields = configs.plain(self.config).items()
        read = {name: value for name, value in fields if name.startswith(READS[self.name])}
        return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Paper:
    """One run; the other jobs work in its sub-folders, each with a config of its own."""

    config: ConfigDict
    path: pathlib.Path
    generator: networks.Generator

    @property
    def simulated(self) -> bool:
        """Whether there is no real crowd."""
        return not self.config.data.images

    def derived(self, **fields: Any) -> ConfigDict:
        """The run's config with some fields changed; two underscores stand for the dot."""
        config = self.config.copy_and_resolve_references()
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        return config

    @property
    def stages(self) -> list[Stage]:
        """All but the last page, in order."""
        path, judged = self.path, self.path / "judgement.json"
        first = [Stage("breed", "simulated breeding", self.config, path / "breeding", self.breed)]
        return [
            *(first if self.simulated else []),
            Stage("images", "generated images", self.config, path / "images", self.generate),
            Stage("assessor", "the assessor", self.assessor, path / "assessor" / "report" / "index.html", self.assess),
            Stage("judgement", "the assessor beside trivial predictors", self.assessor, judged, self.judge),
            *(
                Stage(name, what, config, self.evaluation(name) / "summary.json", functools.partial(self.learn, name))
                for name, what, config in (
                    ("learned", "the map", self.learned),
                    ("one_direction", "the baseline", self.baseline),
                )
            ),
        ]

    def evaluation(self, name: str) -> pathlib.Path:
        """The folder of the evaluation of "learned" or "one_direction"."""
        return self.path / name / "evaluation" / self.learned.evaluate.name

    def checkpoints(self, name: str) -> str:
        """checkpoints.folder of a stage; empty where the run has none."""
        folder = self.config.checkpoints.folder
        return f"{folder.rstrip('/')}/{name}" if folder else ""

    @property
    def classes(self) -> str:
        """latents.classes of training: normals fitted on the crowd's latents, as published."""
        return (
            f"artbreeder:{self.path / 'breeding' / 'classes.json'}" if self.simulated else self.config.latents.classes
        )

    def images(self, name: str, **fields: Any) -> ConfigDict:
        """The config of a set of generated images; fresh ones are one-hot, as published."""
        same = {"latents__classes": "onehot", "generate__alphas": (), "generate__format": "png"}
        return self.derived(**same, generate__name=name, **fields)

    @property
    def fresh(self) -> ConfigDict:
        """Freshly generated images, of label 0."""
        return self.images("fresh", generate__latents="", generate__count=self.config.paper.fresh)

    @property
    def assessor(self) -> ConfigDict:
        """The assessor's config; what spreads its scores is the next stage's to choose."""
        pictures = self.path / "images" / "generated"
        fields: dict[str, Any] = {"data__generated": self.config.data.generated or str(pictures / "fresh")}
        if self.simulated:
            fields["data__images"] = str(pictures / "crowd")
            fields["data__ancestors"] = (str(self.path / "breeding" / "ancestors.csv"),)
            fields["data__size"] = self.generator.resolution
            fields["data__origin"] = "a simulated crowd, without anybody's choice"
        return self.derived(
            data__kind="creativity",
            assessor__calibrate=False,
            latents__classes=self.classes,
            checkpoints__folder=self.checkpoints("assessor"),
            **fields,
        )

    @property
    def learned(self) -> ConfigDict:
        """The map's config; it is evaluated on held-out latents."""
        steps, settings = self.config.train.num_steps, self.config.evaluate
        heldout = str(self.path / "breeding" / "heldout") if self.simulated else settings.latents
        return self.derived(
            assessor__weights=str(self.path / "assessor" / "assessor"),
            latents__classes=self.classes,
            evaluate__latents=heldout,
            evaluate__name=settings.name or f"heldout-{steps}",
            evaluate__after_train=True,
            checkpoints__folder=self.checkpoints("learned"),
        )

    @property
    def baseline(self) -> ConfigDict:
        """The one direction's config; like the map's, but for its learning rate."""
        config = self.learned
        fields = {"kind": "one_direction", "z": "", "y": "", "weights": ""}
        config.update_from_flattened_dict({f"transformer.{name}": value for name, value in fields.items()})
        config.train.learning_rate = self.config.paper.baseline_learning_rate
        config.checkpoints.folder = self.checkpoints("one_direction")
        return config

    def breed(self) -> None:
        """breeding/"""
        breed.write(self.path / "breeding", self.config, self.generator)

    def generate(self) -> None:
        """images/"""
        folder = str(self.path / "images")
        if self.simulated:
            for name in ("crowd", "unrelated"):
                latents = str(self.path / "breeding" / name)
                generate.run(self.images(name, generate__latents=latents), folder)
        if not self.config.data.generated:
            generate.run(self.fresh, folder)

    def assess(self) -> None:
        """assessor/"""
        train_assessor.run(self.assessor, str(self.path / "assessor"))

    def judge(self) -> None:
        """judgement.json"""
        points, unrelated = {}, None
        if self.simulated:
            points, others = judge.points(self.path / "breeding", self.fresh, self.generator)
            unrelated = judge.pictures_of(self.path / "images" / "generated" / "unrelated", others)
        run, folder = self.path / "assessor", self.config.data.folder
        found = judge.judge(run, pathlib.Path(folder) if folder else run / "data", points, unrelated)
        write_json(self.path / "judgement.json", found)

    def learn(self, name: str) -> None:
        """learned/ or one_direction/"""
        train.run({"learned": self.learned, "one_direction": self.baseline}[name], str(self.path / name))


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Makes what is missing of the run, stage by stage, and the page on it.

    Raises:
        InputError: the workdir is another run's, or something in the config or an input is wrong.
    """
    folder = RunFolder(workdir, config)
    paper_checks.check_settings(config)
    start(config)
    packages.scikit_learn("metrics")  # told now, and not after hours
    generator = networks.load_generator(config.generator.weights)
    paper = Paper(config, folder.path.resolve(), generator)
    paper_checks.check_training(paper.assessor)
    if not paper.simulated:
        paper_checks.check_inputs(config, paper.path / "assessor" / "data", generator)
    folder.refuse_other_weights(generator_sha256=generator.sha256)
    folder.create()
    folder.write_run(generator_sha256=generator.sha256)
    seconds = finish(paper.stages, paper.path / "stages.json")
    evaluations = {name: paper.evaluation(name) for name in ("learned", "one_direction")}
    report.write(paper.path, configs.flatten(config), generator.num_classes, evaluations, seconds)
    logging.info("look at %s", folder.path / "index.html")
    return f"{len(seconds)} stages"


def finish(stages: list[Stage], log: pathlib.Path) -> dict[str, float]:
    """Works off the stages that are not finished; the seconds of each, in the start that finished it.

    Raises:
        InputError: something is wrong with a stage, or the log is damaged.
    """
    try:
        known = read_json(log) if log.exists() else {}
        done = {
            name: {"config_sha256": record["config_sha256"], "seconds": float(record["seconds"])}
            for name, record in known.items()
        }
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(log, f"is damaged ({error})", "remove it: stages go on from what is there") from error
    logging.info("%d stages; a stopped run goes on with the same command", len(stages))
    for number, stage in enumerate(stages, 1):
        where, digest = f"stage {number} of {len(stages)}, {stage.what}", stage.digest
        if stage.name in done and not stage.result.exists():
            for later in stages[number - 1 :]:  # they were made with what is gone
                done.pop(later.name, None)
        if done.get(stage.name, {}).get("config_sha256") == digest:
            logging.info("%s: finished in %.0f seconds before", where, done[stage.name]["seconds"])
            continue
        logging.info("%s", where)
        began = time.perf_counter()
        stage.work()
        done[stage.name] = {"config_sha256": digest, "seconds": round(time.perf_counter() - began, 1)}
        write_json(log, done)
        logging.info("%s: %.0f seconds", where, done[stage.name]["seconds"])
    return {stage.name: done[stage.name]["seconds"] for stage in stages}
