"""Room on the disk is told before work begins, and lacking room before it is wasted."""

import collections
import pathlib
import types

import numpy as np
import pytest

from latentjax import space
from latentjax.errors import InputError
from latentjax.jobs import train
from latentjax.jobs.evaluation import Evaluation
from latentjax.jobs.workbench import new_transformer, prepare
from tests import tiny_runs

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


def test_what_goes_to_one_disk_is_told_in_one_sum(free, tmp_path, caplog):
    caplog.set_level("INFO")
    free(5_000_000_000)
    parts = [space.Need(tmp_path, "checkpoints", 2_000_000, 500_000), space.Need(tmp_path, "4 previews", 1_000_000)]
    space.check_together([*parts, space.Need(tmp_path, "0 strips", 0)])
    assert caplog.messages == [f"{tmp_path}: checkpoints, 4 previews need about 3 MB, and 5 GB are free"]
    caplog.clear()
    free(2_500_000)  # enough for either alone
    space.check_together(parts)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    free(499_999)  # less than what is surely needed
    with pytest.raises(InputError, match="checkpoints, 4 previews need about 3 MB, and 500 kB are free"):
        space.check_together(parts)


class Place(type(pathlib.Path())):
    """A folder of the disk that its name begins with."""

    def stat(self, **_):
        return types.SimpleNamespace(st_dev=self.parts[0])


def test_each_disk_has_its_own_sum(free, caplog):
    caplog.set_level("INFO")
    free(5_000_000_000)
    folders = {"checkpoints": Place("a/checkpoints"), "4 previews": Place("b"), "3 strips": Place("b")}
    space.check_together(space.Need(folder, what, 1000) for what, folder in folders.items())
    assert caplog.messages == [
        "a/checkpoints: checkpoints need about 1 kB, and 5 GB are free",
        "b: 4 previews, 3 strips need about 2 kB, and 5 GB are free",
    ]


TOLD = {"train__num_steps": 25, "train__samples_every": 10, "evaluate__after_train": True}


def previews_and_strips(generator, workdir, step, **fields):
    bench = prepare(tiny_runs.config(generator, **TOLD | fields), str(workdir))
    return [(need.what, need.needed) for need in Evaluation(bench, new_transformer(bench)).ahead(step)]


def test_what_training_will_draw_is_known_before_its_first_step(generator, tmp_path):
    tile = 16 * 16  # pixels; five tiles a strip, as png and again on the page, three strips
    strips = 3 * 5 * tile * 5 // 2
    for step, drawn in ((0, 3), (9, 3), (10, 2), (20, 1), (25, 0)):
        wanted = [(f"{drawn} previews", drawn * 3 * 5 * tile * 2), ("3 strips", strips)]
        assert previews_and_strips(generator, tmp_path / "run", step) == wanted
    none = {"train__samples_every": 0, "evaluate__after_train": False}
    assert previews_and_strips(generator, tmp_path / "run", 0, **none) == [("0 previews", 0), ("0 strips", 0)]


def test_it_is_what_training_draws(generator, tmp_path, caplog):
    train.run(tiny_runs.config(generator, **TOLD), str(tmp_path / "run"))
    assert f"{tmp_path}/run/checkpoints: checkpoints, 3 previews, 3 strips need about " in caplog.text
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 3
    assert previews_and_strips(generator, tmp_path / "run", 25)[1] == ("0 strips", 0)
    (next((tmp_path / "run" / "evaluation").glob("*/grids/*"))).unlink()
    assert previews_and_strips(generator, tmp_path / "run", 25)[1][0] == "1 strips"


def test_with_checkpoints_on_gs_the_pictures_are_told(tmp_path, monkeypatch, caplog):
    class Empty:
        """Stands for checkpoints in a bucket."""

        def __init__(self, *_):
            self.latest, self.close = lambda: None, lambda: None

    caplog.set_level("INFO")
    monkeypatch.setattr(train, "Checkpoints", Empty)
    run = types.SimpleNamespace(path=tmp_path, is_new=True, identity=dict)
    settings = types.SimpleNamespace(folder="gs://bucket/run", keep=2)
    state = {"params": np.zeros(3, np.float32)}
    with train.opened(settings, run, {}, state, lambda step: [space.Need(tmp_path, f"previews from {step}", 1000)]):
        pass
    assert f"{tmp_path}: previews from 0 need about 1 kB, and " in caplog.text


def test_pictures_take_by_their_kind():
    assert space.of_pictures(11, 512, "png") == 11 * 512 * 512 * 2
    assert space.of_pictures(11, 512, "jpeg") == 11 * 512 * 512 // 2
