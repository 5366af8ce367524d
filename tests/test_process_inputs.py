"""Two processes whose files differ, behind the same paths, are told so before anything is computed."""

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
