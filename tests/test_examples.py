"""Which pictures are in a set, with which labels, in which split."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from latentjax import data, pictures
from latentjax.data import builders, examples, images
from tests.picture_sets import classes, config, crowd, fill, left_out, picture, records, refusal


def test_ancestors_decide_the_class_and_generated_pictures_are_plain(tmp_path):
    fields = crowd(tmp_path) | {"balance": "none"}
    made = data.prepare(config(**fields), tmp_path / "set")
    found = records(made)
    assert (made.kind, made.task, made.names) == ("creativity", "classes", ("plain", "bred"))
    assert len(found) == 28
    groups = {key: (record["label"], record["group"]) for key, record in found.items()}
    assert groups["m000.png"] == (1, "bred")
    assert groups["sub/n001.png"] == (0, "none")
    assert groups["generated:00001/g003.png"] == (0, "generated")
    assert sum(sum(counts.values()) for counts in made.counts.values()) == 28
    for split, counts in made.counts.items():
        labels = [record["label"] for record in found.values() if record["split"] == split]
        assert counts == {"plain": labels.count(0), "bred": labels.count(1)}


def test_thresholds_are_exclusive_above_and_inclusive_below_and_the_rest_is_told(tmp_path):
    fill(tmp_path / "images", [f"{i}.png" for i in range(40)])
    lines = [f"{i} {[5, 6, 10, 11][i % 4]}" for i in range(36)]
    (tmp_path / "list.txt").write_text("\n".join([*lines, "nobody 7", "nobody-else 7"]))
    fields = {"kind": "creativity", "images": str(tmp_path / "images"), "ancestors": (str(tmp_path / "list.txt"),)}
    made = data.prepare(config(**fields, many=10, none=5, balance="none"), tmp_path / "set")
    labels = {int(key.removesuffix(".png")): record["label"] for key, record in records(made).items()}
    assert labels == {i: int(i % 4 == 3) for i in range(36) if i % 4 in (0, 3)}
    why = left_out(tmp_path / "set")
    assert why["1.png"] == "between the thresholds: 6 ancestors"
    assert why["36.png"] == "in no list"
    assert why["nobody"].startswith("listed without a picture: ")
    counts = json.loads((tmp_path / "set" / "counts.json").read_text())
    assert counts["left_out"] == {"listed without a picture": 2, "between the thresholds": 18, "in no list": 4}


def test_generated_pictures_may_come_from_an_array_record_folder(tmp_path):
    def shard(split, numbers):
        for i in numbers:
            image = io.BytesIO(pictures.encoded(picture(i), "png"))
            yield f"{i}", {"image": image, "label": 0.0, "key": f"g{i}", "group": ""}

    shards: builders.Shards = {"train": [lambda: shard("train", range(5)), lambda: shard("train", range(5, 9))]}
    stored = builders.ImageFolder((), "png", shards, data_dir=tmp_path / "stored").write()
    fields = crowd(tmp_path) | {"generated": str(stored), "balance": "none"}
    found = records(data.prepare(config(**fields), tmp_path / "set"))
    assert {key for key in found if key.startswith("generated:")} == {f"generated:g{i}" for i in range(9)}
    expected = np.asarray(images.resized(picture(7), 8))
    np.testing.assert_array_equal(images.decoded(found["generated:g7"]["image"], 8), expected)
    assert data.prepare(config(**fields), tmp_path / "set").counts  # the same again


def test_classes_are_the_sorted_sub_folders_whatever_is_in_them(tmp_path):
    fields = classes(tmp_path, b=8, a=8) | {"balance": "none"}
    root = tmp_path / "images"
    fill(root, [*(f"c/deep/er/{i}.png" for i in range(8)), "loose.png"])
    (root / ".hidden").mkdir()
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "notes.json").write_text("{}")
    made = data.prepare(config(**fields), tmp_path / "set")
    assert made.names == ("a", "b", "c")
    found = records(made)
    assert found["c/deep/er/0.png"]["label"] == 2
    assert left_out(tmp_path / "set") == {"loose.png": "in no class's folder"}
    assert len(found) == 24


def test_linked_folders_are_followed_once(tmp_path):
    fields = classes(tmp_path, a=8) | {"balance": "none"}
    fill(tmp_path / "elsewhere", (f"{i}.png" for i in range(8)))
    (tmp_path / "images" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    found = records(data.prepare(config(**fields), tmp_path / "set"))
    assert {key for key in found if key.startswith("b/")} == {f"b/{i}.png" for i in range(8)}


def test_scores_make_a_regression(tmp_path):
    fill(tmp_path / "images", [f"{i}.png" for i in range(30)])
    scores = tmp_path / "images" / "scores.txt"  # a list among the pictures is no picture
    scores.write_text("name,value\n" + "".join(f"{i},{i / 7 - 2}\n" for i in range(28)) + "gone.png,1\n")
    fields = {"images": str(tmp_path / "images"), "scores": str(scores)}
    made = data.prepare(config(**fields), tmp_path / "set")
    assert (made.task, made.names, made.weights) == ("regression", (), ())
    found = records(made)
    assert len(found) == 28 == sum(counts["scored"] for counts in made.counts.values())
    assert found["5.png"]["label"] == pytest.approx(5 / 7 - 2)
    assert isinstance(found["7.png"]["label"], float)
    assert sorted(left_out(tmp_path / "set")) == ["28.png", "29.png", "gone.png"]
    assert Image.open(tmp_path / "set" / "contact_sheet.png").height > 4 * 96  # a row for each quarter of the scores


def test_pictures_keep_their_split_when_others_are_added(tmp_path):
    few = data.prepare(config(**classes(tmp_path / "few", cat=20, dog=20)), tmp_path / "set")
    more = data.prepare(config(**classes(tmp_path / "more", cat=45, dog=60)), tmp_path / "set2")
    split_of = {key: record["split"] for key, record in records(more).items()}
    common = {key: record["split"] for key, record in records(few).items() if key in split_of}
    assert len(common) > 20
    assert common == {key: split_of[key] for key in common}
    assert set(common.values()) == {"train", "validation"}


def test_the_surplus_of_the_larger_class_is_dropped_by_hash(tmp_path):
    fields = classes(tmp_path, cat=40, dog=15)
    every = records(data.prepare(config(**fields, balance="none"), tmp_path / "all"))
    made = data.prepare(config(**fields), tmp_path / "set")
    kept = records(made)
    for counts in made.counts.values():
        assert counts["cat"] == counts["dog"] > 0
    dropped = left_out(tmp_path / "set")
    assert set(kept) | set(dropped) == set(every)
    assert set(dropped.values()) == {"surplus of its class"}
    assert all(key.startswith("cat/") for key in dropped)
    fill(tmp_path / "images", ["dog/new.png"])
    again = records(data.prepare(config(**fields), tmp_path / "again"))
    assert set(kept) <= set(again)


def test_weights_average_to_one_and_make_classes_equal(tmp_path):
    made = data.prepare(config(**classes(tmp_path, cat=40, dog=15), balance="weights"), tmp_path / "set")
    counts = [made.counts["train"][name] for name in made.names]
    assert sum(weight * count for weight, count in zip(made.weights, counts, strict=True)) == pytest.approx(sum(counts))
    assert made.weights[0] * counts[0] == pytest.approx(made.weights[1] * counts[1])
    equal = data.prepare(config(**classes(tmp_path, cat=40, dog=15), balance="none"), tmp_path / "none")
    assert equal.weights == (1.0, 1.0)
    assert sum(sum(split.values()) for split in equal.counts.values()) == 55


def test_lists_that_name_no_picture_are_refused(tmp_path):
    fields = crowd(tmp_path)
    (tmp_path / "list.txt").write_text("other 1\n")
    assert "holds none of the pictures that the lists name" in refusal(tmp_path / "set", **fields)


def test_a_class_without_pictures_is_refused(tmp_path):
    fields = classes(tmp_path, a=4, b=4)
    (tmp_path / "images" / "c").mkdir()
    assert f"{tmp_path / 'images' / 'c'}: has no pictures; " in refusal(tmp_path / "set", **fields)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"images": ""}, "config.data.images: is not set; "),
        ({"images": "nowhere"}, "config.data.images: nowhere is not there; "),
        ({"ancestors": ()}, "config.data.ancestors: is not set; "),
        ({"ancestors": ("missing.txt",)}, "missing.txt: cannot be read (No such file or directory); "),
        ({"generated": "nowhere"}, "config.data.generated: nowhere is not there; "),
        ({"none": 200}, "config.data.none: is 200, more than config.data.many (100); "),
        ({"many": 1000, "generated": ""}, "config.data.images: gives no training picture of the class bred; "),
        ({"validation": 0.0001}, "config.data.validation: is 0.0001, which leaves no picture of 24 for"),
        ({"validation": 0.999, "balance": "none"}, "config.data.images: gives no training picture of the class "),
        ({"kind": "image_folder"}, "has 1 sub-folders, not two or more; "),
        ({"kind": "image_folder", "scores": "missing.csv"}, "missing.csv: cannot be read"),
        ({"kind": "artbreeder_latents"}, "config.data.latents: is not set; "),
    ],
)
def test_what_makes_no_set_is_refused(tmp_path, fields, what):
    assert what in refusal(tmp_path / "set", **crowd(tmp_path) | fields)


def test_a_file_name_of_stray_bytes_is_a_key_too(tmp_path):
    fields = classes(tmp_path, a=8, b=8) | {"balance": "none"}
    name = os.fsencode(tmp_path / "images" / "a") + b"/\xff\n.png"
    os.rename(tmp_path / "images" / "a" / "000.png", name)
    made = data.prepare(config(**fields), tmp_path / "set")
    assert "a/\\udcff\n.png" in records(made)
    assert data.prepare(config(**fields), tmp_path / "set") == made


def test_without_a_validation_share_there_is_no_validation(tmp_path):
    made = data.prepare(config(**classes(tmp_path, a=6, b=6) | {"validation": 0.0}), tmp_path / "set")
    assert made.counts["validation"] == {"a": 0, "b": 0}
    assert len(made.source("validation")) == 0
    assert len(made.source("train")) == 12


def test_records_and_the_systems_files_are_no_pictures(tmp_path):
    for name in ("a.PNG", "b", "c.JSONL", ".d.png", "Thumbs.db", ".hidden/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(examples.pictures_in(str(tmp_path), "field")) == ["a.PNG", "b"]
