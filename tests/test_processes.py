"""Two processes of two devices each: the same run, resumed by any number of them, evaluated and written once."""

import json
import pathlib
import shutil
import signal
import time

import numpy as np
import pytest

from tests import process_groups, tiny_runs

# the mean over a batch adds up in another order; 20 steps of RAdam pass that on
ROUNDING = 1e-5
TRAINED = {"train__num_steps": 20, "train__log_every": 5, "train__checkpoint_every": 5}
EVALUATED = {"evaluate__count": 64, "evaluate__batch_size": 8, "evaluate__name": "mine"}


@pytest.fixture(scope="module")
def config(generator):
    return lambda **fields: tiny_runs.config(generator, **TRAINED | fields)


def trained(config, workdir: pathlib.Path, processes: int, devices: int, **fields) -> pathlib.Path:
    for process in process_groups.run(tiny_runs.arguments(config(**fields), workdir), processes, devices):
        assert process.code == 0, process.log
    return workdir


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    """The run in one process of one device."""
    return trained(config, tmp_path_factory.mktemp("alone") / "run", 1, 1)


@pytest.fixture(scope="module")
def together(config, tmp_path_factory):
    """Two processes of two devices each; one is killed after the first checkpoint, then both are started again."""
    workdir = tmp_path_factory.mktemp("together") / "run"
    arguments = tiny_runs.arguments(config(train__num_steps=2_000), workdir)
    started = process_groups.start(arguments)
    while process_groups.step_reached(workdir) < 5:
        assert all(process.poll() is None for process in started)
        time.sleep(0.02)
    started[1].send_signal(signal.SIGKILL)
    first, _ = process_groups.ended(started)
    # JAX's own watch over the processes may be faster than the step that breaks off, and ends the process itself
    assert first.code == 75 or first.code < 0, first
    if first.code == 75:
        assert "stopped because another process was lost (" in first.log
        assert "); run the same command again to go on\n" in first.log
    reached = process_groups.step_reached(workdir)
    shutil.copytree(workdir, workdir.parent / "killed")
    trained(config, workdir, 2, 2, train__num_steps=max(20, reached + 10))
    return workdir


def exported(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    return tiny_runs.exported(workdir)


def agree(one: pathlib.Path, other: pathlib.Path) -> None:
    """Asserts the same parameters and losses, to rounding."""
    for name, array in exported(one).items():
        np.testing.assert_allclose(exported(other)[name], array, atol=ROUNDING, err_msg=name)
    losses = [{line["step"]: line["loss"] for line in tiny_runs.metrics(workdir)} for workdir in (one, other)]
    assert losses[0].keys() == losses[1].keys()
    np.testing.assert_allclose(list(losses[0].values()), list(losses[1].values()), rtol=1e-4)


@pytest.mark.slow
def test_a_killed_job_of_two_goes_on_to_what_one_process_learns(together, config, tmp_path):
    steps = tiny_runs.metrics(together)[-1]["step"]
    assert steps > 5
    agree(trained(config, tmp_path / "run", 1, 1, train__num_steps=steps), together)
    starts = json.loads((together / "run.json").read_text())["starts"]
    assert [start["how"] for start in starts][1:] == ["done"]
    assert starts[0]["from_step"] == 0 < starts[1]["from_step"]
    assert json.loads((together / "run.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_goes_on_in_one_and_back(alone, config, tmp_path):
    workdir = tmp_path / "run"
    for reached, (count, devices) in {5: (2, 2), 10: (1, 1), 15: (2, 1), 20: (1, 4)}.items():
        trained(config, workdir, count, devices, train__num_steps=reached)
        assert process_groups.step_reached(workdir) == reached
    agree(alone, workdir)


@pytest.mark.slow
def test_sixty_four_latents_have_one_summary(alone, config, tmp_path):
    """The same program on each device, so that not a bit differs; each strip is written by the first process alone."""
    found = {}
    for name, (count, devices) in {"one": (1, 4), "two": (2, 2)}.items():
        workdir = shutil.copytree(alone, tmp_path / name)
        ended = process_groups.run(tiny_runs.arguments(config(**EVALUATED), workdir, "evaluate"), count, devices)
        assert [process.code for process in ended] == [0] * count, ended[0].log
        found[name] = workdir / "evaluation" / "mine"
        assert "64 strips need about" in ended[0].log
        assert all("strips need about" not in process.log for process in ended[1:])
    for name in ("summary.json", "scores.csv", "manifest.jsonl"):
        assert (found["one"] / name).read_bytes() == (found["two"] / name).read_bytes(), name
    assert len((found["two"] / "strips.jsonl").read_text().splitlines()) == 64


@pytest.mark.slow
def test_a_comparison_of_several_ways_is_the_same(alone, config, tmp_path):
    runs = ("learned", "ascent", "sefa", "random")
    fields = {"evaluate__runs": runs, "evaluate__count": 8, "evaluate__ascent_steps": 2, "evaluate__components": 3}
    found = {}
    for name, (count, devices) in {"one": (1, 4), "two": (2, 2)}.items():
        workdir = shutil.copytree(alone, tmp_path / name)
        ended = process_groups.run(tiny_runs.arguments(config(**fields), workdir, "evaluate"), count, devices)
        assert [process.code for process in ended] == [0] * count, ended[0].log
        found[name] = json.loads((workdir / "evaluation" / "sampled-compared" / "summary.json").read_text())
    for run in runs:
        scores = [found[name]["runs"][run]["score"]["mean"] for name in found]
        np.testing.assert_allclose(*scores, atol=ROUNDING, err_msg=run)


def test_images_are_shared_out_and_none_is_made_twice(alone, config, tmp_path):
    fields = {"generate__count": 40, "generate__shard_size": 5, "generate__name": "mine", "generate__batch_size": 4}
    found = {}
    for name, count in {"one": 1, "two": 2}.items():
        workdir = shutil.copytree(alone, tmp_path / name)
        ended = process_groups.run(tiny_runs.arguments(config(**fields), workdir, "generate"), count, 2)
        assert [process.code for process in ended] == [0] * count, ended[-1].log
        found[name] = workdir / "generated" / "mine"
    logs = [(found["two"] / f"images-{i:05d}.jsonl").read_text().splitlines() for i in range(2)]
    indices = [[json.loads(line)["index"] for line in log] for log in logs]
    assert [len(mine) for mine in indices] == [20, 20]
    assert sorted([*indices[0], *indices[1]]) == list(range(40))
    for path in found["one"].rglob("*.png"):
        assert (found["two"] / path.relative_to(found["one"])).read_bytes() == path.read_bytes()
    assert (found["one"] / "manifest.jsonl").read_bytes() == (found["two"] / "manifest.jsonl").read_bytes()


@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_signal_to_one_process_saves_the_same_step_on_both(config, which, tmp_path):
    started = process_groups.start(tiny_runs.arguments(config(train__num_steps=100_000), tmp_path / "run"))
    while process_groups.step_reached(tmp_path / "run") < 5:
        assert all(process.poll() is None for process in started)
        time.sleep(0.02)
    started[which].send_signal(signal.SIGTERM)
    ended = process_groups.ended(started)
    assert [process.code for process in ended] == [75, 75], ended
    reached = process_groups.step_reached(tmp_path / "run")
    for process in ended:
        assert f"stopped at step {reached} of 100000, which is saved; run the same" in process.log.splitlines()[-1]


# ---- processes without a common disk


def apart(config, folder: pathlib.Path, **fields) -> list[process_groups.Ended]:
    """Two processes, each with a workdir of its own, as on two machines."""
    port, started = process_groups.free_port(), []
    for index in range(2):
        flags = [f"--coordinator_address=localhost:{port}", "--num_processes=2", f"--process_id={index}"]
        arguments = tiny_runs.arguments(config(**fields), folder / f"machine{index}" / "run")
        started += process_groups.start([*arguments, *flags], processes=1, devices=1)
    return process_groups.ended(started)


def test_processes_of_different_configs_are_refused(config, tmp_path):
    seeds = [1, 0]
    for process in apart(lambda: config(train__seed=seeds.pop()), tmp_path):
        assert process.code == 2, process.log
        assert process.log.splitlines()[-1].startswith("error: --config: is not the same for all processes; start all")


def test_checkpoints_on_two_disks_are_refused(config, tmp_path):
    for index, process in enumerate(apart(config, tmp_path)):
        assert process.code == 2, process.log
        folder = tmp_path / f"machine{index}" / "run" / "checkpoints"
        said = (
            f"error: {folder}: is not one folder for all processes (1 of 2 do not see it); set --config.checkpoints.f"
        )
        assert process.log.splitlines()[-1].startswith(said)


@pytest.mark.slow
def test_with_checkpoints_in_one_place_the_first_machine_has_logs_and_pictures(alone, config, tmp_path):
    fields = {
        "checkpoints__folder": str(tmp_path / "bucket"),
        "evaluate__after_train": True,
        "train__samples_every": 10,
    }
    for _ in range(2):  # a finished run started again has nothing to do
        assert [process.code for process in apart(config, tmp_path, **fields)] == [0, 0]
    first, second = (tmp_path / f"machine{index}" / "run" for index in range(2))
    agree(alone, first)
    assert (first / "evaluation" / "sampled-20" / "index.html").exists()
    assert len(list((first / "samples").iterdir())) == 2
    assert {path.name for path in second.iterdir()} <= {"config.json", ".lock"}


# ---- what is asked for


def test_a_job_for_one_process_says_so(config, tmp_path):
    for process in process_groups.run(tiny_runs.arguments(config(), tmp_path / "run", "animate"), devices=1):
        assert process.code == 2
        assert process.log.splitlines()[-1].startswith("error: --job: animate runs in one process; start it once; ")
    assert not list(tmp_path.iterdir())
