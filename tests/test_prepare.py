"""--job=prepare: a set in the workdir, or no workdir."""

import pytest

import launch
from latentjax import data
from latentjax.errors import InputError
from tests import tiny_runs
from tests.picture_sets import classes


def test_the_job_prepares_into_the_workdir_and_goes_on(tmp_path):
    fields = classes(tmp_path, a=8, b=8) | {"size": 8}
    flags = [f"--config.data.{name}={value}" for name, value in fields.items()]
    command = [f"--config={tiny_runs.ROOT / 'configs' / 'demo.py'}", f"--workdir={tmp_path / 'run'}", "--job=prepare"]
    launch.run([*command, *flags])
    made = data.open_set(tmp_path / "run" / "data")
    assert made.names == ("a", "b")
    assert (tmp_path / "run" / "config.json").exists()
    launch.run([*command, *flags])
    assert data.open_set(tmp_path / "run" / "data") == made


def test_the_job_leaves_no_workdir_for_a_config_that_is_refused(tmp_path):
    fields = classes(tmp_path, a=8, b=8) | {"size": 8}
    (tmp_path / "images" / "a" / "000.png").write_bytes(b"")
    flags = [f"--config.data.{name}={value}" for name, value in fields.items()]
    command = [f"--config={tiny_runs.ROOT / 'configs' / 'demo.py'}", f"--workdir={tmp_path / 'run'}", "--job=prepare"]
    with pytest.raises(InputError, match="is empty"):
        launch.run([*command, *flags])
    assert not (tmp_path / "run").exists()
    launch.run([*command, *flags, "--config.data.skip_bad=true"])
