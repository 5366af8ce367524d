"""Two processes whose files differ, or of which one has none or ends: all are told before anything is computed."""

import json

import numpy as np
import pytest

from tests import process_groups, tiny_runs

pytestmark = pytest.mark.slow

# process 1 finds other files
OTHER_FILES = """
import sys
import launch
from latentjax import command_line, latents, networks
load, read = networks.load_generator, latents.read
other = next(word for word in sys.argv if word.startswith("other=")).removeprefix("other=")
sys.argv.remove(f"other={other}")
def other_generator(*words, **named):
    found = load(*words, **named)
    found.sha256 = "0" * 64
    return found
if "--process_id=1" in sys.argv and other == "generator":
    networks.load_generator = other_generator
if "--process_id=1" in sys.argv and other == "latents":
    latents.read = lambda *words, **named: read(*words, **named)[:-1]
command_line.process(launch.main)
"""


@pytest.fixture
def points(tmp_path):
    """A folder of three latents."""
    folder = tmp_path / "latents"
    folder.mkdir()
    for i in range(3):
        z = np.random.default_rng(i).standard_normal(6).tolist()
        (folder / f"{i}.json").write_text(json.dumps({"latent": z, "classes": [[i, 1.0]]}))
    return folder


@pytest.mark.parametrize(
    ("job", "other", "named"),
    [
        ("train", "generator", "config.generator.weights"),
        ("train", "latents", "config.evaluate.latents"),
        ("generate", "latents", "config.generate.latents"),
    ],
)
def test_other_files_are_told_on_both(generator, points, job, other, named, tmp_path):
    fields = {"evaluate__latents": str(points), "generate__latents": str(points)}
    arguments = [*tiny_runs.arguments(tiny_runs.config(generator, **fields), tmp_path / "run", job), f"other={other}"]
    for process in process_groups.ended(process_groups.start(arguments, program=("-c", OTHER_FILES))):
        assert process.code == 2, process.log
        said = f"error: {named}: is not the same for all processes; give all of them the same files"
        assert process.log.splitlines()[-1] == said
    assert not (tmp_path / "run").exists()


# one process does not come to its end in reading its input
ENDING = """
import os, signal, sys
import launch
from latentjax import command_line, latents, networks
from latentjax.errors import InputError
ending = next(word for word in sys.argv if word.startswith("ending="))
sys.argv.remove(ending)
which, what, how = ending.removeprefix("ending=").split(",")
def end(*_, **__):
    if how == "refuses":
        raise InputError("here.json", "is not there", "bring it")
    os.kill(os.getpid(), getattr(signal, how))
if f"--process_id={which}" in sys.argv:
    if what == "generator":
        networks.load_generator = end
    else:
        latents.read = end
command_line.process(launch.main)
"""


def ends(generator, workdir, points, job: str, which: int, what: str, how: str) -> list[process_groups.Ended]:
    """Both processes; the one that ends, then the other."""
    fields = {"evaluate__latents": str(points), "generate__latents": str(points), "evaluate__method": "random"}
    arguments = tiny_runs.arguments(tiny_runs.config(generator, **fields), workdir, job)
    words = [*arguments, f"ending={which},{what},{how}"]
    found = process_groups.ended(process_groups.start(words, devices=1, program=("-c", ENDING)), timeout=120)
    return [found[which], found[1 - which]]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("job", "what"), [("evaluate", "generator"), ("evaluate", "latents"), ("generate", "latents")])
def test_what_one_lacks_both_refuse(generator, points, job, what, which, tmp_path):
    first, second = ends(generator, tmp_path / "run", points, job, which, what, "refuses")
    assert (first.code, second.code) == (2, 2), first.log + second.log
    assert first.log.splitlines()[-1] == "error: here.json: is not there; bring it"
    assert second.log.splitlines()[-1] == f"error: here.json: is not there (for process {which}); bring it"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("which", [0, 1])
def test_where_one_is_stopped_the_other_stops(generator, points, which, tmp_path):
    first, second = ends(generator, tmp_path / "run", points, "evaluate", which, "latents", "SIGTERM")
    assert (first.code, second.code) == (75, 75), first.log + second.log
    said = f"stopped because process {which} ended (exit code 75); run the same command again to go on"
    assert second.log.splitlines()[-1] == said


@pytest.mark.parametrize("which", [0, 1])
def test_where_one_is_killed_the_other_ends_as_one_that_goes_on_later(generator, points, which, tmp_path):
    first, second = ends(generator, tmp_path / "run", points, "evaluate", which, "latents", "SIGKILL")
    assert first.code == -9, first.log
    # by itself, or by JAX's watch over the processes
    assert second.code == 75 or second.code < 0, second.log
    assert "Traceback" not in second.log
