"""Each job leaves its start in run.json, and none confuses those of training; closing lines say what was done."""

import json
import pathlib
import shutil

import pytest

from latentjax.jobs import animate, evaluate, explore, generate, prepare, train
from tests import picture_sets, tiny_runs

STEPS = {"train__num_steps": 10, "train__checkpoint_every": 5}
JOBS = {
    "generate": (generate.run, {"generate__count": 3, "generate__batch_size": 3, "generate__name": "train"}),
    "animate": (animate.run, {"animate__count": 1, "animate__frames": 2}),
    "explore": (explore.run, {"explore__count": 12, "explore__perplexity": 2.0, "explore__directions": 0}),
    "evaluate": (evaluate.run, {"evaluate__name": "mine"}),
    "comparison": (evaluate.run, {"evaluate__runs": ("learned", "random")}),
}


@pytest.fixture(scope="module")
def finished(generator, tmp_path_factory):
    """A trained run; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train.run(tiny_runs.config(generator, **STEPS), str(workdir))
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def record(workdir: pathlib.Path) -> dict:
    return json.loads((workdir / "run.json").read_text())


@pytest.mark.parametrize("job", JOBS)
def test_a_start_is_listed_and_training_goes_on_as_before(generator, workdir, job):
    if job == "explore":
        pytest.importorskip("sklearn")
    run, fields = JOBS[job]
    before = record(workdir)
    run(tiny_runs.config(generator, **STEPS | fields), str(workdir))
    first, second = record(workdir)["starts"]
    assert [first] == before["starts"]
    assert (second["how"], second["began"] < second["ended"], "from_step" in second) == ("done", True, False)
    checksums = {name: value for name, value in before.items() if name in ("generator_sha256", "assessor_sha256")}
    assert len(checksums) == 2
    assert {name: record(workdir)[name] for name in checksums} == checksums
    said = str(train.run(tiny_runs.config(generator, **STEPS | {"train__num_steps": 15}), str(workdir)))
    assert said.startswith("trained steps 10 to 15, ")
    assert "(of 2 starts, " in said
    assert [start.get("from_step") for start in record(workdir)["starts"]] == [0, None, 10]


def test_a_start_that_prepares_pictures_is_listed(tmp_path):
    fields = picture_sets.classes(tmp_path, a=8, b=8) | {"size": 8}
    config = tiny_runs.config("", **{f"data__{name}": value for name, value in fields.items()})
    for count in (1, 2):
        prepare.run(config, str(tmp_path / "run"))
        assert [start["how"] for start in record(tmp_path / "run")["starts"]] == ["done"] * count


@pytest.mark.parametrize("job", ["generate", "evaluate"])
def test_the_heartbeat_says_at_the_end_that_all_is_done(generator, workdir, job):
    run, fields = JOBS[job]
    run(tiny_runs.config(generator, **STEPS | fields), str(workdir))
    beat = json.loads((workdir / "heartbeat.json").read_text())
    assert (beat["doing"], beat["step"], beat["of"]) == (fields[f"{job}__name"], 3, 3)


def test_an_evaluation_says_how_many_strips_it_made(generator, workdir):
    config = tiny_runs.config(generator, **STEPS, evaluate__name="mine")
    assert evaluate.run(config, str(workdir)) == "3 strips made"
    assert evaluate.run(config, str(workdir)) == "0 strips made, 3 were there before"
    next((workdir / "evaluation" / "mine" / "grids").iterdir()).unlink()
    assert evaluate.run(config, str(workdir)) == "1 strips made, 2 were there before"


def test_a_start_that_only_makes_the_missing_evaluation_says_so(generator, workdir):
    config = tiny_runs.config(generator, **STEPS, evaluate__after_train=True)
    nothing = "nothing to train, step 10 was reached before"
    assert train.run(config, str(workdir)) == f"{nothing}; 3 strips made"
    assert train.run(config, str(workdir)) == nothing
