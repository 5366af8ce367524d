"""Configs: what a file and the command line may say, and how they are told what they may not."""

import json
import pathlib

import pytest
from ml_collections import ConfigDict

from configs import default
from latentjax import config as configs
from latentjax import config_checks
from latentjax.errors import InputError

ROOT = pathlib.Path(__file__).parent.parent
FROM_DEFAULT = "from configs import default\ndef get_config(variants=''):\n    c = default.get_config()\n"


@pytest.fixture
def written(tmp_path):
    """Writes a config file and gives its path."""

    def write(text):
        (tmp_path / "experiment.py").write_text(text)
        return str(tmp_path / "experiment.py")

    return write


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- files


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.py")), ids=lambda file: file.stem)
def test_every_config_here_and_every_variant_of_it_loads(file):
    variants = getattr(__import__(f"configs.{file.stem}").__dict__[file.stem], "VARIANTS", {})
    for variant in ("", *variants):
        config = configs.load(f"{file}:{variant}")
        configs.check_fields(config, default.get_config())
        config_checks.check(config)
        assert config.is_locked


def test_variants_are_joined_by_commas():
    config = configs.load(f"{ROOT}/configs/demo.py:z_only,one_direction")
    assert (config.transformer.y, config.transformer.kind) == ("none", "one_direction")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no get_config"),
        ("def (", "cannot be loaded (SyntaxError"),
        ("import nothing_of_this_name", "cannot be loaded (ModuleNotFoundError: No module named 'nothing_of_this"),
        ("1 / 0", "cannot be loaded (ZeroDivisionError: division by zero); mend it"),
        (FROM_DEFAULT + "    c.train.num_steps = steps", "cannot be loaded (NameError: name 'steps' is not defined)"),
        (FROM_DEFAULT + "    c.train.num_steps = 'ten'\n    return c", "field 'num_steps'"),
        (FROM_DEFAULT, "gives no ConfigDict; return configs.default.get_config()"),
        ("def get_config():\n    return 3", "gives no ConfigDict"),
        ("def get_config(variants):\n    return 3", "cannot be loaded (TypeError"),
        ("def get_config():\n    raise ValueError('a\\nb')", "cannot be loaded (ValueError: a)"),
    ],
)
def test_a_broken_config_file_is_named(written, text, said):
    file = written(text)
    line = refusal(configs.load, file)
    assert line.startswith(f"--config: {file} ")
    assert said in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "'' is not there"),
        ("nowhere.py", "nowhere.py is not there; give a file, such as configs/demo.py"),
        (str(ROOT), "is not there"),
        (str(ROOT / "LICENSE"), "is no Python file"),
        (f"{ROOT}/configs/demo.py:fast", "has no variant 'fast'; choose from z_only, y_only, one_direction"),
    ],
)
def test_a_config_that_is_none_is_refused(name, said):
    line = refusal(configs.load, name)
    assert line.startswith("--config: ")
    assert said in line


def test_a_config_file_is_read_anew_and_leaves_no_compiled_copy(written, tmp_path):
    for steps in (1, 2):
        file = written(FROM_DEFAULT + f"    c.train.num_steps = {steps}\n    return c")
        assert configs.load(file).train.num_steps == steps
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.py"]


def test_a_misspelt_field_in_a_file_is_refused_with_the_nearest():
    config = default.get_config()
    config.train.num_stpes = 3
    line = refusal(configs.check_fields, config, default.get_config())
    assert line == "--config: sets train.num_stpes, which is no field; did you mean train.num_steps?"


def test_a_config_without_some_field_is_refused():
    config = default.get_config()
    del config.latents.truncation
    line = refusal(configs.check_fields, config, default.get_config())
    assert line.startswith("--config: lacks the field latents.truncation; ")
    assert "lacks the field" in refusal(configs.check_fields, ConfigDict(), default.get_config())


# ---- the command line


def test_an_optional_field_is_unset_by_none():
    config = default.get_config().lock()
    configs.override(config, "assessor.centre", "3.5")
    configs.override(config, "assessor.centre", "none")
    assert config.assessor.centre is None


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("train.num_steps", "500", 500),
        ("train.num_steps", "400_000", 400_000),
        ("train.learning_rate", "1", 1.0),
        ("train.learning_rate", "2e-4", 2e-4),
        ("evaluate.skip_bad", "true", True),
        ("evaluate.skip_bad", "False", False),
        ("evaluate.name", "12", "12"),
        ("evaluate.noise_seeds", "(0, 1)", (0, 1)),
        ("evaluate.noise_seeds", "[3]", (3,)),
        ("evaluate.alphas", "-0.5,0.5", (-0.5, 0.5)),
        ("evaluate.noise_seeds", "7", (7,)),
        ("assessor.slope", "-2", -2.0),
        ("transformer.noise_dim_y", "4", 4),
    ],
)
def test_a_field_is_set_in_its_own_type(field, text, value):
    config = default.get_config().lock()
    configs.override(config, field, text)
    found = configs.flatten(config)[field]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("train.num_steps", "1e3", "'1e3' is not a whole number"),
        ("train.num_steps", "", "'' is not a whole number"),
        ("train.num_steps", "True", "'True' is not a whole number"),
        ("train.num_steps", "9" * 5000, "is not a whole number"),
        ("train.num_steps", "(" * 5000, "is not a whole number"),
        ("train.learning_rate", "fast", "'fast' is not a finite number"),
        ("train.learning_rate", "nan", "'nan' is not a finite number"),
        ("train.learning_rate", "1e999", "'1e999' is not a finite number"),
        ("train.learning_rate", "9" * 400, "is not a finite number"),
        ("evaluate.skip_bad", "yes", "'yes' is not true or false"),
        ("evaluate.alphas", "a", "'a' is not a list of values"),
    ],
)
def test_a_value_of_another_type_is_refused(field, text, said):
    line = refusal(configs.override, default.get_config().lock(), field, text)
    assert line.startswith(f"--config.{field}: ")
    assert said in line
    assert f"; write --config.{field}=" in line
    assert len(line) < 200


@pytest.mark.parametrize(
    ("field", "nearest"),
    [
        ("train.num_stpes", "train.num_steps"),
        ("learning_rate", "train.learning_rate"),
        ("Transformer.kind", "transformer.kind"),
        ("train", "train.seed"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest(field, nearest):
    line = refusal(configs.override, default.get_config().lock(), field, "1")
    assert line == f"--config.{field}: is no field of this config; did you mean --config.{nearest}?"


# ---- values


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, 0) for field in config_checks.POSITIVE),
        *((field, -1) for field in config_checks.NOT_NEGATIVE),
        *((field, "other") for field in config_checks.CHOICES),
        ("train.seed", -1),
        ("train.seed", 2**32),
        ("evaluate.seed", 2**32),
        ("train.num_steps", 2**31),
        ("train.learning_rate", float("nan")),
        ("train.learning_rate", float("inf")),
        ("train.weight_decay", float("inf")),
        ("assessor.centre", float("nan")),
        ("latents.truncation", float("nan")),
        ("evaluate.alphas", ()),
        ("evaluate.alphas", (0.0, float("nan"))),
        ("evaluate.alphas", (float("inf"),)),
        ("evaluate.alphas", (True,)),
        ("evaluate.alphas", ("0.1",)),
        ("evaluate.noise_seeds", ()),
        ("evaluate.noise_seeds", (0, -1)),
        ("evaluate.noise_seeds", (0.5,)),
        ("evaluate.noise_seeds", (2**64,)),
        ("evaluate.noise_seeds", (0, 0)),
        ("evaluate.alphas", (-0.3, -0.3, 0.0)),
        ("evaluate.name", ".."),
        ("evaluate.name", ".hidden"),
        ("evaluate.name", "a/b"),
        ("evaluate.name", "a\n"),
        ("evaluate.name", "a" * 121),
        ("evaluate.jpeg_quality", 96),
        ("generate.seed", 2**32),
        ("generate.alphas", (0.3, float("nan"))),
        ("generate.alphas", (0.3, 0.3)),
        ("generate.noise_seeds", ()),
        ("generate.noise_seeds", (0, 0)),
        ("generate.jpeg_quality", 0),
        ("generate.name", "a/b"),
        ("evaluate.judged_alphas", ("x",)),
        ("evaluate.judged_alphas", (0.0, float("nan"))),
        ("evaluate.judged_alphas", (0.0, 0.3, 0.3)),
        ("evaluate.runs", ({"svm"},)),
        ("evaluate.runs", ("svm", float("nan"))),
        ("evaluate.held_out", ({"weights": {"embedded:chroma"}},)),
        ("assessor.terms", ({"weights": "embedded:chroma", "weight": float("inf")},)),
        ("data.ancestors", (pathlib.Path("a.csv"),)),
        ("train.num_steps", None),
    ],
)
def test_a_value_that_no_job_can_run_with_is_refused(field, value):
    config = default.get_config()
    *parents, name = field.split(".")
    group = config[parents[0]] if parents else config
    group[name] = value
    line = refusal(config_checks.check, config)
    assert line.startswith(f"config.{field}: ")
    assert len(line) < 250


def of_evaluation(**fields):
    config = default.get_config()
    config.evaluate.update(fields)
    return config


def test_nothing_has_to_be_judged():
    config_checks.check(of_evaluation(judged_alphas=()))


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "arithmetic"},
        {"method": "svm"},
        {"runs": ("learned", "arithmetic", "svm")},
        {"runs": ("a boundary=svm",)},
    ],
)
def test_arithmetic_and_svm_take_sets_of_latents(fields):
    config_checks.check(of_evaluation(plus="high", minus="low", **fields))


@pytest.mark.parametrize("fields", [{}, {"method": "pca"}, {"runs": ("svm=runs/one", "sefa")}])
def test_sets_of_latents_that_nothing_takes_are_refused(fields):
    line = refusal(config_checks.check, of_evaluation(plus="high", minus="low", **fields))
    assert line.startswith("config.evaluate.plus: is for the methods arithmetic and svm; ")


def test_a_method_beside_runs_is_refused():
    config_checks.check(of_evaluation(method="pca"))
    line = refusal(config_checks.check, of_evaluation(method="pca", runs=("svm",)))
    assert line.startswith("config.evaluate.method: is pca, and config.evaluate.runs names what is compared; ")


# ---- of a run


def started(folder, fields) -> str:
    (folder / "config.json").write_text(json.dumps({"config": fields}))
    return str(folder)


def test_the_config_of_a_run_is_what_it_was_started_with(tmp_path):
    config = of_evaluation(runs=("svm", "pca"), held_out=({"weights": "embedded:chroma"},))
    found = configs.of_run(started(tmp_path, configs.plain(config)), default.get_config())
    assert configs.flatten(found) == configs.flatten(config)
    assert found.is_locked


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"evaluate.foo": 1}, "sets 'evaluate.foo', which is no field; give --config"),
        ({"foo.bar": 1}, "sets 'foo.bar', which is no field"),
        ({"evaluate": 1}, "sets 'evaluate', which is no field"),
        ({"train.num_steps": "ten"}, "gives no config (TypeError("),
        ({"evaluate.runs": {"svm": 1}}, "gives no config (TypeError("),
        ({"evaluate.name": ["a"]}, "gives no config (TypeError("),
        ([1], "gives no config (TypeError("),
    ],
)
def test_a_damaged_config_of_a_run_is_refused(tmp_path, fields, said):
    line = refusal(configs.of_run, started(tmp_path, fields), default.get_config())
    assert line.startswith(f"{tmp_path / 'config.json'}: {said}")


# ---- the record


def test_the_hash_is_of_the_values_and_not_of_their_order():
    config, other = default.get_config(), ConfigDict(dict(reversed(list(default.get_config().items()))))
    assert configs.digest(config) == configs.digest(other)
    config.train.seed = 1
    assert configs.digest(config) != configs.digest(other)
