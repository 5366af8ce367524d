"""Batches: a function of seed and step, each picture once an epoch, split by rows over processes."""

import collections
import itertools

import numpy as np
import pytest
from PIL import Image

from latentjax import data, pictures
from latentjax.data import pipeline
from latentjax.errors import InputError
from tests import tiny_runs
from tests.picture_sets import classes, config, picture


class Pictures:
    """A source of pictures that are all of the level of their index."""

    def __init__(self, count: int, number: type = int):
        self.count, self.number = count, number

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < self.count:
            raise IndexError(index)
        image = pictures.encoded(Image.new("RGB", (6, 6), (index, index, index)), "png")
        return {"image": image, "label": self.number(index), "key": f"k{index}"}


def labels(count: int, steps: int, **options) -> list[list[int]]:
    """The labels of some batches of 4, or as `options` say."""
    settings = {"size": 6, "batch": 4, "seed": 0, **options}
    return [batch["label"].tolist() for batch in itertools.islice(pipeline.batches(Pictures(count), **settings), steps)]


def test_a_batch_is_pixels_and_labels():
    batch = next(pipeline.batches(Pictures(10), size=6, batch=4, seed=0))
    assert set(batch) == {"image", "label"}
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 6, 6, 3), np.uint8)
    assert batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["image"][:, 2, 2, 1], batch["label"])
    scores = next(pipeline.batches(Pictures(10, float), size=6, batch=4, seed=0))
    assert scores["label"].dtype == np.float32


def test_each_epoch_has_each_picture_once_and_an_order_of_its_own():
    seen = list(itertools.chain(*labels(10, 10)))
    epochs = [seen[start : start + 10] for start in range(0, 40, 10)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_other_seeds_give_other_orders_also_in_later_epochs():
    # Grain alone would give seed 1 the second epoch of seed 0 as its first
    epochs = {tuple(itertools.chain(*labels(12, 3, seed=seed, start=start))) for seed in range(5) for start in (0, 3)}
    assert len(epochs) == 10
    assert labels(12, 3, seed=2**32 + 1) != labels(12, 3, seed=1)  # also seeds of more than 32 bits


@pytest.mark.parametrize("start", [1, 4, 7])
def test_starting_at_a_step_is_the_uninterrupted_run_from_there(start):
    # epochs of 10 end within batches of 4
    assert labels(10, 9)[start:] == labels(10, 9 - start, start=start)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_have_the_rows_of_the_one_process_batch(count):
    whole = labels(20, 10, batch=8)
    shares = [labels(20, 10, batch=8, process=(index, count)) for index in range(count)]
    assert [list(itertools.chain(*rows)) for rows in zip(*shares, strict=True)] == whole
    assert labels(20, 3, batch=8, process=(1, count), start=7) == shares[1][7:]


def test_two_processes_see_each_picture_exactly_once_an_epoch():
    shares = [labels(12, 6, process=(index, 2)) for index in (0, 1)]
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = collections.Counter(itertools.chain(*shares[0][epoch], *shares[1][epoch]))
        assert seen == dict.fromkeys(range(12), 1)


# a worker is a new Python that imports this file's modules: seconds
@pytest.mark.parametrize(("workers", "start", "process"), [(1, 3, (0, 1)), (2, 2, (1, 2))])
def test_workers_give_the_batches_of_threads(workers, start, process):
    expected = labels(10, 8, process=process)
    assert labels(10, 8 - start, start=start, process=process, workers=workers) == expected[start:]


def test_a_prepared_set_is_read_by_workers_as_by_threads(tmp_path):
    made = data.prepare(config(**classes(tmp_path, a=8, b=8)), tmp_path / "set")
    runs = [
        list(itertools.islice(pipeline.batches(made.source("train"), 5, 3, seed=1, workers=workers), 6))
        for workers in (0, 1)
    ]
    for threads, processes in zip(*runs, strict=True):
        np.testing.assert_array_equal(threads["image"], processes["image"])
        np.testing.assert_array_equal(threads["label"], processes["label"])


def test_pictures_are_resized_as_in_preparation():
    source = [{"image": pictures.encoded(picture(1), "png"), "label": 0, "key": "a"}]
    batch = next(pipeline.batches(source, size=5, batch=1, seed=0))
    expected = picture(1).resize((5, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(batch["image"][0], np.asarray(expected))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batch_may_be_larger_than_the_set(count):
    seen = list(itertools.chain(*labels(count, 3)))
    epochs = [sorted(seen[start : start + count]) for start in range(0, 12, count)]
    assert epochs == [list(range(count))] * (12 // count)


def test_a_batch_may_be_one_picture():
    assert list(itertools.chain(*labels(10, 20, batch=1))) == list(itertools.chain(*labels(10, 5)))


def test_in_order_gives_every_picture_once_and_pads_the_last_batch():
    found = list(pipeline.in_order(Pictures(10), size=6, batch=4))
    assert [batch["rows"] for batch in found] == [4, 4, 2]
    assert found[2]["key"] == ["k8", "k9", "k9", "k9"]
    assert found[2]["image"].shape == (4, 6, 6, 3)
    assert [label for batch in found for label in batch["label"][: batch["rows"]]] == list(range(10))
    assert list(pipeline.in_order(Pictures(0), size=6, batch=4)) == []


def test_what_cannot_be_batched_is_refused_at_once():
    with pytest.raises(InputError, match="has no pictures"):
        pipeline.batches(Pictures(0), size=6, batch=4, seed=0)
    with pytest.raises(InputError, match=r"^batch: 5 is not divisible by the 2 processes; use a multiple of 2"):
        pipeline.batches(Pictures(9), size=6, batch=5, seed=0, process=(0, 2))


def test_a_program_may_end_in_the_middle_of_an_epoch():
    code = """
from latentjax.data import pipeline
from tests.test_pipeline import Pictures
if __name__ == "__main__":
    for workers in (0, 1):
        batches = pipeline.batches(Pictures(10), 6, 4, seed=0, workers=workers)
        print(next(batches)["label"].tolist())
"""
    done = tiny_runs.python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{labels(10, 1)[0]}\n" * 2
