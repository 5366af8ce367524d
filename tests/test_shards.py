"""Shards of pictures: TFDS reads what was written, and a shard is whole or not there."""

import os
import resource
import signal
import sys

import pytest
import tensorflow_datasets as tfds

from latentjax import shards
from latentjax.errors import InputError


def examples(count, first=0):
    # a TFDS image is not looked into before it is decoded
    return [example(b"\x89PNG %d" % i, i) for i in range(first, first + count)]


def example(png, i):
    return shards.Example(png, f"sha256 of {i}", f"picture-{i}", {"index": i})


def test_pictures_are_read_at_their_place(tmp_path):
    file = tmp_path / shards.file_name(0)
    written = shards.write(file, examples(5))
    assert written == [({"index": i}, f"sha256 of {i}") for i in range(5)]
    assert [shards.read(file, i) for i in range(5)] == [one.png for one in examples(5)]


def test_pictures_are_not_compressed_again(tmp_path):
    file, png = tmp_path / shards.file_name(0), b"the same again" * 1000
    shards.write(file, [example(png, 0)])
    assert png in file.read_bytes()
    assert shards.read(file, 0) == png


def test_tfds_reads_shards_of_different_lengths_in_order(tmp_path):
    shards.write(tmp_path / shards.file_name(0), examples(5))
    shards.write(tmp_path / shards.file_name(1), examples(2, first=5))
    beside = tmp_path / "metadata"
    beside.mkdir()
    shards.write_metadata(beside, [5, 2], 1000)
    for path in beside.iterdir():
        os.replace(path, tmp_path / path.name)
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = tfds.builder_from_directory(tmp_path).as_data_source(split="train", decoders=decoders)
    found = [(example["image"], example["key"].decode(), example["source"].decode()) for example in source]
    assert found == [(png, key, f'{{"index": {i}}}') for i, (png, _, key, _) in enumerate(examples(7))]


def test_a_failure_leaves_the_old_shard(tmp_path):
    file = tmp_path / shards.file_name(0)
    shards.write(file, examples(3))

    def failing():
        yield from examples(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shards.write(file, failing())
    assert list(tmp_path.iterdir()) == [file]
    assert shards.read(file, 2) == examples(3)[2].png


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            shards.write(tmp_path / "full", [example(os.urandom(50_000), 0)] * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["tensorflow_datasets", "array_record.python.array_record_module"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"cannot be imported \(.*; pip install -r requirements\.txt$"):
        shards.write(tmp_path / "shard", examples(1))
    assert not list(tmp_path.iterdir())
