"""Files are whole or not there."""

import errno
import hashlib
import json
import os

import pytest

from latentjax import files
from latentjax.errors import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_staged_folder_appears_when_its_block_ends(tmp_path):
    with files.staged(tmp_path / "deep" / "model") as temporary:
        (temporary / "a").write_text("new")
        assert not (tmp_path / "deep" / "model").exists()
    assert (tmp_path / "deep" / "model" / "a").read_text() == "new"
    assert names(tmp_path / "deep") == ["model"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    def write_half():
        with files.staged(tmp_path / "model") as temporary:
            (temporary / "a").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert names(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="model: cannot be written"), files.staged(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "broken link"])
def test_what_is_there_is_not_overwritten(tmp_path, kind):
    place = tmp_path / "model"
    if kind == "file":
        place.write_text("old")
    elif kind == "folder":
        place.mkdir()
        (place / "a").write_text("old")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="model: is there already; name another folder"), files.staged(place):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["model"]


def test_an_empty_folder_is_taken_over(tmp_path):
    (tmp_path / "model").mkdir()
    with files.staged(tmp_path / "model") as temporary:
        (temporary / "a").write_text("new")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["a"]


def test_replacing_swaps_the_whole_folder(tmp_path):
    for name in ("a", "b"):
        with files.staged(tmp_path / "model", replace=True) as temporary:
            (temporary / name).write_text(name)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["b"]


def test_a_failed_replacement_keeps_the_old_folder(tmp_path):
    with files.staged(tmp_path / "model") as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), files.staged(tmp_path / "model", replace=True):
        _ = 1 / 0
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "old"


def test_a_place_under_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), files.staged(tmp_path / "file" / "model"):
        pytest.fail("the block must not run")
    with pytest.raises(InputError, match="cannot be written"):
        files.refuse_existing(tmp_path / ("a" * 300))


def test_a_staged_folder_has_the_permissions_of_any_new_folder(tmp_path):
    (tmp_path / "usual").mkdir()
    with files.staged(tmp_path / "model"):
        pass
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_text_and_json_are_replaced_whole(tmp_path, monkeypatch):
    files.write_json(tmp_path / "a.json", {"é": [1, 2.5, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": [1, 2.5, None]}
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: pytest.fail("not reached"))
        with pytest.raises(UnicodeEncodeError):
            files.write_text(tmp_path / "a.json", "\udc80")
    assert names(tmp_path) == ["a.json"]
    files.write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 10)
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 10).hexdigest()


# ---- our own records


NO_OBJECTS = [
    *(b"", b"{", b"[]", b"3", b"null", b'"a"', b'{"a": "\xff"}', b"\xff" * 999),
    *(b"[" * 100_000, b'{"a":' * 9_999),
]


@pytest.mark.parametrize("data", NO_OBJECTS)
def test_what_is_no_json_object_is_one_kind_of_error_that_does_not_repeat_it(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"\w") as caught:
        files.read_json(tmp_path / "a.json")
    assert len(repr(caught.value)) < 200


@pytest.mark.parametrize("data", NO_OBJECTS)
def test_a_line_that_is_no_json_object_is_left_out_and_no_other(tmp_path, data):
    (tmp_path / "log").write_bytes(b'{"step": 1}\n' + data + b'\n{"step": 2}\n')
    assert list(files.read_lines(tmp_path / "log")) == [{"step": 1}, {"step": 2}]
    assert list(files.read_lines(tmp_path / "none")) == []


# ---- what a killed process left


def test_a_folder_that_was_being_replaced_is_put_back(tmp_path, monkeypatch):
    place = tmp_path / "model"
    place.mkdir()
    (place / "a").write_text("old")
    rename, done = os.rename, []

    def die_between(source, target):
        if done:
            raise SystemExit  # stands for a kill: nothing is put back here
        done.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "rename", die_between)
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit), files.staged(place, replace=True) as temporary:
            (temporary / "a").write_text("new")
    assert not place.exists()
    assert len(names(tmp_path)) == 2
    files.recover(place)
    assert names(tmp_path) == ["model"]
    assert (place / "a").read_text() == "old"


def test_what_was_not_finished_is_cleared_away_and_nothing_else(tmp_path):
    for name in ("model", ".model.abc", ".model.old.abc", "other", ".other.abc", ".models.abc"):
        (tmp_path / name).mkdir()
    (tmp_path / ".model.123").write_text("half")
    (tmp_path / ".model.link").symlink_to(tmp_path / "other")
    files.recover(tmp_path / "model")
    assert names(tmp_path) == [".models.abc", ".other.abc", "model", "other"]
