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


def test_held_out_and_unrelated_latents_are_of_another_population(bred, tiny_generator):
    generator = networks.load_generator(tiny_generator)
    for number, names in ((0, ["crowd"]), (1, ["unrelated", "heldout"])):
        population = {one.name: one for one in breed.population(config(tiny_generator), generator, number)}
        for name in names:
            found = read(bred / name)
            for one in found["bred"] + found["plain"]:
                assert one.z == pytest.approx(population[one.name].z, abs=1e-5)


def test_populations_share_no_one(tiny_generator):
    generator = networks.load_generator(tiny_generator)
    drawn = [breed.population(config(tiny_generator), generator, number) for number in (0, 1)]
    ours, others = ({one.z.tobytes() for one in population} for population in drawn)
    assert not ours & others


@pytest.mark.parametrize(
    ("total", "parts", "due"),
    [
        (8, (20, 10, 10), (4, 2, 2)),
        (3, (20, 10, 10), (1, 1, 1)),
        (5, (20, 10, 10), (3, 1, 1)),
        (2, (20, 10, 10), (1, 1, 0)),
        (4, (100, 1, 1), (2, 1, 1)),
        (100, (1, 1, 1), (34, 33, 33)),
    ],
)
def test_a_total_is_shared_out_whole(total, parts, due):
    names = ("bred", "plain", "fresh")
    assert breed.shared(dict(zip(names, parts, strict=True)), total) == dict(zip(names, due, strict=True))


@pytest.mark.parametrize("total", range(1, 60))
def test_shares_sum_to_their_total(total):
    found = breed.shared({"bred": 1200, "plain": 7, "fresh": 600}, total)
    assert sum(found.values()) == total
    assert min(found.values()) >= (total >= 3)


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
    with pytest.raises(InputError, match=r"^config\.paper\.bred: asks for 20 images with more than 100 ancestors"):
        breed.write(tmp_path / "breeding", c, networks.load_generator(tiny_generator))
    assert not (tmp_path / "breeding").exists()


@pytest.mark.parametrize(
    ("of", "group", "field"),
    [
        ("crowd", "bred", "config.paper.bred"),
        ("crowd", "plain", "config.paper.plain"),
        ("unrelated", "bred", "config.data.validation"),
        ("heldout", "bred", "config.evaluate.count"),
        ("heldout", "plain", "config.evaluate.count"),
    ],
)
def test_the_field_that_asks_for_too_many_is_named(tiny_generator, of, group, field):
    c = config(tiny_generator)
    population = breed.population(c, networks.load_generator(tiny_generator), 0)
    with pytest.raises(InputError) as caught:
        breed.chosen(population, {group: 100_000}, c, of)
    assert caught.value.where == field
    assert "100000" in caught.value.what
    assert ("generations" in caught.value.todo) == (group == "bred")
