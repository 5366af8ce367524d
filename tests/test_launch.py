"""launch.py: bad input is one line that names the file or field, exit code 2, and nothing is written."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import launch
from configs import demo
from latentjax import config as configs
from latentjax import weights
from latentjax.run_folder import RunFolder

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "demo.py"
LATENT = {"latent": [0.1, -0.2, 0.3, 0.4, -0.5, 0.6], "classes": [[0, 1.0]], "truncation": 0.7}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Compiled programs go to a temporary folder."""
    monkeypatch.setenv("LATENTJAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def tiny_transformer(tmp_path_factory):
    """A transformer for the tiny generator."""
    config = {"latent_dim": 6, "num_classes": 3, "z": "vector", "y": "none"}
    folder = tmp_path_factory.mktemp("transformer") / "tiny"
    arrays = weights.named(nnx.state(weights.build("transformer", config)))
    weights.save(folder, arrays, "transformer", config, {})
    return folder


@pytest.fixture
def line(refused, tiny_generator, tmp_path):
    """The line that refuses these arguments, given beside the demo's config, a workdir and the tiny generator."""

    def call(*arguments, workdir=tmp_path / "run", config=CONFIG, generator=tiny_generator):
        base = [f"--config={config}", f"--workdir={workdir}", f"--config.generator.weights={generator}"]
        return refused(launch.main, *base, *arguments)

    return call


@pytest.fixture
def latents_line(line, tiny_transformer, tmp_path):
    """The line that refuses to evaluate this content as a file of latents."""

    def call(content, *arguments):
        file = tmp_path / "latent.json"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        base = ["--job=evaluate", f"--config.transformer.weights={tiny_transformer}"]
        said = line(*base, f"--config.evaluate.latents={file}", *arguments)
        return said.removeprefix(f"{file}: ")

    return call


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extra"], "extra: is not a flag; flags are --config, --workdir, --job, --debug and --config.FIELD=VALUE"),
        (["--steps=3"], "--steps: is not a flag; flags are --config, "),
        (["-v"], "-v: is not a flag; "),
        (["--work=a"], "--work: is not a flag; "),
        (["--job=dance"], "--job: invalid choice: 'dance' (choose from 'train', 'evaluate'"),
        (["--job"], "--job: expected one argument; see python launch.py --help"),
        (["--config.train.num_steps"], "--config.train.num_steps: has no value; write --config.train.num_steps=VALUE"),
        (["--config.evaluate.name", "--config.train.seed=1"], "--config.evaluate.name: has no value; write "),
        (
            ["--config.train.num_stpes=3"],
            "--config.train.num_stpes: is no field of this config; did you mean --config.",
        ),
        (
            ["--config.num_steps=3"],
            "--config.num_steps: is no field of this config; did you mean --config.train.num_st",
        ),
        (["--config.train.num_steps=1e3"], "--config.train.num_steps: '1e3' is not a whole number; write --config."),
        (["--config.train.learning_rate=1e999"], "--config.train.learning_rate: '1e999' is not a finite number; "),
        (["--config.evaluate.skip_bad=maybe"], "--config.evaluate.skip_bad: 'maybe' is not true or false; write "),
        (["--config.a\nb=3"], "--config.a b: is no field of this config; "),
        (["--config=nowhere.py"], "--config: nowhere.py is not there; give a file, such as configs/demo.py"),
        ([f"--config={CONFIG}:fast"], "--config: has no variant 'fast'; choose from z_only, y_only, one_direction"),
    ],
)
def test_arguments_that_are_not_understood_are_named(line, arguments, said):
    assert line(*arguments).startswith(said)


def test_required_flags_are_named(refused, tmp_path):
    assert refused(launch.main, f"--config={CONFIG}") == "--workdir: is missing; see python launch.py --help\n"
    assert refused(launch.main, f"--workdir={tmp_path}").startswith("--config: is missing; ")


def test_a_misspelt_field_in_a_config_file_is_named(line, tmp_path):
    file = tmp_path / "mine.py"
    text = (
        "from configs import demo\ndef get_config():\n    c = demo.get_config()\n    c.train.stpes = 1\n    return c\n"
    )
    file.write_text(text)
    assert line(config=file).startswith("--config: sets train.stpes, which is no field; did you mean train.")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_no_error(monkeypatch, capsys, flag):
    monkeypatch.setattr(sys, "argv", ["launch.py", flag])
    with pytest.raises(SystemExit) as caught:
        launch.main()
    assert caught.value.code == 0
    assert "python launch.py --config=configs/demo.py --workdir=runs/demo" in capsys.readouterr().out


def test_debug_shows_the_traceback(monkeypatch, capsys, tmp_path):
    arguments = [f"--config={CONFIG}", f"--workdir={tmp_path}/run", "--config.a=1", "--debug"]
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    assert launch.main() == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "\nerror: --config.a: is no field" in err


# ---- values


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("train.batch_size", "0", "config.train.batch_size: is 0; give a positive number"),
        ("train.seed", "-1", "config.train.seed: is -1; give 0 or more"),
        ("train.optimizer", "sgd", "config.train.optimizer: 'sgd' is unknown; use one of radam, adam"),
        ("platform", "abacus", "config.platform: 'abacus' is unknown; use one of any, cpu, gpu, tpu"),
        ("evaluate.name", "../other", "config.evaluate.name: is '../other'; use up to 120 letters"),
        ("evaluate.alphas", "(0, 1e999)", "config.evaluate.alphas: is (0, inf); give finite numbers"),
        ("latents.truncation", "1.5", "config.latents.truncation: is 1.5; give a number in (0, 1]"),
        ("latents.truncation", "0", "config.latents.truncation: is 0.0; give a number in (0, 1]"),
        (
            "latents.classes",
            "onehot:3",
            "config.latents.classes: has the class 3, but the generator has 3, counted from 0; ",
        ),
        ("latents.classes", "all", "config.latents.classes: is 'all', which is no setting; give "),
        (
            "transformer.kind",
            "three_layer",
            "config.transformer.kind: 'three_layer' is unknown; use one of one_direction, ",
        ),
        ("transformer.z", "cubic(z)", "config.transformer.z: 'cubic(z)' is not a direction; write "),
        ("transformer.renorm", "rows", "config.transformer.renorm: 'rows' is unknown; use one of sample, batch, none"),
        ("assessor.slope", "0", "config.assessor.slope: is 0.0; "),
    ],
)
def test_a_value_that_cannot_be_is_named(line, field, value, said):
    assert line(f"--config.{field}={value}").startswith(said)


@pytest.mark.parametrize("platform", ["tpu", "gpu"])
def test_a_platform_that_is_not_there_is_no_reason_to_take_another(line, platform):
    if jax.default_backend() != "cpu":
        pytest.skip("needs a machine without accelerators")
    assert line(f"--config.platform={platform}").startswith(f"config.platform: {platform} was asked for")


# ---- the workdir


def test_a_workdir_that_is_something_else_is_left_alone(line, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    assert line(workdir=tmp_path / "file") == f"{tmp_path}/file: is a file; name a folder with --workdir\n"
    said = f"{tmp_path}/thesis: is neither empty nor a run folder; name another --workdir\n"
    assert line(workdir=tmp_path / "thesis") == said
    assert line(workdir="") == "--workdir: is empty; name a folder\n"
    assert line(workdir=tmp_path / "file" / "run").startswith(f"{tmp_path}/file/run: cannot be written (Not a director")


def test_a_workdir_of_another_config_is_refused_with_what_differs(line, tiny_generator, tmp_path):
    config = demo.get_config()
    config.generator.weights = str(tiny_generator)
    config.train.learning_rate = 0.5
    RunFolder(str(tmp_path / "run"), config).create()
    rate = "--config.train.learning_rate=0.001"
    assert line(rate, "--config.train.num_steps=7", "--config.evaluate.count=2", "--config.platform=cpu") == (
        f"{tmp_path}/run: was made with another config (train.learning_rate is 0.5 there and 0.001 here); "
        "name another --workdir, or give the same config\n"
    )


def test_evaluating_before_training_is_refused(line, tmp_path):
    said = line("--job=evaluate")
    assert said.startswith(f"{tmp_path}/run: holds no learned transformer; train first ")


# ---- weights


def test_weights_that_are_no_model_folder_are_named(line, tmp_path, tiny_transformer):
    (tmp_path / "biggan.pth").write_text("")
    (tmp_path / "empty").mkdir()
    assert line(generator="").startswith("config.generator.weights: is not set; ")
    assert line(generator=tmp_path / "nowhere").startswith(f"{tmp_path}/nowhere: does not exist; ")
    assert line(generator=tmp_path / "biggan.pth").startswith(f"{tmp_path}/biggan.pth: is a file; give a model folder")
    assert line(generator=tmp_path / "empty").startswith(f"{tmp_path}/empty: is not a generator folder (no model.json)")
    assert line(generator="embedded:nothing").startswith("embedded:nothing: is no generator that comes with latentjax;")
    said = f"{tiny_transformer}: holds a model for the role transformer (transformer), not generator; "
    assert line(generator=tiny_transformer).startswith(said)


def test_damaged_weights_are_named(line, tiny_generator, tmp_path):
    folder = shutil.copytree(tiny_generator, tmp_path / "generator")
    file, record = folder / "weights.safetensors", folder / "model.json"
    data, text = bytearray(file.read_bytes()), record.read_text()
    data[-3] ^= 4
    file.write_bytes(data)
    assert line(generator=folder).startswith(f"{file}: does not match the checksum in model.json; convert or copy the")
    record.write_text(text[: len(text) // 2])
    assert line(generator=folder).startswith(f"{record}: is damaged (")


def test_weights_of_another_role_or_size_are_named(line, tiny_generator, tmp_path):
    assert line(f"--config.assessor.weights={tiny_generator}").startswith(f"{tiny_generator}: holds a model for the ro")
    config = {"latent_dim": 7, "num_classes": 3, "z": "vector", "y": "none"}
    arrays = {path: np.ones(shape, np.float32) for path, shape in weights.shapes_of("transformer", config).items()}
    weights.save(tmp_path / "other", arrays, "transformer", config, {})
    said = f"{tmp_path}/other: moves 7 latent dimensions and 3 classes; the generator has 6 and 3; "
    assert line(f"--config.transformer.weights={tmp_path}/other").startswith(said)


# ---- latents (their own tests have every way to be wrong)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LATENT | {"latent": [0.1] * 127}, 'has 127 numbers in "latent", expected 6; use latents made for this gener'),
        (LATENT | {"classes": [[3, 1.0]]}, '"classes"[0] has the class index 3, outside 0 to 2; '),
        (LATENT | {"classes": [[-1, 1.0]]}, '"classes"[0] has the class index -1, outside 0 to 2; '),
        (LATENT | {"classes": [[True, 1.0]]}, '"classes"[0] has the class index true, not an integer; '),
        (LATENT | {"latent": [float("nan")] * 6}, "holds NaN, which JSON does not have; "),
        (json.dumps(LATENT).replace("0.6", "1e999").encode(), '"latent"[5] is too large for float32; '),
        (LATENT | {"truncation": 1.5}, '"truncation" is 1.5, outside (0, 1]; '),
        (LATENT | {"latent": [0.0] * 6}, '"latent" is all zeros; '),
        (b"\xff\xfe{}", "is not UTF-8 text; "),
        (b"", "is empty; "),
    ],
)
def test_a_latent_that_does_not_fit_is_named(latents_line, content, said):
    assert latents_line(content).startswith(said)


def test_bad_latents_stop_training_before_it_starts(line, tmp_path):
    (tmp_path / "latents").mkdir()
    said = line(f"--config.evaluate.latents={tmp_path}/latents")
    assert said.startswith(f"{tmp_path}/latents: has no files; give a JSON file or a folder of them")
    assert line(f"--config.evaluate.latents={tmp_path}/nowhere").startswith(f"{tmp_path}/nowhere: does not exist; ")


# ---- as a process


def launched(*arguments, **environment):
    command = [sys.executable, "launch.py", *map(str, arguments)]
    environment = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_as_a_process_bad_input_is_one_line_and_exit_code_2(tmp_path):
    done = launched(f"--config={CONFIG}", f"--workdir={tmp_path}/run", "--config.train.batch_size=eight")
    said = "error: --config.train.batch_size: 'eight' is not a whole number; write --config.train.batch_size=8, for "
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{said}example\n"
    assert not list(tmp_path.iterdir())


def test_a_batch_that_two_devices_cannot_share_is_refused(tiny_generator, tmp_path):
    base = [f"--config={CONFIG}", f"--workdir={tmp_path}/run", f"--config.generator.weights={tiny_generator}"]
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = launched(*base, "--config.train.batch_size=3", **two)
    assert (done.returncode, done.stdout) == (2, "")
    *log, last = done.stderr.splitlines()
    assert last == "error: config.train.batch_size: 3 is not divisible by the 2 devices; use 2"
    assert not any("rror" in entry or "Traceback" in entry for entry in log)
    assert not list(tmp_path.iterdir())


# ---- what is right


def test_a_latent_that_fits_is_evaluated(tiny_generator, tiny_transformer, tmp_path, monkeypatch):
    (tmp_path / "latent.json").write_text(json.dumps(LATENT))
    fields = {
        "generator.weights": tiny_generator,
        "transformer.weights": tiny_transformer,
        "evaluate.latents": tmp_path / "latent.json",
        "evaluate.name": "one",
    }
    flags = [f"--config.{field}={value}" for field, value in fields.items()]
    monkeypatch.setattr(sys, "argv", ["x", "--job=evaluate", f"--config={CONFIG}", f"--workdir={tmp_path}/run", *flags])
    assert launch.main() == 0
    assert [path.name for path in (tmp_path / "run" / "evaluation" / "one" / "grids").iterdir()] == ["latent.png"]
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["config"]["evaluate.name"] == "one"


def test_flags_take_their_value_after_a_blank_too(tmp_path):
    words = ["--config", str(CONFIG), "--workdir", str(tmp_path), "--config.train.num_steps", "5", "--job", "evaluate"]
    flags, config = launch.parse(words)
    assert (flags.job, flags.workdir, config.train.num_steps) == ("evaluate", str(tmp_path), 5)
    assert configs.flatten(launch.parse([*words, "--config.train.num_steps=6"])[1])["train.num_steps"] == 6
