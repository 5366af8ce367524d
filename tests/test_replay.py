"""Every tile of a manifest is made again, pixel by pixel."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.jobs import evaluate, generate
from latentjax.report.strips import pixels_sha256
from tests import process_groups, tiny_runs

FIELDS = {"evaluate__noise_seeds": (0, 1), "evaluate__count": 2, "evaluate__name": "mine"}


@pytest.fixture(scope="module")
def config(generator, transformer):
    return lambda **fields: tiny_runs.config(generator, transformer__weights=transformer, **fields)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A workdir with an evaluation of 2 latents with 2 noise seeds in batches of 3, and one of gradient ascent."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    evaluate.run(config(**FIELDS, evaluate__batch_size=3), str(workdir))
    ascent = FIELDS | {"evaluate__method": "ascent", "evaluate__noise_seeds": (0,), "evaluate__name": "ascent"}
    evaluate.run(config(**ascent, evaluate__ascent_steps=2), str(workdir))
    return workdir


def manifest(workdir, name) -> list[dict]:
    return [json.loads(line) for line in (workdir / "evaluation" / name / "manifest.jsonl").read_text().splitlines()]


def replayed(config, workdir, name, line) -> np.ndarray:
    """The picture of one line; nothing is said of how it was evaluated."""
    folder = workdir / "generated" / "tiles"
    shutil.rmtree(folder, ignore_errors=True)
    generate.run(config(generate__tile=f"evaluation/{name}/manifest.jsonl:{line}"), str(workdir))
    (file,) = folder.iterdir()
    with Image.open(file) as image:
        return np.asarray(image)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine", "ascent"])
def test_every_tile_is_made_again_exactly(config, finished, name):
    tiles = manifest(finished, name)
    assert len({tile["tile_sha256"] for tile in tiles}) > len(tiles) // 2  # the originals of a latent are one picture
    for line, tile in enumerate(tiles, 1):
        assert pixels_sha256(replayed(config, finished, name, line)) == tile["tile_sha256"]


def test_a_tile_is_made_again_exactly_whatever_the_config_says_now(config, finished, caplog):
    tile = manifest(finished, "mine")[8]
    assert (tile["noise_seed"], tile["alpha"]) == (1, 0.25)
    image = replayed(config, finished, "mine", 9)
    assert pixels_sha256(image) == tile["tile_sha256"]
    assert "mine-seed1-00000-noise1-alpha+0.25.png: every pixel as in the evaluation" in caplog.text


def test_the_page_shows_the_command_with_the_tile_s_line(finished):
    page = (finished / "evaluation" / "mine" / "index.html").read_text()
    assert f"--workdir={finished}" in page
    assert "--config.generate.tile=evaluation/mine/manifest.jsonl:{line}" in page


@pytest.mark.parametrize(
    ("tile", "what"),
    [
        ("7", "config.generate.tile: is '7'; give evaluation/NAME/manifest.jsonl:LINE, as the page shows it"),
        ("evaluation/mine/manifest.jsonl:0", "config.generate.tile: asks for line 0 of 20 of "),
        ("evaluation/mine/manifest.jsonl:21", "config.generate.tile: asks for line 21 of 20 of "),
        ("evaluation/other/manifest.jsonl:1", "manifest.jsonl: is no evaluation's"),
    ],
)
def test_a_tile_that_is_not_there_is_refused(config, finished, tile, what):
    with pytest.raises(InputError) as told:
        generate.run(config(generate__tile=tile), str(finished))
    assert what in str(told.value)


def test_other_weights_are_told(generator, finished, transformer, tmp_path):
    other = tiny_runs.save_generator(tmp_path / "other", scale=2.0)
    workdir = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("generated"))
    record = json.loads((finished / "config.json").read_text())
    record["config"]["generator.weights"] = other
    (workdir / "config.json").write_text(json.dumps(record))
    tile = {"generate__tile": "evaluation/mine/manifest.jsonl:1"}
    with pytest.raises(InputError, match="was made with another generator; give the config, weights and latents"):
        generate.run(tiny_runs.config(other, transformer__weights=transformer, **tile), str(workdir))
    assert not (workdir / "generated").exists()


def test_several_processes_are_told_that_one_makes_it(config, finished, tmp_path):
    workdir = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("generated"))
    arguments = tiny_runs.arguments(config(generate__tile="evaluation/mine/manifest.jsonl:1"), workdir, "generate")
    for process in process_groups.run(arguments, devices=1):
        assert process.code == 2, process.log
        assert process.log.splitlines()[-1] == "error: config.generate.tile: is made by one process; start the job once"
    assert not (workdir / "generated").exists()
