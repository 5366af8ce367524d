"""A run that goes on, and the disk under it: what is wrong is one line and exit code 2, and nothing is lost."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

import launch
from latentjax import weights
from latentjax.jobs import train
from tests import tiny_runs

LATENT = {"latent": [0.1, -0.2, 0.3, 0.4, -0.5, 0.6], "classes": [[0, 1.0]]}
STEPS = {"train__num_steps": 30, "train__log_every": 5, "train__checkpoint_every": 10}


@pytest.fixture(scope="module")
def config(generator):
    return lambda **fields: tiny_runs.config(generator, **STEPS | fields)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train.run(config(), str(workdir))
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished, tmp_path / "run")


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    """Every file but the record of starts."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.json", "config.json", ".lock")
    }


@pytest.fixture
def ended(monkeypatch, capsys):
    """Exit code and log of launch.py in this process."""

    def call(c, workdir, job="train") -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["launch.py", *tiny_runs.arguments(c, workdir, job)])
        code = launch.main()
        return code, capsys.readouterr().err

    return call


def refusal(outcome: tuple[int, str]) -> str:
    """The one line of a refusal."""
    code, log = outcome
    assert code == 2, log
    assert "Traceback" not in log
    assert log.count("error: ") == 1
    return log[log.index("error: ") :]


# ---- going on


def test_a_finished_run_started_again_has_nothing_to_do(ended, config, workdir):
    before = contents(workdir)
    code, log = ended(config(), workdir)
    assert code == 0
    assert f"done: train: nothing to train, step 30 was reached before, in {workdir}, " in log
    assert contents(workdir) == before


def test_run_json_lists_every_start(ended, config, workdir):
    assert ended(config(train__num_steps=40), workdir)[0] == 0
    first, second = json.loads((workdir / "run.json").read_text())["starts"]
    assert (first["from_step"], first["step"], first["how"]) == (0, 30, "done")
    assert (second["from_step"], second["step"], second["how"]) == (30, 40, "done")
    assert first["began"] < first["ended"] < second["began"] < second["ended"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"transformer__kind": "one_direction"},
            "transformer.kind is 'two_layer_noise' there and 'one_direction' here",
        ),
        ({"transformer__num_directions": 3}, "transformer.num_directions is None there and 3 here"),
        (
            {"train__batch_size": 8, "train__seed": 3},
            "train.batch_size is 4 there and 8 here; train.seed is 0 there and",
        ),
    ],
)
def test_another_config_is_refused_with_what_differs(ended, config, workdir, fields, said):
    before = contents(workdir)
    line = refusal(ended(config(**fields), workdir))
    assert line.startswith(f"error: {workdir}: was made with another config ({said}")
    assert contents(workdir) == before


def test_a_generator_of_another_class_count_behind_the_same_path_is_refused(
    ended, config, generator, workdir, tmp_path
):
    moved = shutil.copytree(generator, tmp_path / "generator")
    c = config(generator__weights=str(moved))
    assert ended(c, tmp_path / "mine")[0] == 0
    shutil.rmtree(moved)
    kind = {"kind": "dcgan", "config": tiny_runs.KIND["config"] | {"num_classes": 5}}
    arrays = weights.named(tiny_runs.networks.Generator(weights.build(**kind), kind).state)
    weights.save(moved, arrays, **kind, source={"file": "", "sha256": ""})
    before = contents(tmp_path / "mine")
    line = refusal(ended(c, tmp_path / "mine"))
    assert "was made with another generator than the one that is there now; name another --workdir, or put" in line
    assert contents(tmp_path / "mine") == before


def test_the_checkpoints_of_another_run_are_refused_and_stay(ended, config, workdir, tmp_path):
    shared = {"checkpoints__folder": str(tmp_path / "shared")}
    assert ended(config(**shared), tmp_path / "one")[0] == 0
    before = contents(tmp_path / "shared")
    line = refusal(ended(config(**shared, train__seed=1), tmp_path / "two"))
    assert line.startswith(f"error: {tmp_path}/shared: step 30 was made with another config; set --config.checkpoints.")
    assert contents(tmp_path / "shared") == before


def damage(step: pathlib.Path) -> None:
    for path in (step / "default").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_a_damaged_newest_checkpoint_it_goes_on_from_the_one_before(ended, config, finished, workdir):
    damage(workdir / "checkpoints" / "30")
    code, log = ended(config(), workdir)
    assert code == 0, log
    assert log.count("cannot be read (") == 1
    assert "going on from step 20 of 30" in log
    assert (workdir / "checkpoints" / "damaged" / "30-0").is_dir()
    assert (workdir / "transformer" / "weights.safetensors").read_bytes() == (
        finished / "transformer" / "weights.safetensors"
    ).read_bytes()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_all_checkpoints_damaged_it_stops_and_they_stay(ended, config, workdir):
    for step in (workdir / "checkpoints").iterdir():
        damage(step)
    before = contents(workdir)
    line = refusal(ended(config(), workdir))
    assert line.startswith(f"error: {workdir}/checkpoints: has no checkpoint that can be read (step 30: ")
    assert contents(workdir) == before


def test_killed_while_it_replaced_its_transformer_it_is_evaluated_with_the_one_before(ended, config, finished, workdir):
    (workdir / ".transformer.old.abc").mkdir()
    (workdir / "transformer").rename(workdir / ".transformer.old.abc" / "transformer")
    shutil.copytree(finished / "checkpoints", workdir / ".transformer.new")  # what it had not put there yet
    code, log = ended(config(), workdir, "evaluate")
    assert code == 0, log
    for name in ("model.json", "weights.safetensors"):
        assert (workdir / "transformer" / name).read_bytes() == (finished / "transformer" / name).read_bytes()
    assert not list(workdir.glob(".transformer*"))
    assert list((workdir / "evaluation").glob("*-30"))


# ---- latents


def latents_in(folder: pathlib.Path, **files: object) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder)


def test_bad_latents_among_good_ones_are_told_before_anything_is_computed(
    ended, config, workdir, tmp_path, monkeypatch
):
    many = latents_in(tmp_path / "many", a=LATENT, b=LATENT | {"latent": [1.0]}, c=LATENT, d="{", e=LATENT)
    monkeypatch.setattr("latentjax.jobs.sweep.Sweep._begun", lambda *_: pytest.fail("something was computed"))
    before = contents(workdir)
    line = refusal(ended(config(evaluate__latents=many), workdir, "evaluate"))
    assert line.startswith(f'error: {many}/b.json: has 1 numbers in "latent", expected 6 (and 1 more bad file); ')
    assert contents(workdir) == before


def test_with_skip_bad_the_good_ones_are_evaluated_and_the_others_counted(ended, config, workdir, tmp_path):
    many = latents_in(tmp_path / "many", a=LATENT, b=LATENT | {"latent": [1.0]}, c=LATENT, d="{", e=LATENT)
    fields = {"evaluate__latents": many, "evaluate__skip_bad": True, "evaluate__name": "mine"}
    code, log = ended(config(**fields), workdir, "evaluate")
    assert code == 0, log
    assert "2 of 5 latent files are bad and left out; the first: " in log
    grids = workdir / "evaluation" / "mine" / "grids"
    assert sorted(path.name for path in grids.iterdir()) == ["a.png", "c.png", "e.png"]


def test_two_latents_of_one_name_are_refused(ended, config, workdir, tmp_path):
    twice = latents_in(tmp_path / "twice", **{"a b": LATENT, "a_b": LATENT})
    line = refusal(ended(config(evaluate__latents=twice), workdir, "evaluate"))
    assert f"its name a_b is taken by {twice}/a b.json; rename one of the two" in line


# ---- the disk


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system in memory, with options; skipped where that is not allowed."""
    places = []

    def mount(options: str) -> pathlib.Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("may not mount")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_workdir_is_refused_before_anything_is_computed(ended, config, mounted):
    disk = mounted("ro,size=1m")
    line = refusal(ended(config(), disk / "run"))
    assert line == f"error: {disk}/run: cannot be written (Read-only file system); name another --workdir\n"


def test_a_run_on_a_disk_that_became_read_only_stays(ended, config, finished, mounted):
    disk = mounted("size=8m")
    workdir = shutil.copytree(finished, disk / "run")
    before = contents(workdir)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    line = refusal(ended(config(train__num_steps=40), workdir))
    what = "cannot be written (Read-only file system); mend that, and run the same command again to go on"
    assert line == f"error: {workdir}/checkpoints: {what}\n"
    assert contents(workdir) == before


def fill_up(file: pathlib.Path) -> None:
    with open(file, "wb", buffering=0) as opened:
        while True:
            opened.write(b"x" * 4096)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(ended, config, finished, mounted):
    disk = mounted("size=8m")
    workdir = shutil.copytree(finished, disk / "run")
    filling = disk / "filling"
    with pytest.raises(OSError, match="No space"):
        fill_up(filling)
    before = {path: data for path, data in contents(workdir).items() if "checkpoints" in path.parts}
    line = refusal(ended(config(train__num_steps=40), workdir))
    assert str(workdir) in line
    assert "No space left on device" in line or "are free; free space" in line
    assert before.items() <= contents(workdir).items()
    filling.unlink()
    assert ended(config(train__num_steps=40), workdir)[0] == 0
    assert tiny_runs.saved_state(workdir, 40)["step"] == 40
