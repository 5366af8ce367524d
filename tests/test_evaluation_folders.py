"""Evaluation folders: strips as JPEG, and pages that are made again without the networks."""

import pytest
from PIL import Image

from latentjax.errors import InputError
from latentjax.jobs import evaluate
from latentjax.report import __main__ as report
from tests import tiny_runs


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    with tiny_runs.shared_compilations(tmp_path_factory.getbasetemp() / "cache"):
        yield tiny_runs.save_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def config(generator, tmp_path_factory):
    transformer = tiny_runs.save_transformer(tmp_path_factory.mktemp("transformer"))

    def config(**fields):
        return tiny_runs.config(generator, **{"transformer__weights": transformer} | fields)

    return config


def test_strips_as_jpeg(config, tmp_path):
    evaluate.run(config(evaluate__format="jpeg"), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    names = sorted(path.name for path in (folder / "grids").iterdir())
    assert names == [f"seed1-{i:05d}.jpg" for i in range(3)]
    with Image.open(folder / "grids" / names[0]) as image:
        assert image.format == "JPEG"
    assert names[0] in (folder / "index.html").read_text()
    with pytest.raises(InputError, match="was made with another format"):
        evaluate.run(config(), str(tmp_path / "run"))


def test_a_folder_is_rebuilt_without_images(config, tmp_path):
    evaluate.run(config(), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    made = ["scores.csv", "manifest.jsonl", "curves.png", "index.html", "summary.json"]
    before = {name: (folder / name).read_bytes() for name in made}
    for name in ("scores.csv", "curves.png", "index.html", "manifest.jsonl"):
        (folder / name).unlink()
    kept = {path: path.stat().st_mtime_ns for part in ("grids", "sprites") for path in (folder / part).iterdir()}
    report.command(["rebuild", str(folder)])
    assert {name: (folder / name).read_bytes() for name in made} == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_unfinished_folder_is_not_rebuilt(config, tmp_path):
    evaluate.run(config(), str(tmp_path / "run"))
    folder = tmp_path / "run" / "evaluation" / "sampled"
    log = (folder / "strips.jsonl").read_text().splitlines()
    (folder / "strips.jsonl").write_text("\n".join([*log[:2], log[1]]) + "\n")
    with pytest.raises(InputError, match=r"is not finished \(1 strips\)"):
        report.command(["rebuild", str(folder)])
    (folder / "strips.jsonl").unlink()
    with pytest.raises(InputError, match="is no finished evaluation"):
        report.command(["rebuild", str(folder)])
