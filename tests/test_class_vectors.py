"""Class vectors: one-hot, mixtures, normals fitted on latents, and the command that fits them."""

import hashlib
import itertools
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import artbreeder, class_vectors, command_line, distributed, latents
from latentjax.class_vectors import fit, parse, sample_y
from latentjax.errors import InputError
from tests import tiny_runs

KEY = jax.random.key(7)
# means and deviations of five classes; the third is always -.5, the fourth never there
MEAN, STD = [0.1, -0.7, -0.5, 0.0, 1 / 3], [0.5, 0.25, 0.0, 0.0, 2.0]


def sampled(setting, batch: int, num_classes: int, key=KEY) -> np.ndarray:
    y = sample_y(key, batch, num_classes, setting)
    assert y.dtype == jnp.float32
    assert y.shape == (batch, num_classes)
    return np.asarray(y)


def ks_distance(values, cdf) -> float:
    """The largest gap between a sample's distribution function and `cdf` (Kolmogorov-Smirnov)."""
    below = cdf(np.sort(np.ravel(values).astype(np.float64)))
    steps = np.arange(len(below) + 1) / len(below)
    return float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))


def ks_limit(count: int, odds: float) -> float:
    """The distance that a sample of `count` passes with these odds, for counts in the thousands."""
    return math.sqrt(-math.log(odds / 2) / 2 / count)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])


@pytest.fixture
def fitted(tmp_path):
    """A file of the statistics above; changes replace fields, those that are None are left out."""

    def write(**changes) -> str:
        content = {"format": "latentjax-classes-1", "latents": 9, "mean": MEAN, "std": STD} | changes
        path = tmp_path / "fitted.json"
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
        return f"artbreeder:{path}"

    return write


# ---- one-hot


def test_y_is_one_hot_and_its_labels_are_uniform():
    y = sampled("onehot", 20_000, 10)
    assert set(np.unique(y)) == {0, 1}
    assert (y.sum(axis=1) == 1).all()
    # 5 standard errors of a count of 2,000 in 20,000
    np.testing.assert_allclose(y.sum(axis=0), 2000, atol=5 * 42.5)


def test_y_can_be_drawn_from_some_classes():
    y = sampled("onehot:3,7, 9", 3000, 10)
    np.testing.assert_array_equal(np.flatnonzero(y.sum(axis=0)), [3, 7, 9])
    # 5 standard errors of a count of 1,000 in 3,000
    np.testing.assert_allclose(y.sum(axis=0)[[3, 7, 9]], 1000, atol=5 * 25.9)


def test_one_hot_draws_are_those_of_the_published_runs():
    # version 0.1.0 drew these; the README's figures come from such draws
    assert sampled("onehot", 12, 1000).argmax(axis=1).tolist() == [
        799,
        622,
        100,
        637,
        622,
        286,
        684,
        954,
        13,
        671,
        388,
        547,
    ]
    assert sampled("onehot:9,0,5", 12, 10).argmax(axis=1).tolist() == [0, 5, 9, 0, 9, 5, 0, 5, 5, 9, 9, 5]


def test_a_generator_without_classes_gets_an_empty_y_and_has_nothing_to_choose(fitted):
    sampled("onehot", 5, 0)
    for setting in ("onehot:0", "mixture:1", "mixture:0", "mixture:1:0", fitted(), fitted(mean=[], std=[])):
        with pytest.raises(InputError, match=r"^config.latents\.classes: "):
            parse(setting, 0)


# ---- mixtures


@pytest.mark.parametrize(
    ("setting", "count", "listed"),
    [
        ("mixture:1", 1, range(10)),
        ("mixture:3", 3, range(10)),
        ("mixture:10", 10, range(10)),
        ("mixture:2:7,3, 9", 2, [3, 7, 9]),
        ("mixture: 3 :3,7,9", 3, [3, 7, 9]),
    ],
)
def test_a_mixture_has_distinct_listed_classes_whose_weights_sum_to_one(setting, count, listed):
    y = sampled(setting, 6000, 10)
    assert (y >= 0).all()
    assert ((y > 0).sum(axis=1) == count).all()
    np.testing.assert_allclose(y.sum(axis=1, dtype=np.float64), 1, atol=1e-6)
    drawn = (y > 0).sum(axis=0)
    np.testing.assert_array_equal(np.flatnonzero(drawn), list(listed))
    # each class is in a row with odds of count / listed: 5 standard errors
    odds = count / len(listed)
    np.testing.assert_allclose(drawn[list(listed)], 6000 * odds, atol=5 * math.sqrt(6000 * odds * (1 - odds)))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_weights_of_a_mixture_are_uniform_on_the_simplex(count):
    y = sampled(f"mixture:{count}", 20_000, 8)
    places = np.argsort(y == 0, axis=1, kind="stable")[:, :count]
    weights = np.take_along_axis(y, places, axis=1).astype(np.float64)
    # Dirichlet(1, ..., 1): each weight is Beta(1, N - 1); 5 standard errors, none of which is above 1 / N
    variance = (count - 1) / count**2 / (count + 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / count, atol=5 * math.sqrt(variance / 20_000))
    expected = variance * (np.eye(count) - (1 - np.eye(count)) / (count - 1))
    np.testing.assert_allclose(np.cov(weights.T), expected, atol=5 * variance * 2 / 20_000**0.5)
    for column in weights.T:
        assert ks_distance(column, lambda x: 1 - (1 - x) ** (count - 1)) < ks_limit(20_000, 1e-4)


def test_all_sets_of_classes_are_as_likely():
    rows = sampled("mixture:2:0,1,3,4,6", 10_000, 7) > 0
    sets = [tuple(np.flatnonzero(row).tolist()) for row in rows]
    counts = [sets.count(pair) for pair in itertools.combinations((0, 1, 3, 4, 6), 2)]
    # 5 standard errors of a count of 1,000 in 10,000
    np.testing.assert_allclose(counts, 1000, atol=5 * 30)


def test_weights_exist_where_a_uniform_is_zero():
    key, shape = jax.random.key(2), (2**20, 1)
    assert (jax.random.uniform(jax.random.split(key)[0], shape) == 0).any()
    assert (sampled("mixture:1", *shape, key) == 1).all()


# ---- normals


def test_each_class_is_normal_and_independent(fitted):
    y = sampled(fitted(), 20_000, 5)
    for i in (0, 1, 4):
        standard = (y[:, i].astype(np.float64) - MEAN[i]) / STD[i]
        assert ks_distance(standard, normal_cdf) < ks_limit(20_000, 1e-4)
        # and the test sees a tenth of a deviation
        assert ks_distance(standard + 0.1, normal_cdf) > ks_limit(20_000, 1e-4)
        assert ks_distance(standard * 1.1, normal_cdf) > ks_limit(20_000, 1e-4)
    # 5 standard errors of a correlation of 20,000 pairs
    assert np.abs(np.corrcoef(y[:, [0, 1, 4]].T) - np.eye(3)).max() < 5 / 20_000**0.5


def test_a_class_without_deviation_is_its_mean(fitted):
    y = sampled(fitted(), 50, 5)
    assert (y[:, 2] == np.float32(-0.5)).all()
    assert (y[:, 3] == 0).all()


def test_draws_fitted_on_published_latents_are_normal_and_independent(reference, tmp_path):
    class_vectors.command([str(reference / "artbreeder" / "latents"), str(tmp_path / "f.json")])
    vectors = parse(f"artbreeder:{tmp_path / 'f.json'}", 1000)
    assert isinstance(vectors, class_vectors.Normal)
    standard = (np.asarray(vectors.sample(KEY, 2000), np.float64) - vectors.mean) / vectors.std
    # odds of one in a thousand over all classes
    assert max(ks_distance(column, normal_cdf) for column in standard.T) < ks_limit(2000, 1e-6)
    # 6 standard errors of a correlation of 2,000 pairs: odds of one in a thousand over 499,500 pairs
    assert np.abs(np.corrcoef(standard.T) - np.eye(1000)).max() < 6 / 2000**0.5


# ---- all settings


SETTINGS = ["onehot", "onehot:0,4", "mixture:3", "mixture:2:0,3,4", "artbreeder"]


@pytest.fixture(params=SETTINGS)
def setting(request, fitted):
    return fitted() if request.param == "artbreeder" else request.param


def test_a_draw_is_a_function_of_its_key(setting):
    y = sampled(setting, 40, 5)
    np.testing.assert_array_equal(sampled(setting, 40, 5), y)
    assert not np.array_equal(sampled(setting, 40, 5, jax.random.key(8)), y)
    jitted = jax.jit(sample_y, static_argnums=(1, 2, 3))(KEY, 40, 5, setting)
    # compiled as a whole, the same draws may round differently in the last bits
    np.testing.assert_allclose(jitted, y, rtol=1e-5, atol=1e-6)


def test_parsed_settings_are_static_arguments_of_jit(setting):
    first, again = parse(setting, 5), parse(setting, 5)
    assert parse(first, 5) is first
    assert first == again
    assert hash(first) == hash(again)
    assert first.num_classes == 5
    traced = []

    def sample(vectors, key):
        traced.append(vectors)
        return vectors.sample(key, 6)

    jitted = jax.jit(sample, static_argnums=0)
    np.testing.assert_array_equal(jitted(first, KEY), jitted(again, KEY))
    assert len(traced) == 1
    with pytest.raises(AttributeError):
        first.num_classes = 6


def test_settings_that_draw_differently_are_not_equal(fitted):
    whole = [parse(setting, 5) for setting in SETTINGS[:-1]]
    whole += [parse("onehot", 6), parse("mixture:2", 5), parse("mixture:2:0,4", 5), parse("mixture:3", 6)]
    whole += [parse(fitted(), 5), parse(fitted(std=[1, 1, 1, 1, 1]), 5), parse(fitted(mean=STD), 5)]
    assert len(set(whole)) == len(whole)


def test_the_content_of_a_file_identifies_it(fitted, tmp_path):
    setting = fitted()
    vectors = parse(setting, 5)
    data = (tmp_path / "fitted.json").read_bytes()
    assert vectors.sha256 == hashlib.sha256(data).hexdigest()
    (tmp_path / "a copy: it.json").write_bytes(data)
    assert parse(f"artbreeder:{tmp_path / 'a copy: it.json'}", 5) == vectors
    assert {parse(setting, 5).sha256 for setting in SETTINGS[:-1]} == {""}


def test_a_step_and_an_evaluation_draw_y_as_set(setting):
    vectors = parse(setting, 5)
    step = {"truncation": 1.0, "alphas_per_latent": 1, "noise_shapes": (0, 0)}
    one, two = (np.asarray(latents.draw(3, 4, 20, 8, 5, classes=x, **step)["y"]) for x in (setting, vectors))
    assert one.shape == (20, 5)
    np.testing.assert_array_equal(one, two)
    few, many = latents.sample_latents(3, 0, 8, 5, 1.0, setting), latents.sample_latents(40, 0, 8, 5, 1.0, vectors)
    np.testing.assert_array_equal([latent.y for latent in few], [latent.y for latent in many[:3]])
    for y in (one, np.stack([latent.y for latent in many])):
        assert len(np.unique(y, axis=0)) > 1
        if setting.startswith("artbreeder"):
            assert (y[:, [2, 3]] == [-0.5, 0]).all()
        else:
            expected = {"onehot": 1, "onehot:0,4": 1, "mixture:3": 3, "mixture:2:0,3,4": 2}[setting]
            assert ((y > 0).sum(axis=1) == expected).all()


def spread_draws(path: str, *settings: str) -> None:
    """Saves a draw of each setting, its rows spread over all devices of this process."""
    sharding = distributed.by_row(distributed.data_mesh())

    def draw(key):
        return [distributed.constrain(sample_y(key, 8, 5, setting), sharding) for setting in settings]

    draws = jax.jit(draw)(KEY)
    assert all(len(y.sharding.device_set) == jax.device_count() for y in draws)
    np.savez(path, *draws, devices=jax.device_count())


def test_draws_do_not_depend_on_the_number_of_devices(fitted, tmp_path):
    code = "import sys; from tests.test_class_vectors import spread_draws; spread_draws(*sys.argv[1:])"
    for devices in (1, 2):
        ended = tiny_runs.python(code, str(tmp_path / f"{devices}.npz"), *SETTINGS[:-1], fitted(), devices=devices)
        assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        assert (one["devices"], two["devices"]) == (1, 2)
        assert len(one.files) == len(SETTINGS) + 1
        for name in set(one.files) - {"devices"}:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


# ---- what is refused


def refusal(setting, num_classes: int = 4) -> str:
    with pytest.raises(InputError) as caught:
        parse(setting, num_classes)
    line = str(caught.value)
    assert line.startswith("config.latents.classes: ")
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    "setting",
    ["", "all", "onehot:", "onehot:4", "onehot:-1", "onehot:1,1", "onehot:1,", "onehot:1.0", "onehot:²",
     "onehot:" + "1" * 5000, "onehot: 1_0", "onehot1", "Onehot", None, 3, ["onehot"], (3, 7),
     "mixture", "mixture:", "mixture:0", "mixture:-1", "mixture:5", "mixture:1.0", "mixture:+1", "mixture:²",
     "mixture:" + "1" * 5000, "mixture:1:", "mixture:1:4", "mixture:3:0,1", "mixture:2:1,1", "mixture:1:0:1",
     "mixture::1", "mixture1", "artbreeder", "artbreeder:"],
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(setting):
    assert refusal(setting).endswith(
        '; give "onehot", "mixture:N", either for some classes as in "onehot:3,7,9", or "artbreeder:FILE"'
    )
    with pytest.raises(InputError, match=r"^config.latents\.classes: "):
        latents.sample_latents(1, 0, 4, 4, classes=setting)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "is of 5 classes, but the generator has 4"),
        ({"format": None}, "is not of the format latentjax-classes-1"),
        ({"format": "latentjax-classes-2"}, "is not of the format latentjax-classes-1"),
        ({"mean": None}, "is damaged"),
        ({"std": None}, "is damaged"),
        ({"std": STD[:-1]}, "is damaged"),
        ({"mean": [], "std": []}, "is damaged"),
        ({"mean": 0.5}, "is damaged"),
        ({"mean": [*MEAN[1:], float("nan")]}, "is damaged"),
        ({"mean": [*MEAN[1:], float("-inf")]}, "is damaged"),
        ({"mean": [*MEAN[1:], 1e39]}, "is damaged"),
        ({"mean": [*MEAN[1:], 10**400]}, "is damaged"),
        ({"mean": [*MEAN[1:], True]}, "is damaged"),
        ({"mean": [*MEAN[1:], "1"]}, "is damaged"),
        ({"mean": [*MEAN[1:], [1]]}, "is damaged"),
        ({"std": [*STD[1:], -1e-9]}, "is damaged"),
        ({"std": [*STD[1:], float("inf")]}, "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_told(fitted, tmp_path, changes, said):
    line = refusal(fitted(**changes))
    assert line == (
        f"config.latents.classes: names '{tmp_path / 'fitted.json'}', which {said}; "
        "fit one with python -m latentjax.class_vectors FOLDER FILE"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b'{"format": ', "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"mean": [' + b"1" * 5000 + b"]}", "is not JSON"),
        (b"[1, 2]", "is not of the format"),
        (b"{}", "is not of the format"),
    ],
    ids=itertools.count(),
)
def test_a_file_of_anything_else_is_told(tmp_path, content, said):
    (tmp_path / "f").write_bytes(content)
    assert f"names '{tmp_path / 'f'}', which {said}" in refusal(f"artbreeder:{tmp_path / 'f'}")


def test_a_path_without_a_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", "a\nb", "a\0b", "a\udcff"):
        assert "which is not there, or no file; fit one with" in refusal(f"artbreeder:{path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_told(fitted, tmp_path):
    setting = fitted()
    (tmp_path / "fitted.json").chmod(0)
    assert "which cannot be read (Permission denied)" in refusal(setting)


# ---- the fit


def made_latents(folder, count: int = 12):
    """Latents of 3 numbers and 5 classes: the third class is always .3, the last one never listed."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        pairs = [[int(k), float(random.normal())] for k in random.permutation([0, 1, 3])[: i % 4]]
        content = {"latent": random.normal(size=3).tolist(), "classes": [*pairs, [2, 0.3]]}
        (folder / f"{i:02d}.json").write_text(json.dumps(content))
    return folder


def weights_in(folder, num_classes: int) -> np.ndarray:
    """[latents, K] float32 from a folder's JSON, without the reader."""
    files = sorted(folder.iterdir())
    y = np.zeros((len(files), num_classes), np.float32)
    for row, file in zip(y, files, strict=True):
        for index, weight in json.loads(file.read_text())["classes"]:
            row[index] = weight
    return y


SIZES = ["--latent-dim=3", "--num-classes=5"]


def line_of(capsys, *arguments: object) -> str:
    """What the command prints."""
    class_vectors.command([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return out


def test_the_fit_is_the_mean_and_population_deviation_over_all_latents(tmp_path):
    folder = made_latents(tmp_path / "latents")
    y = weights_in(folder, 5).astype(np.float64)
    mean, std = fit(artbreeder.read(folder, 3, 5))
    assert (mean.dtype, std.dtype, mean.shape, std.shape) == (np.float64, np.float64, (5,), (5,))
    np.testing.assert_array_equal(mean, np.mean(y, axis=0))
    np.testing.assert_array_equal(std, np.std(y, axis=0))
    # by hand: squares about the mean, over the number of latents, those that do not list the class among them
    for k in range(5):
        assert mean[k] == pytest.approx(math.fsum(y[:, k]) / 12, rel=1e-14, abs=1e-16)
        assert std[k] == pytest.approx(math.sqrt(math.fsum((y[:, k] - mean[k]) ** 2) / 12), rel=1e-14, abs=1e-16)
    assert mean[4] == std[4] == 0
    assert (std[[0, 1, 3]] > 0.1).all()


def test_the_fit_of_published_latents_is_numpys(reference, tmp_path, capsys):
    folder = reference / "artbreeder" / "latents"
    y = weights_in(folder, 1000).astype(np.float64)
    assert line_of(capsys, folder, tmp_path / "f.json").startswith(
        f"{tmp_path / 'f.json'}: 1000 classes fitted on 64 latents; "
    )
    content = json.loads((tmp_path / "f.json").read_text())
    assert (content["format"], content["latents"]) == ("latentjax-classes-1", 64)
    np.testing.assert_array_equal(np.array(content["mean"]), y.mean(axis=0))
    np.testing.assert_array_equal(np.array(content["std"]), y.std(axis=0))


def test_what_the_command_prints_goes_on(tmp_path, capsys):
    folder, out = made_latents(tmp_path / "latents"), tmp_path / "deep" / "fitted.json"
    line = line_of(capsys, folder, out, *SIZES)
    assert line == (
        f"{out}: 5 classes fitted on 12 latents; draw them with --config.latents.classes=artbreeder:{out}\n"
    )
    assert [path.name for path in out.parent.iterdir()] == ["fitted.json"]
    mean, std = fit(artbreeder.read(folder, 3, 5))
    vectors = parse(line.split("--config.latents.classes=")[1].strip(), 5)
    assert isinstance(vectors, class_vectors.Normal)
    # JSON keeps every bit
    np.testing.assert_array_equal(vectors.mean, mean)
    np.testing.assert_array_equal(vectors.std, std)
    y = np.asarray(vectors.sample(KEY, 20_000), np.float64)
    # 5 standard errors
    np.testing.assert_allclose(y.mean(axis=0), mean, atol=5 * std.max() / 20_000**0.5)
    np.testing.assert_allclose(y.std(axis=0), std, atol=5 * std.max() / 40_000**0.5)
    assert "'--config.latents.classes=artbreeder:" in line_of(capsys, folder, tmp_path / "a b.json", *SIZES)


def test_bad_latents_can_be_left_out(tmp_path, capsys):
    folder = made_latents(tmp_path / "latents")
    (folder / "bad").write_text("no")
    class_vectors.command([str(folder), str(tmp_path / "f.json"), *SIZES, "--skip-bad"])
    assert "fitted on 12 latents" in capsys.readouterr().out
    assert json.loads((tmp_path / "f.json").read_text())["latents"] == 12


def test_the_command_refuses_what_it_cannot_do(tmp_path, refused):
    folder = made_latents(tmp_path / "latents")
    (tmp_path / "taken.json").write_text("mine")
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "missing")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.json").write_text("no")

    def line(*arguments):
        return refused(lambda: command_line.run(class_vectors.command), *arguments)

    for taken in ("taken.json", "nowhere.json", "bad"):
        assert line(folder, tmp_path / taken, *SIZES).startswith(f"{tmp_path / taken}: is there already; ")
    out = tmp_path / "f.json"
    assert line(folder, folder / "f.json", *SIZES).startswith(f"{folder / 'f.json'}: would be taken for a latent")
    assert line(folder, tmp_path / "taken.json" / "f", *SIZES).startswith(f"{tmp_path / 'taken.json' / 'f'}: cannot be")
    assert "expected 128 (and" in line(folder, out)
    assert "outside 0 to 1 (and" in line(folder, out, "--latent-dim=3", "--num-classes=2")
    assert line(tmp_path / "bad", out, *SIZES).startswith(f"{tmp_path / 'bad' / 'a.json'}: is not JSON")
    assert line(tmp_path / "none", out).startswith(f"{tmp_path / 'none'}: does not exist; ")
    assert line(folder).startswith("FILE: is missing; ")
    for size in ("0", "-1", "1.5", "x", ""):
        assert line(folder, out, f"--num-classes={size}").startswith(
            f"--num-classes: {size!r} is no positive integer; "
        )
        assert line(folder, out, f"--latent-dim={size}").startswith(f"--latent-dim: {size!r} is no positive integer; ")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, refused):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder = made_latents(tmp_path / "latents")
    monkeypatch.setattr(os, "replace", full)
    line = refused(lambda: command_line.run(class_vectors.command), folder, tmp_path / "f.json", *SIZES)
    assert line.startswith(f"{tmp_path / 'f.json'}: cannot be written (No space left on device); ")


def test_it_is_a_command_of_its_own(tmp_path):
    folder, out = made_latents(tmp_path / "latents"), tmp_path / "f.json"
    command = [sys.executable, "-W", "error", "-m", "latentjax.class_vectors", str(folder), str(out), *SIZES]
    codes = [subprocess.run(command, cwd=tiny_runs.ROOT, capture_output=True, text=True) for _ in range(2)]
    assert [(ended.returncode, bool(ended.stdout)) for ended in codes] == [(0, True), (2, False)], codes
    assert codes[1].stderr == f"error: {out}: is there already; name another file, or move it away\n"
