"""Room on the disk is told before work begins, and lacking room before it is wasted."""

import collections

import pytest

from latentjax import space
from latentjax.errors import InputError

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes are free."""
    return lambda count: monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**12, 0, count))


def test_what_is_needed_and_what_is_free_are_told(free, tmp_path, caplog):
    caplog.set_level("INFO")
    free(5_000_000_000)
    space.check(tmp_path, "checkpoints", 1_230_000)
    assert caplog.messages == [f"{tmp_path}: checkpoints need about 1.23 MB, and 5 GB are free"]


def test_too_little_is_a_warning_and_far_too_little_an_error(free, tmp_path, caplog):
    free(500)
    space.check(tmp_path, "strips", 1000)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    free(249)
    with pytest.raises(InputError, match="strips need about 1 kB, and 249 B are free; free space, or name a folder"):
        space.check(tmp_path, "strips", 1000)
    with pytest.raises(InputError, match="and 249 B are free"):
        space.check(tmp_path, "checkpoints", 100, surely=250)


def test_pictures_take_by_their_kind():
    assert space.of_pictures(11, 512, "png") == 11 * 512 * 512 * 2
    assert space.of_pictures(11, 512, "jpeg") == 11 * 512 * 512 // 2
