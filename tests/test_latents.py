"""Latents: what is drawn, and what a file must hold to be taken."""

import hashlib
import json
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latentjax import latents
from latentjax.errors import InputError

KEY = jax.random.key(7)
DRAW = {
    "batch": 4,
    "latent_dim": 16,
    "num_classes": 10,
    "truncation": 1.0,
    "classes": "onehot",
    "alphas_per_latent": 3,
    "noise_shapes": (8, 0),
}


def ks_distance(a, b) -> float:
    """The largest gap between two samples' distribution functions (Kolmogorov-Smirnov)."""
    a, b = np.sort(np.ravel(a)), np.sort(np.ravel(b))
    points = np.concatenate([a, b])
    below_a, below_b = (np.searchsorted(x, points, side="right") / len(x) for x in (a, b))
    return float(np.abs(below_a - below_b).max())


# ---- sampling


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_z_is_the_normal_cut_at_two_times_the_truncation(truncation):
    z = latents.sample_z(KEY, 4000, 100, truncation)
    assert z.dtype == jnp.float32
    assert z.shape == (4000, 100)
    assert np.abs(z).max() <= 2 * truncation
    # 5 standard errors of 400,000 draws; .77374 is the variance of a normal truncated to [-2, 2]
    np.testing.assert_allclose(np.mean(z), 0, atol=5 * 0.88 * truncation / 400_000**0.5)
    np.testing.assert_allclose(np.var(z) / truncation**2, 0.77374, atol=5 * 1.5 / 400_000**0.5)
    assert np.abs(z).max(axis=1).min() > 0.1 * truncation  # no row is near zero


@pytest.mark.parametrize("truncation", [0, -0.5, 1.5, float("nan"), float("inf"), True, "1", None, 1e-40])
def test_truncations_outside_the_unit_interval_are_refused(truncation):
    with pytest.raises(InputError, match=r"^config.latents\.truncation: is "):
        latents.sample_z(KEY, 1, 4, truncation)


@pytest.mark.parametrize("limit", [0.5, 0.3])
def test_alpha_is_uniform_inside_its_open_interval(limit):
    # 2**24 draws of a 23-bit uniform: its lowest value comes up
    alpha = np.asarray(latents.sample_alpha(KEY, (4096, 4096), limit))
    assert alpha.dtype == np.float32
    assert alpha.min() > -limit
    assert alpha.max() < limit
    # 5 standard errors of the mean of 2**24 draws
    np.testing.assert_allclose(alpha.mean(dtype=np.float64), 0, atol=5 * limit / 3**0.5 / 4096)
    # 5 standard errors (sd of a uniform's square: .298 limit**2)
    np.testing.assert_allclose(np.square(alpha, dtype=np.float64).mean(), limit**2 / 3, atol=5 * 0.3 * limit**2 / 4096)


# ---- clipped alphas


@pytest.mark.parametrize("score", [0.0, 0.05, 0.3, 0.5, 0.8, 1.0])
def test_clipped_alphas_have_the_distribution_of_redrawing(score):
    raw_key, redraw_key = jax.random.split(KEY)
    clipped = latents.clip_alpha(latents.sample_alpha(raw_key, (1, 20_000)), jnp.full((1, 1), score))
    redrawn = np.asarray(latents.sample_alpha(redraw_key, (80_000,)))
    redrawn = redrawn[(score + redrawn > 0) & (score + redrawn < 1)][:20_000]
    assert len(redrawn) == 20_000
    # two samples of 20,000 of one distribution differ by more than .02 with odds of 7e-4
    assert ks_distance(clipped, redrawn) < 0.02
    # and the test sees a difference: unclipped alphas are far off, except where nothing is clipped
    assert score == 0.5 or ks_distance(latents.sample_alpha(raw_key, (20_000,)), redrawn) > 0.04


@pytest.mark.parametrize("score", [0.0, 1e-45, 1e-38, 1e-8, 1e-6, 0.3, 0.5, 0.7, 1 - 1e-6, 1 - 1e-7, 1.0])
def test_clipped_targets_are_strictly_scores_in_float32(score):
    alpha = jnp.concatenate([latents.sample_alpha(KEY, (1, 300_000)), extreme_alphas()], axis=1)
    scores = jnp.full((1, 1), score, jnp.float32)
    clipped = np.asarray(jax.jit(latents.clip_alpha)(alpha, scores))
    targets = np.float32(score) + clipped
    assert targets.dtype == np.float32
    assert targets.min() > 0
    assert targets.max() < 1
    assert np.abs(clipped).max() < 0.5
    np.testing.assert_array_equal(jax.jit(jnp.add)(scores, clipped), targets)


def test_clipped_targets_are_strictly_scores_for_any_score():
    scores = jax.random.uniform(KEY, (200_000, 1), jnp.float32)
    targets = np.asarray(scores + latents.clip_alpha(extreme_alphas(), scores))
    assert targets.min() > 0
    assert targets.max() < 1


def extreme_alphas():
    below = np.nextafter(np.float32(0.5), np.float32(0))
    return jnp.array([[-below, below, -0.5, 0.5]], jnp.float32)


def test_clipping_keeps_the_order_of_alphas():
    alpha = jnp.linspace(-0.4999, 0.4999, 2001)[None]
    scores = jnp.array([[0.0], [0.2], [0.9], [1.2], [-0.3]])
    clipped = np.asarray(latents.clip_alpha(alpha, scores))
    assert clipped.shape == (5, 2001)
    assert (np.diff(clipped, axis=1) >= 0).all()
    np.testing.assert_allclose(clipped[:, 0], [0, -0.2, -0.5, -0.5, 0.3], atol=2e-4)  # ends of the raw draws
    np.testing.assert_allclose(clipped[:, -1], [0.5, 0.5, 0.1, -0.2, 0.5], atol=2e-4)


@pytest.mark.parametrize("score", [-3.0, -0.5, 1.5, 40.0, np.nan, np.inf, -np.inf])
def test_scores_out_of_reach_get_alpha_zero(score):
    clipped = latents.clip_alpha(latents.sample_alpha(KEY, (2, 50)), jnp.full((2, 1), score))
    np.testing.assert_array_equal(clipped, np.zeros((2, 50)))


def test_clipping_has_finite_gradients():
    scores = jnp.array([[0.0], [0.5], [1.0], [1.5], [9.0]])
    gradients = jax.grad(lambda a, s: latents.clip_alpha(a, s).sum(), argnums=(0, 1))(
        latents.sample_alpha(KEY, (5, 8)), scores
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


# ---- a step's draws


def test_a_draw_has_all_that_a_step_needs():
    parts = latents.draw(0, 5, **DRAW)
    assert {name: None if x is None else (x.shape, x.dtype.name) for name, x in parts.items()} == {
        "z": ((4, 16), "float32"),
        "y": ((4, 10), "float32"),
        "alpha": ((4, 3), "float32"),
        "noise_z": ((12, 8), "float32"),
        "noise_y": None,
    }
    assert latents.draw(0, 5, **DRAW | {"noise_shapes": (0, 6)})["noise_y"].shape == (12, 6)


def test_a_draw_is_a_function_of_seed_and_step():
    jitted = jax.jit(lambda step: latents.draw(3, step, **DRAW))
    again = jitted(jnp.int32(11))
    first = latents.draw(3, 11, **DRAW)
    for name in ("z", "y", "alpha", "noise_z"):
        # compiled as a whole, the same draws may round differently in the last bits
        np.testing.assert_allclose(first[name], again[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(again[name], jitted(jnp.int32(11))[name])
    for other in (latents.draw(3, 12, **DRAW), latents.draw(4, 11, **DRAW)):
        assert all(not np.array_equal(first[name], other[name]) for name in ("z", "alpha", "noise_z"))


def test_the_parts_of_a_draw_are_independent():
    single = {"batch": 5000, "latent_dim": 1, "alphas_per_latent": 1, "noise_shapes": (1, 1)}
    parts = latents.draw(0, 0, **DRAW | single)
    columns = [np.ravel(parts[name]) for name in ("z", "alpha", "noise_z", "noise_y")]
    columns.append(np.argmax(parts["y"], axis=1))
    # 5 standard errors of a correlation of 5,000 pairs
    assert np.abs(np.corrcoef(columns) - np.eye(5)).max() < 5 / 5000**0.5
    # 5 standard errors of the mean and the standard deviation of 5,000 normal draws
    for name in ("noise_z", "noise_y"):
        assert abs(np.mean(parts[name])) < 5 / 5000**0.5
        assert abs(np.std(parts[name]) - 1) < 5 / 10_000**0.5


@pytest.mark.parametrize("seed", [-1, 2**32, 10**400, 1.0, True, None, "0"])
def test_seeds_beyond_32_bits_are_refused_rather_than_cut(seed):
    with pytest.raises(InputError, match=r"^seed: "):
        latents.draw(seed, 0, **DRAW)
    with pytest.raises(InputError, match=r"^seed: "):
        latents.sample_latents(1, seed, 4, 4)


def test_draws_do_not_depend_on_the_default_generator():
    expected = latents.draw(1, 2, **DRAW)["z"]
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(latents.draw(1, 2, **DRAW)["z"], expected)


# ---- latents to evaluate on


def test_sampled_latents_do_not_depend_on_their_count():
    few = latents.sample_latents(3, 5, 12, 10, 0.7, "onehot:2,4")
    many = latents.sample_latents(20, 5, 12, 10, 0.7, "onehot:2,4")
    assert [latent.name for latent in few] == ["seed5-00000", "seed5-00001", "seed5-00002"]
    assert many[19].source == {"seed": 5, "index": 19}
    for a, b in zip(few, many, strict=False):
        np.testing.assert_array_equal(a.z, b.z)
        np.testing.assert_array_equal(a.y, b.y)
    assert len({latent.z.tobytes() for latent in many}) == 20
    assert all(type(latent.z) is np.ndarray and latent.z.dtype == np.float32 for latent in many)
    assert all(latent.z.shape == (12,) and latent.y.shape == (10,) for latent in many)
    assert max(np.abs(latent.z).max() for latent in many) <= 2 * 0.7
    assert all(latent.y.sum() == latent.y[2] + latent.y[4] == 1 for latent in many)


def test_any_of_the_sampled_latents_can_be_drawn_without_the_others():
    wanted = latents.sample_latents(200, 5, 12, 10, 0.7, "mixture:3")
    indices = [3, 3, 63, 64, 199]
    found = list(latents.drawn(indices, 5, 12, 10, 0.7, "mixture:3"))
    assert [latent.name for latent in found] == [wanted[i].name for i in indices]
    for index, latent in zip(indices, found, strict=True):
        np.testing.assert_array_equal(latent.z, wanted[index].z)
        np.testing.assert_array_equal(latent.y, wanted[index].y)
        assert latent.source == wanted[index].source == {"seed": 5, "index": index}


def test_a_block_of_them_is_drawn_when_it_is_needed():
    asked = []
    found = latents.drawn((asked.append(i) or i for i in range(10**9)), 0, 4, 4)
    assert next(found).name == "seed0-00000"
    assert len(asked) <= 3 * 64  # this block, the next, and the index that ends it


def test_sampled_latents_are_not_those_of_training():
    trained = {row.tobytes() for step in range(20) for row in np.asarray(latents.draw(0, step, **DRAW)["z"])}
    assert not trained & {latent.z.tobytes() for latent in latents.sample_latents(20, 0, 16, 10)}


def test_sampling_latents_refuses_bad_settings():
    with pytest.raises(InputError, match=r"^config.latents\.truncation"):
        latents.sample_latents(1, 0, 4, 4, truncation=2.0)
    with pytest.raises(InputError, match=r"^config.latents\.classes"):
        latents.sample_latents(1, 0, 4, 4, classes="onehot:4")


# ---- latents from files


def good(**changes) -> dict:
    return {"latent": [0.5, -1.25, 2, 1e-3], "classes": [[3, 1.5], [0, -0.25]], "truncation": 0.7} | changes


def write(folder, name, content):
    folder.mkdir(exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / name).write_bytes(data)
    return folder / name


def read(path, **options):
    return latents.read(path, 4, 5, **options)


def test_the_published_latents_are_all_accepted(reference):
    folder = reference / "artbreeder" / "latents"
    found = latents.read(folder, 128, 1000)
    assert [latent.name for latent in found] == sorted(os.listdir(folder))
    assert len(found) == 64
    for latent in found:
        data = (folder / latent.name).read_bytes()
        content = json.loads(data)
        np.testing.assert_array_equal(latent.z, np.array(content["latent"], np.float32))
        y = np.zeros(1000, np.float32)
        for index, weight in content["classes"]:
            y[index] = weight
        np.testing.assert_array_equal(latent.y, y)
        assert (latent.z.dtype, latent.y.dtype) == (np.float32, np.float32)
        assert latent.source == {"file": latent.name, "sha256": hashlib.sha256(data).hexdigest()}
    assert sum((latent.y < 0).any() for latent in found) > 32  # negative weights are ordinary
    assert any(latent.name.endswith(".1") for latent in found)


def test_latents_for_another_generator_are_refused_with_the_one_they_fit(reference):
    with pytest.raises(InputError, match=r"has 128 numbers .*BigGAN 512.*expected 140.*and 63 more bad"):
        latents.read(reference / "artbreeder" / "latents", 140, 1000)


def test_a_file_holds_one_latent_or_an_array(tmp_path):
    (one,) = read(write(tmp_path, "a.json", good()))
    np.testing.assert_array_equal(one.z, np.array([0.5, -1.25, 2, 1e-3], np.float32))
    np.testing.assert_array_equal(one.y, np.array([-0.25, 0, 0, 1.5, 0], np.float32))
    assert one.name == "a"
    several = read(write(tmp_path, "b.json", [good(), good(name="mine")]))
    assert [latent.name for latent in several] == ["b-00000", "mine"]
    assert several[0].source["file"] == several[1].source["file"] == "b.json"


def test_a_folder_gives_its_visible_regular_files_by_name(tmp_path):
    for name in ("b", "a.json", "info?k=1.1", "ä b"):
        write(tmp_path / "f", name, good())
    write(tmp_path / "f", ".hidden", b"no")
    write(tmp_path / "f" / "folder", "c.json", b"no")
    assert [latent.name for latent in read(tmp_path / "f")] == ["a", "b", "info?k=1.1", "ä b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": [[i, 4.0] for i in range(5)]},
        {"classes": [[0, -20]]},
        {"classes": [[4, 0]]},
        {"truncation": 1},
        {"truncation": 0.05},
        {"latent": [0, 0, 0, -7.5]},
        {"latent": [0.1, 0, 0, 10**19]},
        {"extra": None},
        {"extra": [[[[{"a": [[[[{"a": 1}]]]]}]]]]},
        {"classes": [[0, 3.4028235e38], [1, -3.4028235e38]]},  # float32's largest, as it is written in short
    ],
)
def test_unusual_values_are_not_errors(tmp_path, changes):
    assert len(read(write(tmp_path, "a", good(**changes)))) == 1


def test_the_truncation_is_optional_and_never_applied(tmp_path):
    content = good(truncation=0.05)
    with_one = read(write(tmp_path, "a", content))[0]
    del content["truncation"]
    np.testing.assert_array_equal(read(write(tmp_path, "b", content))[0].z, with_one.z)


def test_a_byte_order_mark_is_allowed(tmp_path):
    assert len(read(write(tmp_path, "a", b"\xef\xbb\xbf" + json.dumps(good()).encode()))) == 1


def test_a_folder_of_files_with_and_without_a_byte_order_mark_is_read(tmp_path):
    for name, mark in {"a": b"", "b": b"\xef\xbb\xbf"}.items():
        write(tmp_path / "f", name, mark + json.dumps(good()).encode())
    assert len({latent.key for latent in read(tmp_path / "f")}) == 1
    with pytest.raises(InputError, match="is not JSON"):  # one mark, not several
        read(write(tmp_path, "c", b"\xef\xbb\xbf" * 2 + json.dumps(good()).encode()))


def test_a_file_of_exactly_one_mebibyte_is_read_and_a_byte_more_refused(tmp_path):
    data = json.dumps(good()).encode().ljust(2**20)
    assert len(read(write(tmp_path, "a", data))) == 1
    with pytest.raises(InputError, match="is over 1 MiB"):
        read(write(tmp_path, "a", data + b" "))


def test_a_file_far_over_a_mebibyte_is_refused_without_being_read(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(2**33)
    with pytest.raises(InputError, match="is over 1 MiB"):
        read(tmp_path / "a")


def test_a_thousand_classes_are_allowed(tmp_path):
    content = good(classes=[[i, (-1) ** i * 0.3] for i in range(1000)])
    assert latents.read(write(tmp_path, "a", content), 4, 1000)[0].y.all()


def test_a_generator_without_classes_reads_latents_that_list_none(tmp_path):
    assert latents.read(write(tmp_path, "a", good(classes=[])), 4, 0)[0].y.shape == (0,)
    with pytest.raises(InputError, match="this generator has none"):
        latents.read(write(tmp_path, "a", good()), 4, 0)


def with_text(field: str, text: str) -> bytes:
    """The good object with JSON text that json.dumps would not write."""
    return json.dumps(good(**{field: "HERE"})).replace('"HERE"', text).encode()


REFUSED = {
    "too few numbers": (good(latent=[1, 2, 3]), "has 3 numbers .*expected 4"),
    "120 numbers": (good(latent=[1] * 120), r"has 120 numbers .*BigGAN 128\).*expected 4"),
    "140 numbers": (good(latent=[1] * 140), r"has 140 numbers .*BigGAN 256\).*expected 4"),
    "128 numbers": (good(latent=[1] * 128), r"has 128 numbers .*BigGAN 512.*expected 4"),
    "no numbers": (good(latent=[]), "has 0 numbers"),
    "latent no list": (good(latent="1234"), '"latent" is "1234", not an array'),
    "latent an object": (good(latent={"0": 1}), '"latent" is an object of 1 element, not an array'),
    "latent nested": (good(latent=[[1, 2, 3, 4]] * 4), r'"latent"\[0\] is an array of 4 elements'),
    "string": (good(latent=[1, "2", 3, 4]), r'"latent"\[1\] is "2", not a number'),
    "boolean": (good(latent=[1, 2, True, 4]), r'"latent"\[2\] is true, not a number'),
    "null": (good(latent=[1, 2, 3, None]), r'"latent"\[3\] is null, not a number'),
    "NaN": (with_text("latent", "[1, 2, NaN, 4]"), "holds NaN"),
    "Infinity": (with_text("latent", "[1, 2, Infinity, 4]"), "holds Infinity"),
    "-Infinity": (with_text("latent", "[1, 2, -Infinity, 4]"), "holds -Infinity"),
    "1e999": (with_text("latent", "[1, 2, 1e999, 4]"), r'"latent"\[2\] is too large for float32'),
    "over float32": (good(latent=[1, 2, 1e39, 4]), r'"latent"\[2\] is too large for float32'),
    "norm over float32": (good(latent=[1, 2, -1e30, 4]), "too long a vector"),
    "absurd integer": (good(latent=[1, 2, 10**400, 4]), r'"latent"\[2\] is too large for float32'),
    "more digits than int() takes": (
        with_text("latent", f"[1, 2, {'9' * 9000}, 4]"), r'"latent"\[2\] is too large for float32'),
    "zeros": (good(latent=[0, 0.0, -0.0, 0]), "all zeros"),
    "zeros in float32": (good(latent=[1e-60, 0, 0, 1e-30]), "all zeros"),
    "no latent": ({"classes": [[0, 1]]}, 'has no "latent"'),
    "no classes": ({"latent": [1, 2, 3, 4]}, 'has no "classes"'),
    "classes no list": (good(classes={"0": 1}), '"classes" is an object of 1 element, not an array'),
    "classes empty": (good(classes=[]), '"classes" is empty'),
    "class no pair": (good(classes=[[0, 1], 3]), r'"classes"\[1\] is 3, not \[index, weight\]'),
    "class a triple": (good(classes=[[0, 1, 2]]), "is an array of 3 elements, not"),
    "class a string": (good(classes=["01"]), r'is "01", not \[index'),
    "class negative": (good(classes=[[-1, 1]]), "class index -1, outside 0 to 4"),
    "class out of range": (good(classes=[[5, 1]]), "class index 5, outside 0 to 4"),
    "class absurd": (good(classes=[[10**400, 1]]), "class index Infinity, not an integer"),
    "class boolean": (good(classes=[[True, 1]]), "class index true, not an integer"),
    "class a float": (good(classes=[[1.0, 1]]), r"class index 1\.0, not an integer"),
    "class null": (good(classes=[[None, 1]]), "class index null, not an integer"),
    "class an array": (good(classes=[[[1], 1]]), "class index an array of 1 element, not an integer"),
    "class twice": (good(classes=[[1, 1], [2, 1], [1, 0.5]]), "lists the class 1 twice"),
    "weight NaN": (with_text("classes", "[[0, NaN]]"), "holds NaN"),
    "weight a boolean": (good(classes=[[0, False]]), r'the weight of "classes"\[0\] is false'),
    "weight a string": (good(classes=[[0, "1"]]), r'the weight of "classes"\[0\] is "1"'),
    "weight infinite": (with_text("classes", "[[0, 1e999]]"), "the weight of .* is too large"),
    "weight over float32": (good(classes=[[0, -1e39]]), "the weight of .* is too large"),
    "weight rounded to infinity": (good(classes=[[0, 3.4028236e38]]), "the weight of .* is too large"),
    "truncation 1.5": (good(truncation=1.5), r'"truncation" is 1\.5, outside \(0, 1\]'),
    "truncation just over 1": (good(truncation=1.0000001), r'"truncation" is 1\.0000001, outside'),
    "truncation 0": (good(truncation=0), '"truncation" is 0, outside'),
    "truncation negative": (good(truncation=-0.1), r'"truncation" is -0\.1, outside'),
    "truncation NaN": (with_text("truncation", "NaN"), "holds NaN"),
    "truncation infinite": (with_text("truncation", "1e999"), '"truncation" is too large'),
    "truncation a boolean": (good(truncation=True), '"truncation" is true, not a number'),
    "truncation null": (good(truncation=None), '"truncation" is null, not a number'),
    "name a number": (good(name=3), '"name" is 3, not a name'),
    "name empty": (good(name=""), '"name" is "", not a name'),
    "not UTF-8": (b'{"latent": "\xff"}', "is not UTF-8"),
    "UTF-16": (json.dumps(good()).encode("utf-16"), "is not UTF-8"),
    "not JSON": (b"a\nbc", r"is not JSON \(line 1"),
    "cut off": (json.dumps(good()).encode()[:-1], "is not JSON"),
    "two objects": (b"{}\n{}", r"is not JSON \(line 2"),
    "doubled key": (b'{"latent": [1], "classes": [], "latent": [2]}', 'has the key "latent" twice'),
    "doubled key, one value": (b'{"latent": [1], "classes": [], "name": "a", "name": "a"}', 'has the key "name" twice'),
    "doubled key further in": (with_text("extra", '[{"a": 1, "b": {"c": 1, "c": 2}}]'), 'has the key "c" twice'),
    "doubled key, escaped": (with_text("extra", r'{"ab": 1, "a\u0062": 2}'), 'has the key "ab" twice'),
    "deep where nothing is read": (with_text("extra", "[" * 100_000 + "]" * 100_000), "is nested too deeply"),
    "deep array, closed": (b"[" * 100_000 + b"]" * 100_000, "is nested too deeply"),
    "deep arrays": (b"[" * 200_000, "is nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "is nested too deeply"),
    "too large": (b" " * 2**20 + b"1", "is over 1 MiB"),
    "too large, of good latents": ([good(name=f"{i}" * 9) for i in range(9000)], "is over 1 MiB"),
    "empty file": (b"", "is empty"),
    "blank file": (b"\xef\xbb\xbf \n", "is empty"),
    "a number": (b"3", "holds 3, not an object"),
    "a long string": (json.dumps("x\n" * 500).encode(), r"holds \"x.nx.*\.\.\., not an object"),
    "empty object": (b"{}", "holds no latents"),
    "empty array": (b"[]", "holds no latents"),
    "array of numbers": (b"[1, 2, 3, 4]", r"a\.json\[0\]: is 1, not an object"),
    "second of an array": ([good(), good(latent=[1])], r"a\.json\[1\]: has 1 numbers"),
    "one name twice in an array": ([good(name="x/y"), good(name="x_y")], "its name x_y is taken by"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_in_one_line(tmp_path, case):
    content, message = REFUSED[case]
    path = write(tmp_path, "a.json", content)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.isprintable()
    assert len(text) < len(str(path)) * 2 + 250


def test_paths_without_latents_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "hidden", ".a", good())
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "there").symlink_to("back")
    (tmp_path / "back").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nothing")
    for path, message in {
        tmp_path / "missing": "does not exist",
        "a\0b": "does not exist",
        "": "the path is empty",
        tmp_path / "empty": "has no files",
        tmp_path / "hidden": "has no files",
        tmp_path / "pipe": "neither a regular file nor a folder",
        tmp_path / "loop": "loop: is a link that cannot be followed",
        tmp_path / "there": "there: is a link that cannot be followed",
        tmp_path / "dangling": r"dangling: is a link that cannot be followed \(No such file or directory\)",
        tmp_path / "loop" / "a.json": "does not exist",
    }.items():
        for skip_bad in (False, True):
            with pytest.raises(InputError, match=message):
                read(path, skip_bad=skip_bad)


def test_the_first_bad_file_is_named_and_the_others_counted(tmp_path):
    for name in "abcde":
        write(tmp_path / "f", name, good() if name in "ad" else b"no")
    with pytest.raises(InputError, match=r"f.b: is not JSON .*\(and 2 more bad files\); "):
        read(tmp_path / "f")
    (tmp_path / "f" / "c").unlink()
    with pytest.raises(InputError, match=r"\(and 1 more bad file\); "):
        read(tmp_path / "f")
    (tmp_path / "f" / "e").unlink()
    with pytest.raises(InputError, match=r"^((?!more bad).)*$"):
        read(tmp_path / "f")


def test_bad_files_can_be_left_out_with_a_warning(tmp_path, caplog):
    for name in "abcde":
        write(tmp_path / "f", name, good() if name in "ad" else b"no")
    with caplog.at_level(logging.WARNING, "absl"):
        assert [latent.name for latent in read(tmp_path / "f", skip_bad=True)] == ["a", "d"]
    (record,) = caplog.records
    assert "3 of 5 latent files are bad and left out" in record.getMessage()


def with_broken_links(folder):
    """Two good files, three entries that cannot be read, and some that count for nothing."""
    for name in "ad":
        write(folder, name, good())
    (folder / "b").symlink_to("b")
    (folder / "c").symlink_to("nothing")
    os.mkfifo(folder / "e")
    (folder / ".hidden").symlink_to("nothing")
    (folder / "parent").symlink_to("..", target_is_directory=True)
    (folder / "sub").mkdir()
    return folder


def test_broken_links_and_pipes_in_a_folder_are_bad_files(tmp_path):
    folder = with_broken_links(tmp_path / "f")
    with pytest.raises(InputError, match=r"f.b: is a link .* \(and 2 more bad files\); mend or remove it") as caught:
        read(folder)
    assert str(caught.value).isprintable()
    (folder / "b").unlink()
    with pytest.raises(InputError, match=r"f.c: is a link .*No such file.* \(and 1 more bad file\); "):
        read(folder)
    (folder / "c").unlink()
    with pytest.raises(InputError, match=r"f.e: is not a regular file; "):
        read(folder)
    (folder / "e").unlink()
    assert [latent.name for latent in read(folder)] == ["a", "d"]


def test_broken_links_and_pipes_are_left_out_and_counted(tmp_path, caplog):
    folder = with_broken_links(tmp_path / "f")
    with caplog.at_level(logging.WARNING, "absl"):
        assert [latent.name for latent in read(folder, skip_bad=True)] == ["a", "d"]
    (record,) = caplog.records
    assert "3 of 5 latent files are bad and left out; the first: " in record.getMessage()


def test_a_link_to_a_good_file_is_a_file(tmp_path):
    write(tmp_path, "a", good())
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "b.json").symlink_to("../a")
    assert [latent.name for latent in read(tmp_path / "f")] == ["b"]
    assert [latent.name for latent in read(tmp_path / "f" / "b.json")] == ["b"]


def test_a_bad_file_at_the_end_is_told_before_any_latent_is_given(tmp_path):
    for name in "abcde":
        write(tmp_path / "f", name, [good(), good()])
    write(tmp_path / "f", "f", [good()] * 3 + [good(latent=[0] * 4)])
    with pytest.raises(InputError, match=r"f.f\[3\]: \"latent\" is all zeros; "):
        read(tmp_path / "f")
    # a file counts as a whole
    found = [latent.name for latent in read(tmp_path / "f", skip_bad=True)]
    assert found == [f"{name}-0000{i}" for name in "abcde" for i in range(2)]


def test_bad_files_of_every_sort_are_counted_together(tmp_path, caplog):
    for i, (content, _) in enumerate(REFUSED.values()):
        write(tmp_path / "f", f"{i:03d}", content)
    write(tmp_path / "f", "good", [good(), good()])
    with pytest.raises(InputError, match=rf"f.000: has 3 numbers .* \(and {len(REFUSED) - 1} more bad files\); "):
        read(tmp_path / "f")
    with caplog.at_level(logging.WARNING, "absl"):
        assert len(read(tmp_path / "f", skip_bad=True)) == 2
    assert f"{len(REFUSED)} of {len(REFUSED) + 1} latent files are bad" in caplog.records[0].getMessage()


def test_good_folders_are_read_without_a_warning(tmp_path, caplog):
    write(tmp_path / "f", "a", good())
    assert len(read(tmp_path / "f", skip_bad=True)) == 1
    assert not caplog.records


def test_leaving_out_all_files_is_refused(tmp_path):
    for name in "ab":
        write(tmp_path / "f", name, b"no")
    with pytest.raises(InputError, match=r"is not JSON .*\(and 1 more bad file\)"):
        read(tmp_path / "f", skip_bad=True)


def test_two_files_of_one_name_are_refused_or_the_second_left_out(tmp_path):
    for name in ("k=1", "k?1"):
        write(tmp_path / "f", name, good())
    with pytest.raises(InputError, match=r"k\?1: its name k_1 is taken by .*k=1"):
        read(tmp_path / "f")
    assert [latent.name for latent in read(tmp_path / "f", skip_bad=True)] == ["k=1"]


def test_names_of_latents_and_of_files_are_one_set(tmp_path, caplog):
    write(tmp_path / "f", "a.json", good(name="b c"))
    write(tmp_path / "f", "b_c.json", good())
    write(tmp_path / "f", "d.json", [good(name="x" * 120 + "1")])
    write(tmp_path / "f", "e.json", [good(name="x" * 120 + "2"), good(name="e")])
    write(tmp_path / "f", "f.json", good(name="e"))
    with pytest.raises(
        InputError, match=r"b_c\.json: its name b_c is taken by .*a\.json \(and 1 more bad file\); rename"
    ):
        read(tmp_path / "f")
    # all of e.json is left out, so that its other name is free
    with caplog.at_level(logging.WARNING, "absl"):
        assert [latent.name for latent in read(tmp_path / "f", skip_bad=True)] == ["b c", "x" * 120 + "1", "e"]
    assert "2 of 5 latent files are bad" in caplog.records[0].getMessage()


def test_line_breaks_and_stray_bytes_in_file_names_stay_out_of_messages_and_names(tmp_path):
    write(tmp_path / "f", "a\nb", good())
    with open(os.fsencode(tmp_path / "f") + b"/c\xff", "wb") as file:
        file.write(b"no")
    with pytest.raises(InputError, match="c_: is not JSON"):
        read(tmp_path / "f")
    (latent,) = read(tmp_path / "f", skip_bad=True)
    assert (latent.name, latent.source["file"]) == ("a_b", "a_b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_files_without_permission_are_refused(tmp_path):
    path = write(tmp_path, "a", good())
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


def test_safe_names_are_file_names():
    expected = {
        "info?k=000116a0d6b5f6777917": "info_k_000116a0d6b5f6777917",
        "info?k=0024afb59f7fec028b2e.1": "info_k_0024afb59f7fec028b2e.1",
        "seed0-00000": "seed0-00000",
        "": "_",
        ".": "_",
        "..": "_.",
        ".hidden": "_hidden",
        "../../etc/passwd": "_._.._etc_passwd",
        "a/b\\c\0d\ne": "a_b_c_d_e",
        "é\ud800": "__",
        "x" * 300: "x" * 120,
    }
    assert {name: latents.safe_name(name) for name in expected} == expected
