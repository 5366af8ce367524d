"""The files of a simulated crowd: whole, readable as Artbreeder's, and the same each time."""

import csv
import json
import pathlib

import numpy as np
import pytest

from latentjax import artbreeder, class_vectors, networks
from latentjax.errors import InputError
from latentjax.jobs import breed
from tests.test_paper import config


@pytest.fixture(scope="module")
def bred(tiny_generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bred") / "breeding"
    breed.write(folder, config(tiny_generator), networks.load_generator(tiny_generator))
    return folder


def read(folder: pathlib.Path) -> dict[str, list[artbreeder.Latent]]:
    found: dict[str, list[artbreeder.Latent]] = {}
    for latent in artbreeder.read(folder, 6, 3):
        found.setdefault(latent.name.split("-")[0], []).append(latent)
    return found


def test_latents_are_written_as_artbreeders(bred):
    assert {name: len(group) for name, group in read(bred / "crowd").items()} == {"bred": 20, "plain": 10}
    assert {name: len(group) for name, group in read(bred / "heldout").items()} == {"bred": 4, "plain": 2, "fresh": 2}
    assert {name: len(group) for name, group in read(bred / "unrelated").items()} == {"bred": 4, "plain": 2, "fresh": 2}
    for latent in read(bred / "heldout")["fresh"] + read(bred / "crowd")["plain"]:
        assert sorted(latent.y) == [0, 0, 1]


def test_ancestors_are_listed_for_all_of_the_crowd(bred):
    with open(bred / "ancestors.csv", newline="") as file:
        listed = {row["key"]: int(row["ancestors"]) for row in csv.DictReader(file)}
    crowd = read(bred / "crowd")
    assert set(listed) == {latent.name for group in crowd.values() for latent in group}
    assert all(listed[latent.name] > 10 for latent in crowd["bred"])
    assert all(listed[latent.name] == 0 for latent in crowd["plain"])


def test_held_out_latents_are_of_another_population(bred):
    keys = [{one.key for group in read(bred / name).values() for one in group} for name in ("crowd", "heldout")]
    assert not keys[0] & keys[1]


def test_classes_are_fitted_on_the_crowd(bred):
    found = class_vectors.parse(f"artbreeder:{bred / 'classes.json'}", 3)
    y = np.stack([latent.y for group in read(bred / "crowd").values() for latent in group])
    assert found.mean == pytest.approx(y.mean(axis=0), abs=1e-6)
    assert found.std == pytest.approx(y.std(axis=0), abs=1e-6)


def test_the_statistics_stand_beside_the_real_ones(bred):
    titles = list(json.loads((bred / "statistics.json").read_text()))
    assert titles[0] == "Artbreeder, 64 files"
    assert titles[-1] == "in this run, 3 classes, more than 10 ancestors"


def test_breeding_again_gives_the_same_files(bred, tiny_generator, tmp_path):
    breed.write(tmp_path / "again", config(tiny_generator), networks.load_generator(tiny_generator))
    files = sorted(path.relative_to(bred) for path in bred.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.*"))
    for file in files:
        assert (bred / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_more_held_out_latents_hold_the_fewer(bred, tiny_generator, tmp_path):
    more = config(tiny_generator, evaluate__count=16)
    breed.write(tmp_path / "more", more, networks.load_generator(tiny_generator))
    few, many = (
        {one.key for group in read(folder / "heldout").values() for one in group}
        for folder in (bred, tmp_path / "more")
    )
    assert few < many


def test_files_stay_below_the_size_that_is_read(bred, tiny_generator, monkeypatch, tmp_path):
    monkeypatch.setattr(breed, "FILE_BYTES", 1000)
    breed.write(tmp_path / "small", config(tiny_generator), networks.load_generator(tiny_generator))
    files = list((tmp_path / "small" / "crowd").iterdir())
    assert len(files) > 5
    assert all(file.stat().st_size < 1100 for file in files)
    names = (
        {latent.name for group in read(folder / "crowd").values() for latent in group}
        for folder in (bred, tmp_path / "small")
    )
    assert next(names) == next(names)


def test_too_few_generations_are_told(tiny_generator, tmp_path):
    c = config(tiny_generator, paper__generations=2, data__many=100)
    with pytest.raises(InputError, match=r"^config\.paper\.generations: gives 0 images with more than 100 ancestors"):
        breed.write(tmp_path / "breeding", c, networks.load_generator(tiny_generator))
    assert not (tmp_path / "breeding").exists()
