"""An assessor learns from a folder of pictures, goes on bit for bit where it was stopped, and its best is exported."""

import json
import pathlib
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from PIL import Image

import latentjax
from configs import assessor as assessor_config
from latentjax import config as configs
from latentjax import config_checks, networks, weights
from latentjax.errors import InputError
from latentjax.jobs import train_assessor
from latentjax.metrics import Log, Validations
from tests import process_groups, tiny_runs
from tests.conversion import shorten_assessors

NAMES = ("blue", "green", "red")
FIELDS = {
    "data.size": 32,
    "assessor_training.image_size": 32,
    "assessor_training.num_steps": 24,
    "assessor_training.batch_size": 8,
    "assessor_training.learning_rate": 1e-2,
    "assessor_training.schedule": "constant",
    "assessor_training.warmup_steps": 0,
    "assessor_training.log_every": 4,
    "assessor_training.validate_every": 8,
    "assessor_training.flip": True,
    "assessor_training.statistics_batches": 9,
}


def paint(folder: pathlib.Path, count: int, colour: int, seed: int) -> list[str]:
    """Noisy pictures of one colour; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    random, names = np.random.default_rng(seed), []
    for i in range(count):
        pixels = random.integers(0, 90, (36, 36, 3))
        pixels[..., colour] += random.integers(60, 150)
        names.append(f"{NAMES[colour]}{i:03d}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(folder / names[-1])
    return names


def paint_both(folder: pathlib.Path, count: int) -> pathlib.Path:
    """So many pictures of each class, in a sub-folder of its name."""
    for colour, name in enumerate(NAMES):
        paint(folder / name, count, 2 - colour, seed=colour)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return paint_both(tmp_path_factory.mktemp("pictures"), 30)


@pytest.fixture(scope="module", autouse=True)
def one_cache(tmp_path_factory):
    """Every run in here shares the compiled programs."""
    with tiny_runs.shared_compilations(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(autouse=True)
def short_networks(monkeypatch):
    shorten_assessors(monkeypatch)


def config(pictures, **fields) -> configs.ConfigDict:
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    c = assessor_config.get_config().lock()
    c.update_from_flattened_dict(FIELDS | {"assessor.weights": "", "data.images": str(pictures)} | changes)
    config_checks.check(c)
    return c


def learned(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    assessor = latentjax.load_assessor(workdir / "assessor")
    return {name: np.asarray(array) for name, array in weights.named(assessor.state).items()}


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """The run folder of 24 steps in one go: 72 pictures of the training split are 9 steps an epoch."""
    workdir = tmp_path_factory.mktemp("run") / "colours"
    with pytest.MonkeyPatch.context() as patch:
        shorten_assessors(patch)
        train_assessor.run(config(pictures), str(workdir))
    return workdir


def test_it_tells_the_classes_apart(finished):
    report = json.loads((finished / "report" / "report.json").read_text())
    assert report["names"] == list(NAMES)
    assert report["metrics"]["accuracy"] > 0.9
    assert (finished / "report" / "index.html").exists()


def test_what_is_exported_is_an_assessor_of_the_main_job(finished, pictures):
    assessor = networks.load_assessor(finished / "assessor", output_class=2)
    red = np.zeros((1, 40, 40, 3), np.float32) - 0.8
    red[..., 0] = 0.6
    assert float(assessor(red)[0]) > 0.5
    assert float(assessor(red[..., ::-1])[0]) < 0.5
    assert assessor.source["classes"] == list(NAMES)
    assert "learned from these pictures" in (finished / "assessor" / "README.md").read_text()


def test_the_run_folder_is_as_promised(finished):
    for name in ("config.json", "run.json", "data", "checkpoints", "metrics.jsonl", "validation.jsonl", "tensorboard"):
        assert (finished / name).exists(), name
    steps = [json.loads(line)["step"] for line in (finished / "validation.jsonl").read_text().splitlines()]
    assert steps == [8, 16, 24]


class StoppedError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_stopped_in_the_middle_of_an_epoch_it_goes_on_bit_for_bit(pictures, finished, tmp_path, monkeypatch, workers):
    steps, add = 0, Log.add

    def add_or_stop(log, metrics):
        nonlocal steps
        steps += 1
        if steps == 13:
            raise StoppedError
        add(log, metrics)

    monkeypatch.setattr(Log, "add", add_or_stop)
    c = config(pictures, assessor_training__workers=workers)
    with pytest.raises(StoppedError):
        train_assessor.run(c, str(tmp_path / "run"))
    train_assessor.run(c, str(tmp_path / "run"))
    assert steps == 13 + 16  # gone on after step 8
    assert same(learned(tmp_path / "run"), learned(finished))
    validated = (tmp_path / "run" / "validation.jsonl").read_text()
    assert validated == (finished / "validation.jsonl").read_text()


def test_a_finished_run_started_again_trains_nothing(pictures, finished, monkeypatch):
    monkeypatch.setattr(train_assessor, "loop", None)
    before = learned(finished)
    train_assessor.run(config(pictures), str(finished))
    assert same(before, learned(finished))


def test_the_best_is_exported_and_not_the_last(pictures, tmp_path, monkeypatch):
    scores = iter([0.3, 0.9, 0.5])
    monkeypatch.setattr(train_assessor.classification, "selection", lambda measured: next(scores))
    train_assessor.run(config(pictures), str(tmp_path / "run"))
    assert latentjax.load_assessor(tmp_path / "run" / "assessor").source["step"] == 16


@pytest.mark.slow
def test_it_stops_early_when_nothing_gets_better(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(train_assessor.classification, "selection", lambda measured: 0.5)
    c = config(pictures, assessor_training__patience=1, assessor_training__num_steps=80)
    train_assessor.run(c, str(tmp_path / "run"))
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert steps == [8, 16]
    monkeypatch.setattr(train_assessor, "loop", None)  # started again, it knows that
    train_assessor.run(c, str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("scores", "patience", "expected"),
    [([0.1, 0.2, 0.3], 1, False), ([0.1, 0.3, 0.3], 1, True), ([0.3, 0.2, 0.4], 2, False), ([0.3, 0.2], 2, False)],
)
def test_patience_counts_validations_since_the_best(tmp_path, scores, patience, expected):
    validations = Validations(tmp_path / "validation.jsonl", 0)
    for step, score in enumerate(scores, 1):
        validations.add(step, {}, score)
    assert validations.stale(patience) is expected
    assert Validations(tmp_path / "validation.jsonl", len(scores)).stale(patience) is expected
    assert not validations.stale(0)


@pytest.mark.slow
def test_a_regression_scores_in_the_labels_own_unit(tmp_path):
    names = paint(tmp_path / "pictures", 60, 0, seed=5)
    values = []
    for name in names:
        redness = np.asarray(Image.open(tmp_path / "pictures" / name))[..., 0].mean()
        values.append(100 + redness)
    lines = [f"{name},{value}" for name, value in zip(names, values, strict=True)]
    (tmp_path / "scores.csv").write_text("name,value\n" + "\n".join(lines))
    c = config(
        tmp_path / "pictures",
        data__scores=str(tmp_path / "scores.csv"),
        assessor_training__output="regression",
        assessor_training__dropout=0.0,
        assessor_training__drop_connect=0.0,
        assessor_training__num_steps=80,
    )
    train_assessor.run(c, str(tmp_path / "run"))
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["metrics"]["r2"] > 0.5
    assessor = latentjax.load_assessor(tmp_path / "run" / "assessor")
    image = np.asarray(Image.open(tmp_path / "pictures" / names[0]).resize((32, 32)), np.float32) / 127.5 - 1
    assert float(assessor(image[None])[0]) == pytest.approx(values[0], abs=3 * np.std(values))


@pytest.mark.slow
def test_calibrate_gives_the_head_the_temperature_that_fits(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(train_assessor.classification, "temperature", lambda *_: 2.0)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    logits = []
    for calibrate in (False, True):
        c = config(pictures, assessor__calibrate=calibrate, assessor_training__num_steps=8)
        train_assessor.run(c, str(tmp_path / str(calibrate)))
        logits.append(np.asarray(latentjax.load_assessor(tmp_path / str(calibrate) / "assessor").logits(images)))
    # a division by 2 is exact but for the order of sums
    assert np.abs(logits[0] / 2 - logits[1]).max() <= 1e-6


@pytest.mark.slow
def test_it_starts_from_converted_weights_with_a_new_head(pictures, finished, tmp_path):
    two = tmp_path / "two"
    for colour in (0, 1):
        paint(two / NAMES[colour], 30, 2 - colour, seed=colour)
    c = config(
        two,
        assessor__weights=str(finished / "assessor"),
        assessor_training__num_steps=1,
        assessor_training__learning_rate=1e-9,
        assessor_training__output="sigmoid",
    )
    train_assessor.run(c, str(tmp_path / "run"))
    before, after = learned(finished), learned(tmp_path / "run")
    assert after["classifier/kernel"].shape[1] == 1
    assert np.abs(before["stem/kernel"] - after["stem/kernel"]).max() <= 1e-6
    assert json.loads((tmp_path / "run" / "run.json").read_text())["start_sha256"]


DEVICES = """
import sys
import jax, launch
from latentjax.assessors import efficientnet
first, second, *_ = efficientnet.STAGES
efficientnet.STAGES = (first._replace(stride=2), second._replace(repeats=1))
assert jax.device_count() == int(sys.argv.pop(1))
sys.exit(launch.main())
"""


@pytest.mark.slow
def test_norms_are_those_of_the_whole_batch_on_any_number_of_devices(pictures, tmp_path):
    found = []
    for devices in (1, 2):
        c = config(pictures, assessor_training__num_steps=3)
        start = configs.flatten(assessor_config.get_config())
        changed = {name: value for name, value in configs.flatten(c).items() if value != start[name]}
        flags = [f"--config.{name}={value}" for name, value in changed.items()]
        words = [f"--config={tiny_runs.ROOT}/configs/assessor.py", "--job=train_assessor"]
        done = tiny_runs.python(
            DEVICES, str(devices), *words, f"--workdir={tmp_path / str(devices)}", *flags, devices=devices
        )
        assert done.returncode == 0, done.stderr
        found.append(learned(tmp_path / str(devices)))
    # three steps at a rate of 1e-2: other orders of sums, where separate norms would give other gradients altogether
    worst = max(np.abs(found[0][name] - found[1][name]).max() for name in found[0])
    assert worst <= 1e-3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"assessor_training__output": "sigmoid"},
            "config.assessor_training.output: is sigmoid, and there are 3 classes",
        ),
        ({"assessor_training__output": "regression"}, "is regression, and the pictures' labels are classes"),
        ({"assessor_training__variant": "b9"}, "config.assessor_training.variant: 'b9' is unknown"),
        ({"assessor__weights": "embedded:redness"}, "is no network that could learn"),
        ({"data__images": "nowhere"}, "nowhere"),
        ({"data__validation": 0.0}, "config.data.validation: is 0, and the best weights are chosen by"),
        ({"data__kind": "artbreeder_latents"}, "config.data.kind: is artbreeder_latents, which has no pictures"),
        ({"assessor__output": "margin"}, "config.assessor.output: is for an assessor that is trained already"),
    ],
)
def test_bad_settings_are_told_in_one_line_before_anything_is_written(pictures, tmp_path, fields, said):
    with pytest.raises(InputError) as caught:
        train_assessor.run(config(pictures, **fields), str(tmp_path / "run"))
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_other_pictures_do_not_go_on_with_a_run(pictures, finished, tmp_path):
    folder, run = tmp_path / "pictures", tmp_path / "run"
    shutil.copytree(pictures, folder)
    shutil.copytree(finished, run)
    paint(folder / "red", 1, 0, seed=99)
    known = json.loads((run / "config.json").read_text())
    known["config"]["data.images"] = str(folder)
    (run / "config.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match="other sources"):
        train_assessor.run(config(pictures, data__images=str(folder)), str(run))
    # nor does another prepared set in its place
    shutil.rmtree(run / "data")
    with pytest.raises(InputError, match="was made with another data"):
        train_assessor.run(config(pictures, data__images=str(folder)), str(run))


@pytest.mark.slow
def test_the_crowds_pictures_and_a_generator_give_the_whole_report(tmp_path):
    """As in the paper: lists of ancestors, generated pictures, and whether the result is usable as a target."""
    crowd, generated = tmp_path / "crowd", tmp_path / "generated"
    many, none = paint(crowd, 40, 0, seed=1), paint(crowd, 20, 1, seed=2)
    paint(generated, 20, 2, seed=3)
    (tmp_path / "many.txt").write_text("".join(f"{name} {101 + i}\n" for i, name in enumerate(many)))
    (tmp_path / "none.txt").write_text("".join(f"{name} 0\n" for name in none))
    c = config(
        crowd,
        data__kind="creativity",
        data__ancestors=(str(tmp_path / "many.txt"), str(tmp_path / "none.txt")),
        data__generated=str(generated),
        data__origin="nowhere in particular",
        generator__weights=tiny_runs.save_generator(tmp_path / "generator"),
    )
    train_assessor.run(c, str(tmp_path / "run"))
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["names"] == ["plain", "bred"]
    assert report["title"] == "Assessor run, of nowhere in particular"
    assert report["metrics"]["accuracy"] > 0.9
    assert {row["name"] for row in report["trivial"]} >= {"mean colour", "the larger class"}
    assert report["usability"]["generated"]["count"] == 256
    assert report["usability"]["gradients"]["latents"]["95 %"] > 0
    card = (tmp_path / "run" / "assessor" / "README.md").read_text()
    assert "nowhere in particular" in card
    assert "the score is\nthe probability of `bred`" in card


def test_of_several_classes_one_can_be_scored(pictures, tmp_path):
    c = config(
        pictures,
        assessor__output_class=2,
        assessor_training__num_steps=8,
        generator__weights=tiny_runs.save_generator(tmp_path / "generator"),
    )
    train_assessor.run(c, str(tmp_path / "run"))
    assert latentjax.load_assessor(tmp_path / "run" / "assessor").output.scored_class == 2
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["usability"]["generated"]["count"] == 256


@pytest.mark.slow
def test_bfloat16_stays_close_and_is_saved_in_float32(pictures, finished, tmp_path):
    train_assessor.run(config(pictures, precision="bfloat16"), str(tmp_path / "run"))
    assert {array.dtype for array in learned(tmp_path / "run").values()} == {np.dtype(np.float32)}
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["metrics"]["accuracy"] > 0.9
    assert jax.config.jax_default_matmul_precision == "highest"


SHORTENED = """
import sys, pytest, launch
from tests.conversion import shorten_assessors
with pytest.MonkeyPatch.context() as patch:
    shorten_assessors(patch)
    sys.exit(launch.main())
"""


def arguments(pictures, workdir: pathlib.Path) -> list[str]:
    """The command line of the run `finished`."""
    fields = FIELDS | {"assessor.weights": "", "data.images": str(pictures)}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    file = tiny_runs.ROOT / "configs" / "assessor.py"
    return [f"--config={file}", f"--workdir={workdir}", "--job=train_assessor", *flags]


@pytest.mark.slow
def test_stopped_by_a_signal_it_goes_on_bit_for_bit(pictures, finished, tmp_path):
    command = arguments(pictures, tmp_path / "run")
    [process] = process_groups.start(command, 1, 1, ("-c", SHORTENED))
    while not tiny_runs.size(tmp_path / "run" / "metrics.jsonl"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    [ended] = process_groups.ended([process])
    reached = process_groups.step_reached(tmp_path / "run")
    assert (ended.code, 0 < reached < 24) == (75, True), ended.log
    assert f"stopped at step {reached} of 24, which is saved" in ended.log.splitlines()[-1]
    [ended] = process_groups.run(command, 1, 1, ("-c", SHORTENED))
    assert ended.code == 0, ended.log
    assert f"going on from step {reached} of 24" in ended.log
    assert same(learned(tmp_path / "run"), learned(finished))
    logs = [
        [line | {"samples_per_second": 0} for line in tiny_runs.metrics(folder)]
        for folder in (finished, tmp_path / "run")
    ]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_two_processes_learn_the_same_each_from_its_rows(pictures, finished, tmp_path):
    for process in process_groups.run(arguments(pictures, tmp_path / "run"), 2, 1, ("-c", SHORTENED)):
        assert process.code == 0, process.log
    one, two = (
        [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
        for folder in (finished, tmp_path / "run")
    )
    assert [line["step"] for line in two] == [line["step"] for line in one]
    # means over a batch add up in another order, and 24 steps of batch norms pass that on
    np.testing.assert_allclose([line["selection"] for line in two], [line["selection"] for line in one], rtol=1e-3)
    for name, array in learned(finished).items():
        np.testing.assert_allclose(learned(tmp_path / "run")[name], array, atol=1e-2, err_msg=name)
    assert json.loads((tmp_path / "run" / "report" / "report.json").read_text())["metrics"]["accuracy"] > 0.9
