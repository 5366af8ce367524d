"""Predictors that need no network, on tasks whose difficulty is known."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from latentjax import data, trivial
from latentjax.trivial import Item, Sample
from tests import picture_sets


def picture(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def items(count: int, seed: int, brighter: int = 0, rougher: int = 0) -> list[Item]:
    """Pictures of label 1 are brighter or rougher by so many levels; their y is mixed, that of others one-hot."""
    random, found = np.random.default_rng(seed), []
    for i in range(count):
        label = i % 2
        noise = random.normal(0, 20 + label * rougher, (16, 16, 3))
        noise -= noise.mean()
        pixels = np.clip(110 + random.normal(0, 5) + label * brighter + noise, 0, 255)
        y = random.normal(0.2, 0.2, 6) if label else np.eye(6)[random.integers(6)]
        found.append(Item(picture(pixels), label, (random.normal(size=8), y)))
    return found


def measured(train: list[Item], *tests: list[Item]) -> dict[str, dict]:
    named = {str(i): trivial.sample(test) for i, test in enumerate(tests)}
    return {row["name"]: row for row in trivial.measure(trivial.sample(train), named)}


def test_a_brighter_class_is_told_by_its_mean_colour():
    rows = measured(items(200, 0, brighter=30), items(100, 1, brighter=30))
    assert rows["mean colour"]["0"]["accuracy"] > 0.95
    assert rows["mean colour"]["0"]["auc"] > 0.98
    assert rows["mean colour"]["0"]["f1"] > 0.95


def test_a_rougher_class_is_told_by_spread_and_file_size_and_not_by_its_mean():
    rows = measured(items(200, 0, rougher=15), items(100, 1, rougher=15))
    assert rows["mean and spread of colour"]["0"]["accuracy"] > 0.95
    assert rows["size as a JPEG of quality 75"]["0"]["accuracy"] > 0.95
    assert rows["mean colour"]["0"]["accuracy"] < 0.7


def test_mixed_class_vectors_are_told_without_a_picture():
    rows = measured(items(200, 0), items(100, 1))
    assert rows["statistics of y"]["0"]["accuracy"] > 0.98
    for name in ("length of z", "mean colour", "size as a JPEG of quality 75"):
        assert 0.3 < rows[name]["0"]["accuracy"] < 0.7, name


def test_every_test_is_measured_with_what_was_learned_once():
    rows = measured(items(200, 0, brighter=30), items(100, 1, brighter=30), items(100, 2, brighter=-30))
    assert rows["mean colour"]["0"]["accuracy"] > 0.95
    assert rows["mean colour"]["1"]["auc"] < 0.05


def test_the_larger_class_is_guessed():
    train = Sample({}, np.array([0, 1, 1]))
    (row,) = trivial.measure(train, {"validation": Sample({}, np.array([1, 0, 0, 0]))})
    assert row["name"] == trivial.MAJORITY
    assert row["validation"] == {"count": 4, "accuracy": 0.25, "f1": pytest.approx(0.4), "auc": 0.5}


def test_of_one_class_nothing_but_the_guess_is_measured():
    train = [item for item in items(20, 0) if item.label]
    rows = measured(train, items(10, 1))
    assert list(rows) == [trivial.MAJORITY]
    assert rows[trivial.MAJORITY]["0"]["accuracy"] == 0.5


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    fields = picture_sets.crowd(folder, many=4, none=20, generated=20)
    return data.prepare(picture_sets.config(**fields, balance="none"), folder / "data")


def test_items_are_all_of_a_small_split(examples):
    records = list(examples.source("train"))
    points = {"g000": (np.ones(2), np.ones(3)), "n000": (np.zeros(2), np.ones(3))}
    found = list(trivial.items_of(examples, "train", points))
    assert [item.picture for item in found] == [record["image"] for record in records]
    assert [item.label for item in found] == [record["label"] for record in records]
    known = [pathlib.Path(record["key"]).stem in points for record in records]
    assert [item.latent is not None for item in found] == known
    assert all(item.latent is None for item in trivial.items_of(examples, "train"))


def test_some_of_many_items_have_each_class_in_its_share(examples, monkeypatch):
    monkeypatch.setattr(trivial, "PICTURES", 8)
    records = list(examples.source("train"))
    by_class = np.argsort([record["label"] for record in records], stable=True)
    due = sorted(by_class[np.linspace(0, len(records) - 1, 8).astype(int)])
    found = list(trivial.items_of(examples, "train"))
    assert [item.picture for item in found] == [records[index]["image"] for index in due]
    assert abs(sum(item.label for item in found) - 8 * np.mean([record["label"] for record in records])) <= 1


def test_the_rarest_class_is_never_left_out(examples, monkeypatch):
    monkeypatch.setattr(trivial, "PICTURES", 2)
    assert sorted(item.label for item in trivial.items_of(examples, "train")) == [0, 1]


def test_latents_are_left_out_where_some_are_unknown():
    known = items(20, 0)
    mixed = [*known[:-2], known[-2]._replace(latent=None), known[-1]]
    assert set(trivial.sample(known).features) - set(trivial.sample(mixed).features) == {
        "statistics of y",
        "length of z",
    }
    rows = {row["name"] for row in trivial.measure(trivial.sample(known), {"v": trivial.sample(mixed)})}
    assert "statistics of y" not in rows


def test_statistics_of_y():
    found = trivial.of_latent(np.array([3.0, 4.0]), np.array([0.5, -0.5, 0.005, 0.0]))
    length, largest, entropy, number, total, negative = found["statistics of y"]
    assert length == pytest.approx(np.sqrt(0.5 + 0.005**2))
    assert (largest, number, negative) == (0.5, 2, 0.25)
    assert total == pytest.approx(0.005)
    assert np.log(2) < entropy < np.log(2) + 0.05
    assert found["length of z"] == [5]
    assert trivial.of_latent(np.ones(2), np.eye(3)[0])["statistics of y"] == [1, 1, 0, 1, 1, 0]
    assert np.isfinite(trivial.of_latent(np.ones(2), np.zeros(3))["statistics of y"]).all()


def test_features_of_a_picture():
    pixels = np.zeros((8, 8, 3))
    pixels[:4, :, 0] = 255
    found = trivial.of_picture(picture(pixels))
    assert found["mean colour"] == [0.5, 0, 0]
    assert found["mean and spread of colour"] == [0.5, 0, 0, 0.5, 0, 0]
    assert 100 < found["size as a JPEG of quality 75"][0] < 2000
