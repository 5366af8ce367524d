"""The paper in miniature: which stage makes what from which, what is skipped and gone on with, what the page says."""

import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from configs import assessor, default, miniature
from latentjax import config as configs
from latentjax import config_checks, networks
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs import breed, judge, paper
from latentjax.report import paper as report
from tests.finished_evaluations import evaluation, scores_of

STAGES = ["breed", "images crowd", "images unrelated", "images fresh", "assessor", "judgement", "learned"]
METRICS = {"count": 100, "accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9, "auc": 0.95, "ece": 0.05}


def config(generator: pathlib.Path, **fields) -> ConfigDict:
    """The miniature's config around the tiny generator; fields are written with two underscores for the dot."""
    small = {"paper.bred": 20, "paper.plain": 10, "paper.fresh": 10, "paper.generations": 8, "data.many": 10}
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    c = miniature.get_config().lock()
    c.update_from_flattened_dict({"generator.weights": str(generator), "evaluate.count": 8, **small, **changes})
    config_checks.check(c)
    return c


class Jobs:
    """Stands for the other jobs: notes what is asked for, writes what the page needs, stops where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.asked: dict[str, ConfigDict] = {}
        self.stops = ""
        self.breeding = breed.write
        monkeypatch.setattr(breed, "write", self.breed)
        monkeypatch.setattr(paper.generate, "run", self.generate)
        monkeypatch.setattr(paper.train_assessor, "run", self.assess)
        monkeypatch.setattr(paper.train, "run", self.train)
        monkeypatch.setattr(judge, "judge", self.judge)
        monkeypatch.setattr(judge, "pictures_of", lambda folder, points: [])

    def note(self, name: str, c: ConfigDict) -> None:
        if name == self.stops:
            raise KeyboardInterrupt
        self.asked[name] = c

    def breed(self, folder, c, generator):
        self.note("breed", c)
        self.breeding(folder, c, generator)

    def generate(self, c, workdir):
        self.note(f"images {c.generate.name}", c)
        pathlib.Path(workdir).mkdir(exist_ok=True)

    def assess(self, c, workdir):
        self.note("assessor", c)
        (pathlib.Path(workdir) / "report").mkdir(parents=True)
        (pathlib.Path(workdir) / "report" / "index.html").touch()

    def judge(self, run, prepared, points, unrelated):
        self.note("judgement", points)
        splits = {"validation": METRICS} if unrelated is None else {"validation": METRICS, "unrelated": METRICS}
        return {"assessor": splits, "trivial": [{"name": "mean colour", **splits}]}

    def train(self, c, workdir):
        name = pathlib.Path(workdir).name
        self.note(name, c)
        folder = evaluation(pathlib.Path(workdir) / "evaluation" / c.evaluate.name, scores_of(0.5, count=4))
        (folder / "summary.json").write_text(json.dumps(summary(0.6 if name == "learned" else 0.3)))


def summary(slope: float) -> dict:
    """summary.json of an evaluation whose mean scores rise by `slope` between alpha -.5 and .5."""
    alphas, means = [-0.5, 0.0, 0.5], [0.5 - slope / 2, 0.5, 0.5 + slope / 2]
    return {
        "alphas": alphas,
        "latents": 4,
        "score": {"mean": means, "std": [0.1] * 3, "ci95": [[mean - 0.05, mean + 0.05] for mean in means]},
        "achieved": slope,
        "achieved_limit": 0.9,
        "achieved_vs_requested": {f"{a:g}": mean - 0.5 for a, mean in zip(alphas, means, strict=True)},
    }


@pytest.fixture
def jobs(monkeypatch):
    return Jobs(monkeypatch)


def test_stages_follow_from_one_another(jobs, tiny_generator, tmp_path):
    c, run = config(tiny_generator), tmp_path / "run"
    paper.run(c, str(run))
    assert list(jobs.asked) == [*STAGES, "one_direction"]
    asked = jobs.asked
    assert asked["images crowd"].generate.latents == str(run / "breeding" / "crowd")
    assert asked["images fresh"].generate.count == 10
    assert asked["images fresh"].latents.classes == "onehot"
    assert asked["assessor"].data.kind == "creativity"
    assert asked["assessor"].data.images == str(run / "images" / "generated" / "crowd")
    assert asked["assessor"].data.ancestors == (str(run / "breeding" / "ancestors.csv"),)
    assert asked["assessor"].data.generated == str(run / "images" / "generated" / "fresh")
    assert asked["assessor"].data.size == networks.load_generator(tiny_generator).resolution
    assert asked["assessor"].assessor.weights == "embedded:lite0"
    assert asked["learned"].assessor.weights == str(run / "assessor" / "assessor")
    assert asked["learned"].assessor.calibrate
    assert asked["learned"].latents.classes == f"artbreeder:{run / 'breeding' / 'classes.json'}"
    assert asked["learned"].evaluate.latents == str(run / "breeding" / "heldout")
    assert c == config(tiny_generator)  # each stage has a config of its own


def test_the_baseline_differs_from_the_map_in_kind_and_rate_alone(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator, paper__baseline_learning_rate=0.07), str(tmp_path / "run"))
    learned, single = (configs.flatten(jobs.asked[name]) for name in ("learned", "one_direction"))
    differing = {name: value for name, value in single.items() if learned[name] != value}
    assert differing == {"transformer.kind": "one_direction", "train.learning_rate": 0.07}


@pytest.mark.parametrize("stage", ["images unrelated", "assessor", "judgement", "one_direction"])
def test_a_stopped_run_goes_on_at_the_stage_it_was_stopped_in(jobs, tiny_generator, tmp_path, stage):
    c, order = config(tiny_generator), [*STAGES, "one_direction"]
    jobs.stops = stage
    with pytest.raises(KeyboardInterrupt):
        paper.run(c, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "index.html").exists()
    jobs.asked, jobs.stops = {}, ""
    paper.run(c, str(tmp_path / "run"))
    first = "images crowd" if stage.startswith("images") else stage
    assert list(jobs.asked) == order[order.index(first) :]
    assert (tmp_path / "run" / "index.html").exists()


def test_a_finished_run_makes_nothing_but_its_page(jobs, tiny_generator, tmp_path):
    c = config(tiny_generator)
    paper.run(c, str(tmp_path / "run"))
    jobs.asked = {}
    (tmp_path / "run" / "index.html").unlink()
    paper.run(c, str(tmp_path / "run"))
    assert jobs.asked == {}
    assert (tmp_path / "run" / "index.html").exists()


def test_a_run_goes_on_however_its_workdir_is_spelled(jobs, tiny_generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paper.run(config(tiny_generator), "run")
    assert list(jobs.asked) == [*STAGES, "one_direction"]
    jobs.asked = {}
    paper.run(config(tiny_generator), str(tmp_path / "run"))
    assert jobs.asked == {}


def test_a_result_that_is_gone_is_made_again_with_all_that_follows(jobs, tiny_generator, tmp_path):
    c, run = config(tiny_generator), tmp_path / "run"
    paper.run(c, str(run))
    jobs.asked = {}
    for name in ("assessor", "learned", "one_direction"):
        shutil.rmtree(run / name)
    paper.run(c, str(run))
    assert list(jobs.asked) == ["assessor", "judgement", "learned", "one_direction"]


def test_stages_of_a_run_with_checkpoints_elsewhere_keep_apart(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator, checkpoints__folder="/elsewhere/"), str(tmp_path / "run"))
    folders = [jobs.asked[name].checkpoints.folder for name in ("assessor", "learned", "one_direction")]
    assert folders == ["/elsewhere/assessor", "/elsewhere/learned", "/elsewhere/one_direction"]


def test_more_steps_go_on_with_the_map_and_the_baseline_alone(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator), str(tmp_path / "run"))
    jobs.asked = {}
    paper.run(config(tiny_generator, train__num_steps=400), str(tmp_path / "run"))
    assert list(jobs.asked) == ["learned", "one_direction"]
    assert jobs.asked["learned"].evaluate.name == "heldout-400"


def test_another_crowd_is_another_run(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator), str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"paper\.seed"):
        paper.run(config(tiny_generator, paper__seed=1), str(tmp_path / "run"))


def crowds_own(folder: pathlib.Path) -> dict:
    """Fields that name a crowd's pictures, list and latents in a folder."""
    (folder / "faces").mkdir()
    (folder / "many.txt").touch()
    person = breed.Individual("one", np.ones(6), np.eye(3)[0], 1.0, (), 0)
    breed.write_latents(folder / "latents", {"one": [person]})
    return {
        "data__images": str(folder / "faces"),
        "data__ancestors": (str(folder / "many.txt"),),
        "evaluate__latents": str(folder / "latents"),
    }


def test_a_crowds_own_pictures_take_the_simulations_place(jobs, tiny_generator, tmp_path):
    fields = crowds_own(tmp_path)
    c = config(tiny_generator, latents__classes="mixture:2", data__size=64, **fields)
    paper.run(c, str(tmp_path / "run"))
    assert list(jobs.asked) == ["images fresh", "assessor", "judgement", "learned", "one_direction"]
    asked = jobs.asked["assessor"].data
    assert (asked.images, asked.ancestors, asked.size) == (fields["data__images"], fields["data__ancestors"], 64)
    assert jobs.asked["images fresh"].latents.classes == "onehot"
    assert jobs.asked["learned"].latents.classes == "mixture:2"
    assert jobs.asked["learned"].evaluate.latents == fields["evaluate__latents"]
    page = (tmp_path / "run" / "report.md").read_text()
    assert "simulated" not in page
    assert not (tmp_path / "run" / "breeding").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"generator__weights": ""}, "config.generator.weights"),
        ({"assessor__terms": ({"weights": "embedded:redness"},)}, "config.assessor.terms"),
        ({"assessor_training__output": "regression"}, "config.assessor_training.output"),
        ({"assessor_training__output": "sigmoid"}, "config.assessor.calibrate"),
        ({"evaluate__method": "ascent"}, "config.evaluate.method"),
        ({"evaluate__move": "y"}, "config.evaluate.move"),
        ({"transformer__kind": "two_layer_directions"}, "config.transformer"),
        ({"evaluate__noise_seeds": (0, 1)}, "config.evaluate.noise_seeds"),
        ({"data__generated": "there"}, "config.data.generated"),
        ({"data__images": "there"}, "config.data.ancestors"),
        ({"data__validation": 0.0}, "config.data.validation"),
        ({"assessor__weights": "embedded:redness"}, "config.assessor.weights"),
        ({"assessor_training__variant": "b9"}, "config.assessor_training.variant"),
        ({"train__micro_batches": 3}, "config.train.micro_batches"),
        ({"generate__name": "mine"}, "config.generate.name"),
        ({"generate__latents": "there"}, "config.generate.latents"),
        ({"generate__alphas": (0.1,)}, "config.generate.alphas"),
        ({"generate__format": "jpeg"}, "config.generate.format"),
        ({"generate__noise_seeds": (0, 1)}, "config.generate.noise_seeds"),
        ({"latents__truncation": 2.0}, "config.latents.truncation"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_at_once(jobs, tiny_generator, tmp_path, fields, said):
    assert refused(jobs, config(tiny_generator, **fields), tmp_path / "run").where == said


def refused(jobs: Jobs, c: ConfigDict, run: pathlib.Path) -> InputError:
    """Why a run is refused before any stage; nothing may be written."""
    with pytest.raises(InputError) as caught:
        paper.run(c, str(run))
    assert jobs.asked == {}
    assert not run.exists()
    return caught.value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("data__images", "gone", "config.data.images: gone is not there"),
        ("data__ancestors", ("gone.txt",), "config.data.ancestors: gone.txt is not there"),
        ("data__generated", "gone", "config.data.generated: gone is not there"),
        ("evaluate__latents", "gone", "gone"),
        ("latents__classes", "onehot:3", "config.latents.classes: has the class 3"),
    ],
)
def test_a_crowds_own_files_are_looked_at_before_anything_is_made(jobs, tiny_generator, tmp_path, name, value, said):
    c = config(tiny_generator, **(crowds_own(tmp_path) | {name: value}))
    assert str(refused(jobs, c, tmp_path / "run")).startswith(said)


def test_a_batch_that_the_devices_cannot_share_is_refused_at_once(jobs, tiny_generator, tmp_path, monkeypatch):
    mesh = types.SimpleNamespace(size=3)
    monkeypatch.setattr(paper.paper_checks.distributed, "data_mesh", lambda: mesh)
    c = config(tiny_generator, train__batch_size=6, assessor_training__batch_size=16)
    assert refused(jobs, c, tmp_path / "run").where == "config.assessor_training.batch_size"
    c = config(tiny_generator, train__batch_size=16, assessor_training__batch_size=6)
    assert refused(jobs, c, tmp_path / "run").where == "config.train.batch_size"


def test_a_prepared_set_needs_no_sources_any_more(jobs, tiny_generator, tmp_path):
    fields = crowds_own(tmp_path)
    (tmp_path / "faces").rmdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.json").touch()
    paper.run(config(tiny_generator, data__folder=str(tmp_path / "set"), **fields), str(tmp_path / "run"))
    assert "assessor" in jobs.asked


def test_the_page_shows_every_part(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator), str(tmp_path / "run"))
    page = (tmp_path / "run" / "index.html").read_text()
    for file in ("curves.png", "strips-learned.png", "strips-one_direction.png"):
        assert (tmp_path / "run" / file).exists()
        assert file in page
    assert "assessor/report/index.html" in page
    assert "learned/evaluation/heldout-300/index.html" in page
    assert "nobody&#39;s taste is simulated" in page
    numbers = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert numbers["assessor"]["unrelated"]["accuracy"] == 0.9
    assert numbers["advantages"] == pytest.approx({"-0.5": 0.15, "0.5": 0.15})
    assert all(sentence in (tmp_path / "run" / "report.md").read_text() for sentence in numbers["reading"])


def test_the_papers_numbers_stand_in_a_table_of_their_own(jobs, tiny_generator, tmp_path):
    paper.run(config(tiny_generator), str(tmp_path / "run"))
    before, after = (tmp_path / "run" / "report.md").read_text().split("## What the paper reports")
    assert "92 %" not in before
    assert "92 %" in after.split("## ")[0]
    assert "not to be compared" in after


def test_a_missing_result_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"judgement\.json: is missing or damaged"):
        report.write(tmp_path, {}, 3, {}, {})


@pytest.mark.parametrize("text", ["{", "[]", '{"images": 3}', '{"images": {"config_sha256": "", "seconds": "ten"}}'])
def test_a_damaged_list_of_finished_stages_is_told(tmp_path, text):
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(InputError, match=r"stages.json: is damaged \(.*; remove it: stages go on from what is there"):
        paper.finish([], tmp_path / "stages.json")


@pytest.mark.parametrize("variants", ["", "tenth", "full"])
def test_the_miniatures_variants_are_configs(variants):
    c = miniature.get_config(variants)
    configs.check_fields(c, default.get_config())
    config_checks.check(c)
    assert c.paper.bred == c.paper.plain + c.paper.fresh or variants == "full"


@pytest.mark.parametrize("variants", ["", "folder", "creativity", "scores"])
def test_the_assessors_variants_are_configs(variants):
    c = assessor.get_config(variants)
    configs.check_fields(c, default.get_config())
    config_checks.check(c)


def test_full_is_the_published_recipe():
    c, published = miniature.get_config("full"), default.get_config()
    for name in ("num_steps", "batch_size", "learning_rate", "optimizer", "schedule"):
        assert c.train[name] == published.train[name]
    for name, value in published.assessor_training.items():
        assert c.assessor_training[name] == value, name
    assert c.transformer == published.transformer
    assert (c.paper.fresh, c.data.size, c.assessor.weights) == (24_000, 512, "")
