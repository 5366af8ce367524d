"""Prepared sets: whole or not there, the same each time, refused when made from something else."""

import io
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from latentjax import data, pictures
from latentjax.data import images, pipeline, sets, writing
from latentjax.errors import InputError
from tests import tiny_runs
from tests.picture_sets import classes, config, crowd, fill, left_out, picture, records, refusal


def test_a_stored_picture_is_the_resized_one(tmp_path):
    made = data.prepare(config(**crowd(tmp_path), balance="none"), tmp_path / "set")
    stored = records(made)["m000.png"]["image"]
    expected = images.resized(Image.open(tmp_path / "images" / "m000.png"), 8)
    np.testing.assert_array_equal(images.decoded(stored, 8), np.asarray(expected))


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8\xff")])
def test_all_pictures_are_encoded_alike(tmp_path, kind, magic):
    fields = classes(tmp_path, a=6, b=0)
    for i in range(6):
        (tmp_path / "images" / "b").mkdir(exist_ok=True)
        picture(i).save(tmp_path / "images" / "b" / f"{i}.jpg", quality=30)
    for record in records(data.prepare(config(**fields, format=kind), tmp_path / "set")).values():
        assert record["image"].startswith(magic)
        assert Image.open(io.BytesIO(record["image"])).size == (8, 8)


def test_preparing_twice_does_nothing_the_second_time(tmp_path, monkeypatch):
    fields = crowd(tmp_path)
    first = data.prepare(config(**fields), tmp_path / "set")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(images, "read", None)  # no picture is opened
    second = data.prepare(config(**fields), tmp_path / "set")
    assert second == first == data.open_set(tmp_path / "set")
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_preparing_leaves_no_temporary_files(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    made = data.prepare(config(**classes(tmp_path, a=6, b=6)), tmp_path / "set")
    assert len(made.source("train")) > 0
    assert not list((tmp_path / "temporary").iterdir())


def test_the_same_sources_give_the_same_set_and_contact_sheet(tmp_path):
    fields = crowd(tmp_path)
    one, two = (data.prepare(config(**fields), tmp_path / name) for name in ("one", "two"))
    assert one.sha256 == two.sha256
    sheets = [(tmp_path / name / "contact_sheet.png").read_bytes() for name in ("one", "two")]
    assert sheets[0] == sheets[1]
    other = data.prepare(config(**fields, size=9), tmp_path / "other")
    assert other.sha256 != one.sha256


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 9), ("format", "jpeg"), ("validation", 0.4), ("balance", "none"), ("many", 99), ("none", 1)],
)
def test_a_set_of_other_settings_is_refused(tmp_path, field, value):
    fields = crowd(tmp_path)
    data.prepare(config(**fields), tmp_path / "set")
    line = refusal(tmp_path / "set", **fields | {field: value})
    assert f"config.data.{field} " in line
    assert f"{value!r}" in line


def test_a_set_of_other_sources_is_refused(tmp_path):
    fields, folder = classes(tmp_path, a=8, b=8), tmp_path / "set"
    data.prepare(config(**fields), folder)
    a = tmp_path / "images" / "a"
    fill(a, ["new.png"])
    assert "other sources: 1 new (a/new.png)" in refusal(folder, **fields)
    (a / "new.png").unlink()
    (a / "000.png").rename(tmp_path / "kept.png")
    assert "1 missing (a/000.png)" in refusal(folder, **fields)
    # other pixels of the same number of bytes
    stored = bytearray((tmp_path / "kept.png").read_bytes())
    stored[-20] ^= 1
    (a / "000.png").write_bytes(stored)
    assert "1 changed (a/000.png)" in refusal(folder, **fields)
    shutil.copy(tmp_path / "kept.png", a / "000.png")  # the same content, written later
    os.utime(a / "000.png", ns=(1, 1))
    assert data.prepare(config(**fields), folder)


def test_a_set_of_other_labels_is_refused(tmp_path):
    fields = crowd(tmp_path)
    data.prepare(config(**fields), tmp_path / "set")
    text = (tmp_path / "list.txt").read_text()
    (tmp_path / "list.txt").write_text(text.replace("m000 101", "m000 0"))
    assert "1 of another label (m000.png)" in refusal(tmp_path / "set", **fields)
    # another way to write the same labels is no other source
    (tmp_path / "list.txt").write_text(text.replace("m000 101", "m000 999") + "\n\n")
    assert data.prepare(config(**fields), tmp_path / "set")


def test_a_set_without_its_sources_is_taken_as_it_is(tmp_path):
    fields = crowd(tmp_path)
    made = data.prepare(config(**fields), tmp_path / "set")
    shutil.rmtree(tmp_path / "images")
    assert data.prepare(config(**fields), tmp_path / "set") == made


def test_the_first_bad_picture_is_refused_with_the_number_of_others(tmp_path):
    fields = classes(tmp_path, a=8, b=8)
    (tmp_path / "images" / "a" / "001.png").write_bytes(b"")
    (tmp_path / "images" / "b" / "003.png").write_text("text")
    (tmp_path / "images" / "b" / "notes.txt").write_text("text")
    line = refusal(tmp_path / "set", **fields)
    assert line.startswith(f"{tmp_path / 'images' / 'a' / '001.png'}: is empty (and 2 more bad pictures); ")
    assert "skip_bad" in line


def test_bad_pictures_are_left_out_when_asked(tmp_path):
    fields = classes(tmp_path, a=8, b=8) | {"skip_bad": True, "balance": "none"}
    (tmp_path / "images" / "a" / "001.png").write_bytes(b"")
    made = data.prepare(config(**fields), tmp_path / "set")
    assert len(records(made)) == 15
    assert left_out(tmp_path / "set") == {"a/001.png": "bad: is empty"}
    assert json.loads((tmp_path / "set" / "counts.json").read_text())["left_out"] == {"bad": 1}
    assert data.prepare(config(**fields), tmp_path / "set") == made
    os.utime(tmp_path / "images" / "a" / "001.png", ns=(1, 1))
    assert "1 changed (a/001.png)" in refusal(tmp_path / "set", **fields)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    calls, encode = [], pictures.encoded

    def until_full(*args):
        calls.append(args)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        return encode(*args)

    monkeypatch.setattr(pictures, "encoded", until_full)
    assert "cannot be written (No space left on device)" in refusal(tmp_path / "set", **classes(tmp_path, a=8, b=8))


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    killed = tiny_runs.python(
        """
import os, sys
from latentjax.files import staged
with staged(sys.argv[1]) as folder:
    (folder / "half").write_bytes(b"x")
    os.kill(os.getpid(), 9)
""",
        str(tmp_path / "set"),
    )
    (left,) = tmp_path.iterdir()
    assert killed.returncode == -9
    others = [left.name.replace(".set.", ".other."), left.name + "0", left.name[1:], ".set.original"]
    for name in others:
        shutil.copytree(left, tmp_path / name)
    (tmp_path / ".set.original").chmod(0o755)  # of a name that a staged folder could have
    (tmp_path / ".set.linked_1").symlink_to(tmp_path / others[0])
    data.prepare(config(**classes(tmp_path, a=8, b=8)), tmp_path / "set")
    assert {path.name for path in tmp_path.iterdir()} == {"set", "images", ".set.linked_1", *others}
    assert all((tmp_path / name / "half").exists() for name in others)


def test_many_pictures_go_to_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SHARD", 3)
    made = data.prepare(config(**classes(tmp_path, a=20, b=20)), tmp_path / "set")
    files = list((tmp_path / "set").rglob("*train.array_record*"))
    assert len(files) == -(-sum(made.counts["train"].values()) // 3) > 3
    assert len(records(made)) == sum(sum(counts.values()) for counts in made.counts.values())


def test_the_contact_sheet_has_a_row_for_each_group(tmp_path):
    data.prepare(config(**crowd(tmp_path)), tmp_path / "set")
    sheet = Image.open(tmp_path / "set" / "contact_sheet.png")
    assert sheet.width > 12 * 96
    assert 3 * 96 < sheet.height < 4 * 96 + 40


def test_no_folder_of_the_users_is_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("precious")
    assert "is no prepared set, and not empty" in refusal(tmp_path / "set", **classes(tmp_path, a=4, b=4))
    with pytest.raises(InputError, match="is no prepared set"):
        data.open_set(tmp_path / "set")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "names": 3, "weights": []}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(InputError, match=r"set\.json: is (damaged|of another version)"):
        sets.open_set(tmp_path)


def test_neither_preparing_nor_reading_imports_tensorflow(tmp_path):
    classes(tmp_path, a=8, b=8)
    code = """
import sys
from configs import default
from latentjax import data
from latentjax.data import pipeline
c = default.get_config().data
c.update(images=sys.argv[1], size=8)
made = data.prepare(c, sys.argv[2])
next(pipeline.batches(made.source("train"), 8, 2, seed=0))
list(pipeline.in_order(made.source("validation"), 8, 2))
print([name for name in ("tensorflow", "torch", "converters") if name in sys.modules], end="")
"""
    done = tiny_runs.python(code, str(tmp_path / "images"), str(tmp_path / "set"))
    assert (done.returncode, done.stdout) == (0, "[]"), done.stderr


def test_importing_the_package_needs_neither_tfds_nor_grain():
    names = "{'grain', 'tensorflow_datasets'} & {*sys.modules}"
    code = f"import sys; import latentjax.data, latentjax.data.pipeline, latentjax.jobs.prepare; print({names})"
    done = tiny_runs.python(code)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("module", ["tensorflow_datasets", "array_record.python.array_record_module"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch, module):
    fields = classes(tmp_path, a=8, b=8)
    made = data.prepare(config(**fields), tmp_path / "set")
    monkeypatch.setitem(sys.modules, module, None)
    told = refusal(tmp_path / "other", **fields)
    assert told.startswith(f"{module.partition('.')[0]}: cannot be imported (")
    assert told.endswith("; pip install -r requirements.txt")
    with pytest.raises(InputError, match="cannot be imported"):
        made.source("train")


def test_batches_without_grain_are_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    for feed in (lambda: pipeline.batches([{}], 8, 1, seed=0), lambda: pipeline.in_order([{}], 8, 1)):
        with pytest.raises(InputError, match=r"^grain: cannot be imported \(.*; pip install -r requirements\.txt$"):
            feed()
