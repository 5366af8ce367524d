"""Evaluation: each strip is one latent along one direction, whatever shares its batch; nothing is made twice."""

import csv
import json
import shutil
import time
import urllib.parse
import weakref
from concurrent.futures import Future

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import latentjax
from latentjax import latents, networks, objective, overlap, pictures
from latentjax.errors import InputError
from latentjax.files import sha256_of
from latentjax.jobs import evaluate, sweep, workbench
from latentjax.jobs import evaluation as evaluations
from latentjax.properties import MASK_PROPERTIES, PROPERTIES
from latentjax.report import strips
from tests import tiny_runs

# another batch size is another program, whose convolutions add up in another order: some last digits of float32
# in the images, times the score's slope of 5.33 over an image's colourfulness
ROUNDING = 1e-5
OUTPUTS = {"index.html", "summary.json", "scores.csv", "curves.png", "manifest.jsonl", "grids"}
OUTPUTS |= {"quality.png", "sprites", "transformer"}
BOOKKEEPING = {"evaluation.json", "strips.jsonl"}  # what a stopped evaluation goes on from
MEASURED = [*PROPERTIES, *MASK_PROPERTIES["ours"]]


@pytest.fixture(scope="module")
def config(generator, transformer):
    """A config of these two; its evaluation is of 3 latents in batches of 2."""

    def config(**fields):
        return tiny_runs.config(generator, transformer__weights=transformer, evaluate__name="mine", **fields)

    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A workdir with an evaluation of 3 latents with 2 noise seeds; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    evaluate.run(config(evaluate__noise_seeds=(0, 1)), str(workdir))
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of `finished`, times of change included."""
    return shutil.copytree(finished, tmp_path / "run")


def again(config, workdir, **fields):
    evaluate.run(config(**{"evaluate__noise_seeds": (0, 1)} | fields), str(workdir))
    return workdir / "evaluation" / "mine"


def evaluation_of(config, workdir, **fields) -> tuple[evaluations.Evaluation, object]:
    """An evaluation that has not begun, and the weights it is for."""
    bench = workbench.prepare(config(**fields), str(workdir))
    transformer = workbench.new_transformer(bench)
    return evaluations.Evaluation(bench, transformer), transformer.state


def swept(evaluation, params, strips=None) -> dict[str, tuple[np.ndarray, dict[str, list[float]]]]:
    """File to tiles and measures."""
    drawn = evaluation.sweep(params, evaluation.strips if strips is None else strips)
    return {each.strip.file: (each.tiles, each.measured) for each in drawn}


def times(folder) -> dict[str, int]:
    # a killed process leaves hidden ones, which the next one clears away
    return {path.name: path.stat().st_mtime_ns for path in (folder / "grids").glob("[!.]*")}


def table(folder) -> list[dict[str, str]]:
    with open(folder / "scores.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- what is written


def test_the_folder_is_as_promised(finished):
    folder = finished / "evaluation" / "mine"
    assert {path.name for path in folder.iterdir()} == OUTPUTS | BOOKKEEPING
    names = [f"seed1-{i:05d}{noise}.png" for i in range(3) for noise in ("", "-noise1")]
    assert sorted(path.name for path in (folder / "grids").iterdir()) == sorted(names)
    for name in names:
        with Image.open(folder / "grids" / name) as image:
            image.load()
            assert image.width > 5 * 16
    with Image.open(folder / "curves.png") as image:
        image.load()


def test_every_file_that_the_page_shows_is_there(finished):
    folder = finished / "evaluation" / "mine"
    page = (folder / "index.html").read_text()
    shown = [urllib.parse.unquote(part.split('"')[0]) for part in page.split('src="')[1:]]
    assert len(shown) == 8  # six strips and two figures
    assert all((folder / name).is_file() for name in shown)


def test_the_table_agrees_with_the_summary(finished):
    folder = finished / "evaluation" / "mine"
    rows, summary = table(folder), json.loads((folder / "summary.json").read_text())
    assert list(rows[0]) == ["name", "noise_seed", "alpha", "score", *MEASURED]
    assert len(rows) == 3 * 2 * 5
    assert summary["latents"] == 3
    for name, wanted in {"score": summary["score"], **summary["properties"]}.items():
        values = np.array([float(row[name]) for row in rows]).reshape(6, 5)
        # of each latent the strips in which an object is found at every alpha
        latents_of = [strips[np.isfinite(strips).all(axis=1)] for strips in values.reshape(3, 2, 5)]
        means = [strips.mean(axis=0) for strips in latents_of if len(strips)]
        # the table has every digit
        np.testing.assert_allclose(np.mean(means, axis=0), wanted["mean"], rtol=1e-12)
    alphas = [float(row["alpha"]) for row in rows[:5]]
    assert alphas == summary["alphas"] == [-0.5, -0.25, 0.0, 0.25, 0.5]


def test_the_manifest_says_what_each_tile_was_made_from(finished, generator, transformer):
    folder = finished / "evaluation" / "mine"
    tiles = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [(tile["name"], str(tile["noise_seed"]), str(tile["alpha"])) for tile in tiles] == [
        (row["name"], row["noise_seed"], row["alpha"]) for row in table(folder)
    ]
    assert tiles[0]["latent"] == {"seed": 1, "index": 0}
    for tile in tiles:
        assert tile["generator"] == sha256_of(f"{generator}/weights.safetensors")
        assert tile["transformer"] == sha256_of(f"{transformer}/weights.safetensors")
        assert "colourfulness" in tile["assessor"]
        assert (folder / "grids" / tile["strip"]).is_file()


# ---- what a strip is


def test_at_alpha_zero_it_is_the_unedited_image(finished, config, generator, tmp_path):
    evaluation, params = evaluation_of(config, tmp_path / "run")
    bench, zero = evaluation.bench, 2
    z, y = (np.stack([getattr(strip.latent, name) for strip in evaluation.strips]) for name in "zy")
    images = latentjax.load_generator(generator)(z, y)
    scores = bench.assessor.apply(bench.assessor.state, images)
    assert np.std(scores) > 0.01
    found = swept(evaluation, params)
    for i, strip in enumerate(evaluation.strips):
        tiles, measured = found[strip.file]
        np.testing.assert_allclose(measured["score"][zero], scores[i], atol=ROUNDING)
        # a level where rounding to eight bits falls the other way
        assert np.abs(tiles[zero].astype(int) - np.asarray(pictures.to_uint8(images[i])).astype(int)).max() <= 1
    # and not so elsewhere
    assert np.abs(np.array(found[evaluation.strips[0].file][1]["score"]) - scores[0]).max() > 0.01


def test_its_alphas_share_one_noise_and_the_public_functions_give_it(config, generator, transformer, tmp_path):
    evaluation, params = evaluation_of(config, tmp_path / "run", evaluate__noise_seeds=(0, 7))
    g, t = latentjax.load_generator(generator), latentjax.load_transformer(transformer)
    found = swept(evaluation, params)
    for strip in evaluation.strips[:2]:
        _, _, noise = evaluation.sweep.rows([strip])
        alphas = np.array([-0.5, -0.25, 0.0, 0.25, 0.5], np.float32)
        z, y, *noise = (np.repeat(row[:1], 5, axis=0) for row in (strip.latent.z[None], strip.latent.y[None], *noise))
        assessor = evaluation.bench.assessor
        scores = assessor.apply(assessor.state, g(*t(z, y, alphas, tuple(noise))))
        np.testing.assert_allclose(found[strip.file][1]["score"], scores, atol=ROUNDING)


def test_other_noise_seeds_are_other_directions_from_the_same_image(finished):
    rows = table(finished / "evaluation" / "mine")
    for start in range(0, len(rows), 10):
        one, other = (np.array([float(row["score"]) for row in rows[i : i + 5]]) for i in (start, start + 5))
        assert abs(one[2] - other[2]) <= ROUNDING
        assert np.abs(one - other).max() > 1e-3


def test_batch_size_neighbours_and_padding_do_not_change_it(config, tmp_path):
    by_three, params = evaluation_of(config, tmp_path / "three", evaluate__batch_size=3, evaluate__count=5)
    by_eight, _ = evaluation_of(config, tmp_path / "eight", evaluate__batch_size=8, evaluate__count=5)
    wanted = swept(by_three, params)
    assert len(wanted) == 5
    others = [
        swept(by_eight, params),
        swept(by_three, params, by_three.strips[::-1]),
        swept(by_three, params, by_three.strips[3:4]),  # one strip and two of padding
    ]
    for other in others:
        for file, (tiles, measured) in other.items():
            for name, values in measured.items():
                # redness and simplicity count pixels: one of 256 may fall on the other side of a bound
                tolerance = {"colourfulness": 1e-3, "redness": 1 / 256, "simplicity": 1 / 256}.get(name, ROUNDING)
                np.testing.assert_allclose(values, wanted[file][1][name], atol=tolerance, err_msg=name)
            assert np.abs(tiles.astype(int) - wanted[file][0].astype(int)).max() <= 1


def test_in_one_program_neighbours_do_not_change_a_bit(config, tmp_path):
    evaluation, params = evaluation_of(config, tmp_path / "run", evaluate__count=4)
    wanted = swept(evaluation, params)
    for file, (tiles, measured) in swept(evaluation, params, evaluation.strips[::-1]).items():
        np.testing.assert_array_equal(tiles, wanted[file][0])
        assert measured == wanted[file][1]


def test_a_transformer_with_renorm_batch_is_evaluated_one_by_one(config, generator, tmp_path):
    found = {}
    for renorm in ("batch", "sample"):
        folder = tiny_runs.save_transformer(tmp_path / renorm, renorm=renorm)
        evaluation, params = evaluation_of(
            lambda folder=folder: tiny_runs.config(generator, transformer__weights=folder), tmp_path / f"run-{renorm}"
        )
        found[renorm] = swept(evaluation, params)
    for file, (tiles, measured) in found["batch"].items():
        np.testing.assert_array_equal(tiles, found["sample"][file][0])
        assert measured == found["sample"][file][1]


def test_one_program_serves_all_batches_and_the_previews(config, tmp_path, monkeypatch):
    traces, along = [], objective.along
    monkeypatch.setattr(objective, "along", lambda *args, **kwargs: traces.append(1) or along(*args, **kwargs))
    evaluation, params = evaluation_of(config, tmp_path / "run", evaluate__count=5)
    evaluation.bench.folder.create()
    evaluation.preview(params, 7)
    evaluation.run(params, 7)
    evaluation.run(jax.tree.map(lambda w: w + 0, params), 7)
    assert len(traces) == 1
    assert [path.name for path in (tmp_path / "run" / "samples").iterdir()] == ["step00000007.png"]


# ---- stopped and gone on with


def test_the_pictures_that_are_held_do_not_grow_with_the_latents(config, tmp_path, monkeypatch):
    """However slowly they are written: what is in memory is counted whenever one is."""
    made, held, write = [], [], strips.write

    def fetched(self, group, found):
        for swept in original(self, group, found):
            swept = swept._replace(tiles=swept.tiles.copy())
            made.append(weakref.ref(swept.tiles))
            yield swept

    def slowly(*arguments):
        time.sleep(0.02)
        held.append(sum(tiles() is not None for tiles in made))
        return write(*arguments)

    original = sweep.Sweep._swept
    monkeypatch.setattr(sweep.Sweep, "_swept", fetched)
    monkeypatch.setattr(strips, "write", slowly)
    evaluate.run(config(evaluate__count=60), str(tmp_path / "run"))
    assert len(made) == 60
    assert max(held) <= 4 * 2 + 6  # four batches of 2 that wait, four that are written, and the next


def test_run_again_it_makes_nothing_again(workdir, config, monkeypatch):
    before = times(workdir / "evaluation" / "mine")
    summary = (workdir / "evaluation" / "mine" / "summary.json").read_text()
    monkeypatch.setattr(sweep.Sweep, "_measure", lambda *_: pytest.fail("something was computed"))
    folder = again(config, workdir)
    assert times(folder) == before
    assert (folder / "summary.json").read_text() == summary


def test_a_picture_that_is_gone_is_made_again_and_no_other(workdir, config):
    folder = workdir / "evaluation" / "mine"
    gone = folder / "grids" / "seed1-00001.png"
    before, content = times(folder), gone.read_bytes()
    gone.unlink()
    again(config, workdir)
    after = times(folder)
    assert {name for name in after if after[name] != before[name]} == {gone.name}
    assert gone.read_bytes() == content
    assert len((folder / "strips.jsonl").read_text().splitlines()) == 6


def test_a_last_line_that_was_cut_off_costs_one_strip(workdir, config):
    folder = workdir / "evaluation" / "mine"
    before, log = times(folder), folder / "strips.jsonl"
    text = log.read_text()
    log.write_text(text[: -len(text.splitlines()[-1]) // 2])
    (folder / "grids" / ".1-0123456789abcdef.part").write_bytes(b"half a pict")
    last = json.loads(text.splitlines()[-1])["file"]
    again(config, workdir)
    after = times(folder)
    assert {name for name in after if after[name] != before[name]} == {last}
    assert set(after) == set(before)
    assert log.read_text() == text


def test_a_stopped_evaluation_goes_on_where_it_was(config, tmp_path, monkeypatch, finished):
    calls, write = [], strips.write

    def failing(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write(*args)

    monkeypatch.setattr(strips, "write", failing)
    monkeypatch.setattr(overlap, "ThreadPoolExecutor", lambda _: Here())
    with pytest.raises(KeyboardInterrupt):
        again(config, tmp_path / "run")
    monkeypatch.undo()
    folder = tmp_path / "run" / "evaluation" / "mine"
    before = times(folder)
    assert 0 < len(before) < 6
    assert not (folder / "summary.json").exists()
    again(config, tmp_path / "run")
    done = [json.loads(line)["file"] for line in (folder / "strips.jsonl").read_text().splitlines()]
    assert len(done) == len(set(done)) == 6
    for name in ("summary.json", "scores.csv", "manifest.jsonl"):
        assert (folder / name).read_text() == (finished / "evaluation" / "mine" / name).read_text()


class Here:
    """An executor without threads, so that a failure comes where it is made."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


def test_more_latents_are_added_to_those_there(workdir, config):
    before = times(workdir / "evaluation" / "mine")
    after = times(again(config, workdir, evaluate__count=4))
    assert len(after) == 8
    assert {name: after[name] for name in before} == before


# ---- what is refused


def test_a_damaged_header_is_named(workdir, config):
    evaluation, _ = evaluation_of(config, workdir, evaluate__noise_seeds=(0, 1))
    header = workdir / "evaluation" / "mine" / "evaluation.json"
    text = header.read_text()
    header.write_text(text[:-20])
    with pytest.raises(InputError, match=r"evaluation\.json: is damaged"):
        evaluation.check(evaluation.transformer.state, None)
    header.write_text(text)


def test_a_run_that_goes_on_is_told_of_a_taken_name_before_it_trains(workdir, config):
    evaluation, _ = evaluation_of(config, workdir, evaluate__after_train=True, train__num_steps=9)
    evaluation.refuse_taken_name(9)
    with pytest.raises(InputError, match="holds the evaluation of step 5 or earlier"):
        evaluation.refuse_taken_name(5)


def test_another_transformer_does_not_go_into_the_same_folder(workdir, config, generator, tmp_path):
    evaluation, _ = evaluation_of(config, workdir, evaluate__noise_seeds=(0, 1))
    other = tiny_runs.save_transformer(tmp_path / "other", seed=1)
    before = times(workdir / "evaluation" / "mine")
    with pytest.raises(InputError, match="was made with another transformer; choose another"):
        evaluation.run(networks.load_transformer(other).state, None)
    assert times(workdir / "evaluation" / "mine") == before


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"evaluate__alphas": (-0.5, 0.0, 0.5)}, "was made with another alphas"),
        ({"evaluate__count": 2}, "holds 2 strips of other latents or noise seeds"),
        ({"evaluate__noise_seeds": (1,)}, "holds 3 strips of other latents or noise seeds"),
        ({"evaluate__seed": 2}, "holds 6 strips of other latents or noise seeds"),
    ],
    ids=["alphas", "fewer latents", "fewer seeds", "other latents"],
)
def test_other_strips_do_not_go_into_the_same_folder(workdir, config, fields, what):
    before = times(workdir / "evaluation" / "mine")
    with pytest.raises(InputError, match=what):
        again(config, workdir, **fields)
    assert times(workdir / "evaluation" / "mine") == before


def test_without_a_transformer_there_is_nothing_to_evaluate(generator, tmp_path):
    with pytest.raises(InputError, match="holds no learned transformer; train first"):
        evaluate.run(tiny_runs.config(generator), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_transformer_of_another_generator_is_refused(generator, tmp_path):
    folder = tiny_runs.save_transformer(tmp_path / "other", latent_dim=7)
    with pytest.raises(InputError, match="moves 7 latent dimensions and 3 classes; the generator has 6 and 3"):
        evaluate.run(tiny_runs.config(generator, transformer__weights=folder), str(tmp_path / "run"))


# ---- latents from files


def artbreeder(folder, names, seed=0) -> None:
    folder.mkdir()
    for i, name in enumerate(names):
        z = np.random.default_rng(seed + i).normal(size=6).round(6).tolist()
        classes = [[0, -0.25], [2, 1.5]]
        (folder / name).write_text(json.dumps({"latent": z, "classes": classes, "truncation": 0.7}))


def test_latents_come_from_files_whatever_their_names(config, tmp_path):
    names = ["a1b2=c3.jpeg?size=x.json", "größe.1", "x.json"]
    artbreeder(tmp_path / "latents", names)
    folder = again(config, tmp_path / "run", evaluate__latents=str(tmp_path / "latents"), evaluate__noise_seeds=(0,))
    kept = ["a1b2=c3.jpeg?size=x", "größe.1", "x"]
    assert sorted(path.name for path in (folder / "grids").iterdir()) == [
        "a1b2_c3.jpeg_size_x.png",
        "gr__e.1.png",
        "x.png",
    ]
    assert [row["name"] for row in table(folder)[::5]] == kept
    manifest = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [tile["latent"]["file"] for tile in manifest[::5]] == names
    assert manifest[0]["latent"]["sha256"] == sha256_of(tmp_path / "latents" / names[0])
    assert kept[0] in (folder / "index.html").read_text()


def test_an_edited_latent_is_evaluated_anew(config, tmp_path):
    artbreeder(tmp_path / "latents", ["a.json", "b.json"])
    fields = {"evaluate__latents": str(tmp_path / "latents"), "evaluate__noise_seeds": (0,)}
    folder = again(config, tmp_path / "run", **fields)
    before, rows = times(folder), table(folder)
    (tmp_path / "latents" / "a.json").write_text((tmp_path / "latents" / "b.json").read_text())
    after, now = times(again(config, tmp_path / "run", **fields)), table(folder)
    assert {name for name in after if after[name] != before[name]} == {"a.png"}
    # two latents of equal content are two strips, with the same noise
    scores = [[row["score"] for row in part] for part in (now[:5], now[5:], rows[5:], rows[:5])]
    assert scores[0] == scores[1] == scores[2] != scores[3]


def test_bad_files_stop_it_before_anything_is_written(config, tmp_path):
    artbreeder(tmp_path / "latents", ["a.json"])
    (tmp_path / "latents" / "b.json").write_text("{}")
    fields = {"evaluate__latents": str(tmp_path / "latents"), "evaluate__noise_seeds": (0,)}
    with pytest.raises(InputError, match=r"b\.json"):
        again(config, tmp_path / "run", **fields)
    assert not (tmp_path / "run").exists()
    folder = again(config, tmp_path / "run", evaluate__skip_bad=True, **fields)
    assert [path.name for path in (folder / "grids").iterdir()] == ["a.png"]


def test_two_strips_of_one_name_are_refused(config, tmp_path):
    artbreeder(tmp_path / "latents", ["a.json", "a-noise1.json"])
    fields = {"evaluate__latents": str(tmp_path / "latents"), "evaluate__noise_seeds": (0, 1)}
    with pytest.raises(InputError, match=r"give two strips the name a-noise1\.png; rename one"):
        again(config, tmp_path / "run", **fields)


def test_without_a_name_the_folder_is_named_after_latents_and_step(generator, transformer, tmp_path):
    artbreeder(tmp_path / "my latents", ["a.json"])
    c = tiny_runs.config(generator, transformer__weights=transformer, evaluate__latents=f"{tmp_path / 'my latents'}/")
    evaluation, params = evaluation_of(lambda: c, tmp_path / "run")
    evaluation.bench.folder.create()
    evaluation.run(params, 300)
    assert [path.name for path in (tmp_path / "run" / "evaluation").iterdir()] == ["my_latents-300"]


def test_sampled_latents_follow_the_config(config, tmp_path):
    fields = {"latents__classes": "onehot:1", "latents__truncation": 0.5, "evaluate__count": 20, "evaluate__seed": 3}
    evaluation, _ = evaluation_of(config, tmp_path / "run", **fields)
    z, y = (np.stack([getattr(strip.latent, name) for strip in evaluation.strips]) for name in "zy")
    assert np.abs(z).max() <= 1
    np.testing.assert_array_equal(y, np.tile([0, 1, 0], (20, 1)))
    assert evaluation.strips[4].latent.name == "seed3-00004"
    assert latents.safe_name(evaluation.strips[4].latent.name) == "seed3-00004"
    assert jnp.isfinite(z).all()
