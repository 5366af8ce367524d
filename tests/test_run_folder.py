"""A run folder belongs to one config, and says so."""

import json

import pytest

from configs import default
from latentjax import config as configs
from latentjax.errors import InputError
from latentjax.run_folder import RunFolder

DAMAGED = ["", "{", "[]", "3", "\xff", '{"a": "\xff"}', "[" * 100_000]


def changed(**fields):
    """The default config with fields changed; two underscores stand for the dot."""
    config = default.get_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


@pytest.fixture
def workdir(tmp_path):
    """A run folder made with the default config."""
    folder = tmp_path / "runs" / "one"
    RunFolder(str(folder), default.get_config()).create()
    return folder


def refusal(workdir, config):
    with pytest.raises(InputError) as caught:
        RunFolder(str(workdir), config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_is_written_before_the_job_says_so(tmp_path):
    RunFolder(str(tmp_path / "run"), default.get_config())
    assert not list(tmp_path.iterdir())


def test_config_json_holds_the_resolved_config_and_its_hash(workdir):
    record = json.loads((workdir / "config.json").read_text())
    assert record["config"]["train.num_steps"] == 400_000
    assert record["config"] == configs.plain(default.get_config())
    assert record["sha256"] == configs.digest(default.get_config())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"train__num_steps": 3},
        {"train__log_every": 3},
        {"train__checkpoint_every": 3},
        {"platform": "cpu"},
        {"evaluate__alphas": (0.1,), "evaluate__name": "other", "evaluate__latents": "folder", "evaluate__seed": 5},
    ],
)
def test_a_run_goes_on_with_these_fields_changed(workdir, fields):
    RunFolder(str(workdir), changed(**fields)).create()
    assert json.loads((workdir / "config.json").read_text())["config"] == configs.plain(changed(**fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"train__learning_rate": 0.5}, "(train.learning_rate is 0.001 there and 0.5 here)"),
        ({"train__seed": 1, "precision": "bfloat16"}, "(precision is 'float32' there and 'bfloat16' here; train.seed"),
        ({"train__seed": 1, "precision": "bfloat16", "train__batch_size": 2}, "; also train.seed)"),
        ({"assessor__slope": 2.0}, "(assessor.slope is None there and 2.0 here)"),
        ({"generator__weights": "b", "evaluate__seed": 7}, "(generator.weights is '' there and 'b' here)"),
    ],
)
def test_a_run_of_another_config_is_refused_with_what_differs(workdir, fields, said):
    line = refusal(workdir, changed(**fields))
    assert line.startswith(f"{workdir}: was made with another config (")
    assert said in line
    assert line.endswith("; name another --workdir, or give the same config")


def test_a_cosine_schedule_fixes_the_number_of_steps(tmp_path):
    RunFolder(str(tmp_path / "run"), changed(train__schedule="cosine")).create()
    line = refusal(tmp_path / "run", changed(train__schedule="cosine", train__num_steps=7))
    assert "train.num_steps is 400000 there and 7 here" in line


def test_other_weights_behind_the_same_path_are_refused(workdir):
    folder = RunFolder(str(workdir), default.get_config())
    folder.refuse_other_weights(generator_sha256="a", assessor_sha256="b")
    folder.write_run(generator_sha256="a", assessor_sha256="b")
    folder.refuse_other_weights(generator_sha256="a", assessor_sha256="b")
    with pytest.raises(InputError, match="was made with another assessor than the one that is there now"):
        folder.refuse_other_weights(generator_sha256="a", assessor_sha256="c")


def test_a_field_that_a_later_version_added_counts_as_a_difference(workdir):
    config = default.get_config()
    config.train.new = 3
    assert "train.new is None there and 3 here" in refusal(workdir, config)


@pytest.mark.parametrize("text", [*DAMAGED, "{}", '{"config": 3}', '{"config": [[1, 2]]}'])
def test_a_damaged_config_json_is_named(workdir, text):
    (workdir / "config.json").write_bytes(text.encode("latin-1"))
    assert refusal(workdir, default.get_config()).startswith(f"{workdir}/config.json: is damaged (")


def test_killed_before_it_had_a_config_it_is_a_new_run_folder(tmp_path):
    (tmp_path / ".config.json.123").write_text("{")
    RunFolder(str(tmp_path), default.get_config()).create()
    assert (tmp_path / "config.json").exists()


def test_a_place_that_cannot_be_a_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("")
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    config = default.get_config()
    assert refusal("", config) == "--workdir: is empty; name a folder"
    assert refusal(tmp_path / "file", config) == f"{tmp_path}/file: is a file; name a folder with --workdir"
    assert "/foreign: is neither empty nor a run folder; name another --workdir" in refusal(
        tmp_path / "foreign", config
    )
    assert "/odd: cannot be read (Is a directory); " in refusal(tmp_path / "odd", config)
    assert ": cannot be read (File name too long); " in refusal(tmp_path / ("a" * 300), config)


def test_a_place_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    folder = RunFolder(str(tmp_path / "file" / "run"), default.get_config())
    with pytest.raises(InputError, match="file/run: cannot be written"):
        folder.create()


def test_run_json_tells_what_the_run_ran_on(workdir):
    RunFolder(str(workdir), default.get_config()).write_run(generator_sha256="abc")
    record = json.loads((workdir / "run.json").read_text())
    assert record["generator_sha256"] == "abc"
    assert record["config_sha256"] == configs.digest(default.get_config())
    assert {"jax", "flax", "optax"} <= record["packages"].keys()
    assert record["devices"]
    assert record["command"]
    assert set(record["git_revision"]) <= set("0123456789abcdef")


def test_a_later_job_does_not_forget_the_weights_of_the_run(workdir):
    RunFolder(str(workdir), default.get_config()).write_run(generator_sha256="abc", mesh={"data": 1})
    RunFolder(str(workdir), default.get_config()).write_run(mesh={"data": 2})
    record = json.loads((workdir / "run.json").read_text())
    assert (record["generator_sha256"], record["mesh"], len(record["starts"])) == ("abc", {"data": 2}, 2)
    with pytest.raises(InputError, match="was made with another generator"):
        RunFolder(str(workdir), default.get_config()).refuse_other_weights(generator_sha256="other")
