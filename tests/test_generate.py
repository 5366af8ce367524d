"""Generated sets: each picture is the generator's own, is there exactly once, and is never half written."""

import errno
import io
import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import latentjax
from latentjax import latents, pictures, shards
from latentjax.errors import InputError
from latentjax.files import sha256_of
from latentjax.generated import GeneratedSet
from latentjax.jobs import generate
from latentjax.jobs.workbench import prepare_studio
from tests import tiny_runs
from tests.test_evaluate import artbreeder, evaluation_of, swept

ALPHAS = (-0.5, -0.25, 0.0, 0.25, 0.5)
SMALL = {"generate__count": 10, "generate__batch_size": 4, "generate__shard_size": 4, "generate__name": "mine"}


@pytest.fixture(scope="module")
def config(generator):
    """A config of 10 images in shards and batches of 4; the assessor that it names is not there."""

    def config(**fields):
        changes = {"assessor__weights": "nowhere", "assessor__centre": None, "assessor__slope": None}
        return tiny_runs.config(generator, **changes | SMALL | fields)

    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A workdir with a set of pictures; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    generate.run(config(), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def in_shards(config, tmp_path_factory):
    """A workdir with the same set in array_record; not to be changed."""
    workdir = tmp_path_factory.mktemp("in_shards") / "run"
    generate.run(config(generate__format="array_record"), str(workdir))
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of `finished`, times of change included."""
    return shutil.copytree(finished, tmp_path / "run")


def made(config, workdir, **fields):
    """The folder of the set after one more run."""
    generate.run(config(**fields), str(workdir))
    return workdir / "generated" / "mine"


def manifest(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def images_of(folder) -> list[np.ndarray]:
    """uint8 images in the order of the manifest."""
    found = []
    for record in manifest(folder):
        with Image.open(folder / record["file"]) as image:
            found.append(np.asarray(image))
    return found


def times(folder) -> dict[str, int]:
    """File to time of change, of pictures and shards."""
    files = [*folder.glob("0*/*"), *folder.glob("*array_record-*")]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


def changed(before, after) -> set[str]:
    return {name for name in after if after[name] != before.get(name)}


def hidden(folder) -> list:
    return [path for path in [*folder.rglob("*"), *folder.parent.iterdir()] if path.name.startswith(".")]


def images_by_hand(generator, points) -> np.ndarray:
    """What the public G makes of latents, in batches of 4."""
    g, (z, y) = latentjax.load_generator(generator), latents.stacked(points)
    starts = range(0, len(z) - 3, 4)
    return np.concatenate([pictures.to_uint8(g(z[start : start + 4], y[start : start + 4])) for start in starts])


# ---- what is written


def test_the_folder_is_as_promised(finished):
    folder = finished / "generated" / "mine"
    wanted = {f"{i // 4:05d}/seed2-{i:05d}.png" for i in range(10)}
    assert set(times(folder)) == wanted
    others = {path.name for path in folder.iterdir() if path.is_file()}
    assert others == {"generation.json", "images-00000.jsonl", "manifest.jsonl"}
    assert {path.name for path in folder.parent.iterdir()} == {"mine", "mine-overview.png"}
    assert not hidden(folder)
    with Image.open(folder.parent / "mine-overview.png") as image:
        image.load()
        assert image.width > 8 * 16  # a row is eight pictures


def test_each_picture_is_the_generator_s_own_to_the_bit(config, generator, tmp_path):
    fields = {"latents__truncation": 0.7, "latents__classes": "onehot:1", "generate__seed": 5, "generate__count": 8}
    folder = made(config, tmp_path / "run", **fields)
    points = latents.sample_latents(8, 5, 6, 3, 0.7, "onehot:1")
    np.testing.assert_array_equal(images_of(folder), images_by_hand(generator, points))
    assert [record["latent"] for record in manifest(folder)] == [point.source for point in points]


def test_the_manifest_says_what_each_picture_was_made_from(finished, generator):
    folder = finished / "generated" / "mine"
    records = manifest(folder)
    assert [record["index"] for record in records] == list(range(10))
    for i, record in enumerate(records):
        assert record == {
            "file": f"{i // 4:05d}/seed2-{i:05d}.png",
            "index": i,
            "name": f"seed2-{i:05d}",
            "noise_seed": None,
            "alpha": None,
            "latent": {"seed": 2, "index": i},
            "sha256": sha256_of(folder / record["file"]),
            "generator": sha256_of(f"{generator}/weights.safetensors"),
            "transformer": "",
        }


@pytest.mark.parametrize("fields", [{"generate__count": 3}, {"generate__batch_size": 7}], ids=["count", "batch"])
def test_a_picture_depends_on_seed_and_index_alone(config, finished, tmp_path, fields):
    wanted = images_of(finished / "generated" / "mine")
    found = images_of(made(config, tmp_path / "run", **fields))
    assert len(found) == fields.get("generate__count", 10)
    for image, other in zip(found, wanted, strict=False):
        # another batch size is another program: a level where rounding to eight bits falls the other way
        assert np.abs(image.astype(int) - other.astype(int)).max() <= ("generate__batch_size" in fields)
    assert np.abs(wanted[0].astype(int) - wanted[1].astype(int)).max() > 50


def test_one_program_serves_all_batches(config, tmp_path, monkeypatch):
    traces, program = [], generate.Generation._generate
    monkeypatch.setattr(generate.Generation, "_generate", lambda *args: traces.append(1) or program(*args))
    assert len(manifest(made(config, tmp_path / "run"))) == 10
    assert len(traces) == 1


def test_jpegs_have_their_quality(config, tmp_path):
    sizes = {}
    for quality in (20, 90):
        folder = made(config, tmp_path / str(quality), generate__format="jpeg", generate__jpeg_quality=quality)
        assert all(name.endswith(".jpg") for name in times(folder))
        sizes[quality] = sum(path.stat().st_size for path in folder.glob("0*/*.jpg"))
    assert sizes[20] < sizes[90]


def test_several_devices_make_the_same_pictures(config, finished, tmp_path):
    words = tiny_runs.arguments(config(generate__batch_size=8), tmp_path / "run", "generate")
    done = tiny_runs.python("import launch, sys; sys.exit(launch.main())", *words, devices=2)
    assert done.returncode == 0, done.stderr
    assert "2 device(s)" in done.stderr
    # 4 a device, as in the batches of `finished`
    found, wanted = (images_of(folder / "generated" / "mine") for folder in (tmp_path / "run", finished))
    np.testing.assert_array_equal(found, wanted)
    words = tiny_runs.arguments(config(generate__name="other"), tmp_path / "run", "generate")
    alone = "import jax, launch, sys; jax.local_devices = lambda: jax.devices()[1:]; sys.exit(launch.main())"
    assert "1 device(s)" in tiny_runs.python(alone, *words, devices=2).stderr  # as in one of two processes


# ---- edited


def test_with_alphas_they_are_the_tiles_of_an_evaluation(config, transformer, tmp_path):
    seeds = {"evaluate__noise_seeds": (0, 7), "generate__noise_seeds": (0, 7), "evaluate__seed": 2}
    fields = {"generate__count": 3, "generate__alphas": ALPHAS, "transformer__weights": transformer, **seeds}
    folder = made(config, tmp_path / "run", **fields)
    judged = {"assessor__weights": "embedded:colourfulness", "assessor__centre": 3.0, "assessor__slope": 5.0}
    evaluation, params = evaluation_of(config, tmp_path / "evaluated", **fields, **judged)
    found = {(record["name"], record["noise_seed"]): [] for record in manifest(folder)}
    for record, image in zip(manifest(folder), images_of(folder), strict=True):
        found[record["name"], record["noise_seed"]].append(image)
        assert record["transformer"] == sha256_of(f"{transformer}/weights.safetensors")
    for strip, (tiles, _) in zip(evaluation.strips, swept(evaluation, params).values(), strict=True):
        strips = np.array(found[strip.latent.name, strip.noise_seed])
        # another program, in which a level may fall the other way
        assert np.abs(strips.astype(int) - tiles.astype(int)).max() <= 1
        assert np.abs(strips[0].astype(int) - strips[-1].astype(int)).max() > 1
    with_noise = [images for (_, seed), images in found.items() if seed == 7]
    assert not np.array_equal(with_noise[0][-1], found["seed2-00000", 0][-1])
    assert [record["alpha"] for record in manifest(folder)[:5]] == list(ALPHAS)
    names = [record["file"].split("/")[1] for record in manifest(folder)]
    assert names[0] == "seed2-00000-alpha-0.50.png"
    assert names[8] == "seed2-00000-noise7-alpha+0.25.png"


def test_the_run_s_own_transformer_edits_before_that_of_the_config(config, transformer, tmp_path):
    made(config, tmp_path / "run", transformer__weights=transformer)
    learned = tiny_runs.save_transformer(tmp_path / "run" / "transformer", seed=1)
    fields = {"generate__alphas": (0.5,), "transformer__weights": transformer, "generate__name": "edited"}
    made(config, tmp_path / "run", **fields)
    record = manifest(tmp_path / "run" / "generated" / "edited")[0]
    assert record["transformer"] == sha256_of(f"{learned}/weights.safetensors")


@pytest.mark.parametrize(("alpha", "text"), [(0.3, "+0.30"), (-0.125, "-0.125"), (0.0, "+0.00"), (12, "+12.00")])
def test_alphas_are_written_with_a_sign_and_as_many_digits_as_they_have(alpha, text):
    assert generate.Picture(0, latents.Latent("a", np.ones(1), np.ones(1), {}), 0, alpha).stem == f"a-alpha{text}"


# ---- latents from files


def test_latents_come_from_files(config, generator, tmp_path):
    names = ["a1b2=c3.jpeg?size=x.json", "größe.1", "x.json", "y.json"]
    artbreeder(tmp_path / "my latents", names)
    fields = {"generate__latents": str(tmp_path / "my latents"), "generate__name": ""}
    generate.run(config(**fields), str(tmp_path / "run"))
    folder = tmp_path / "run" / "generated" / "my_latents"
    assert [record["file"] for record in manifest(folder)] == [
        f"00000/{name}.png" for name in ("a1b2_c3.jpeg_size_x", "gr__e.1", "x", "y")
    ]
    for name, record in zip(names, manifest(folder), strict=True):
        assert record["latent"] == {"file": name, "sha256": sha256_of(tmp_path / "my latents" / name)}
    points = latents.read(tmp_path / "my latents", 6, 3)
    np.testing.assert_array_equal(images_of(folder), images_by_hand(generator, points))
    artbreeder(tmp_path / "others", names[:3], seed=9)
    shutil.copytree(tmp_path / "others", tmp_path / "my latents", dirs_exist_ok=True)
    with pytest.raises(InputError, match=r"was made with another latents; choose another --config\.generate\.name"):
        generate.run(config(**fields), str(tmp_path / "run"))


def test_bad_files_stop_it_before_anything_is_written(config, tmp_path):
    artbreeder(tmp_path / "latents", ["a.json"])
    (tmp_path / "latents" / "b.json").write_text("{}")
    fields = {"generate__latents": str(tmp_path / "latents")}
    with pytest.raises(InputError, match=r"b\.json"):
        made(config, tmp_path / "run", **fields)
    assert not (tmp_path / "run").exists()
    assert len(manifest(made(config, tmp_path / "run", generate__skip_bad=True, **fields))) == 1


# ---- stopped and gone on with


def test_a_finished_set_is_left_alone(workdir, config, monkeypatch, caplog):
    monkeypatch.setattr(generate.Generation, "_generate", lambda *_: pytest.fail("something was computed"))
    folder = workdir / "generated" / "mine"
    before, text = times(folder), (folder / "manifest.jsonl").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        made(config, workdir)
    assert times(folder) == before
    assert (folder / "manifest.jsonl").stat().st_mtime_ns == text
    assert "nothing is missing; look at" in caplog.messages[-1]


def test_a_picture_that_is_gone_is_made_again_and_no_other(workdir, config):
    folder = workdir / "generated" / "mine"
    before, records = times(folder), manifest(folder)
    (folder / "00001" / "seed2-00005.png").unlink()
    made(config, workdir)
    assert changed(before, times(folder)) == {"00001/seed2-00005.png"}
    assert manifest(folder) == records


def test_a_last_line_that_was_cut_off_costs_one_picture(workdir, config):
    folder = workdir / "generated" / "mine"
    before, records, log = times(folder), manifest(folder), folder / "images-00000.jsonl"
    text = log.read_text()
    last = text.splitlines()[-1]
    log.write_text(text[: -len(last) // 2])
    (folder / "00002" / ".1-0123456789abcdef.part").write_bytes(b"half a pict")
    (folder / ".process00000.part").mkdir()
    (folder / ".process00000.part" / "manifest.jsonl").write_text("{")
    made(config, workdir)
    assert changed(before, times(folder)) == {json.loads(last)["file"]}
    assert manifest(folder) == records
    assert not hidden(folder)


def test_where_two_logs_disagree_the_manifest_has_the_checksum_of_the_file(workdir, config):
    folder = workdir / "generated" / "mine"
    records = manifest(folder)
    # as if another process had made it in larger batches, which may round differently, before it was made again
    (folder / "images-00001.jsonl").write_text(json.dumps(records[5] | {"sha256": "0" * 64}) + "\n")
    (folder / "manifest.jsonl").unlink()
    made(config, workdir)
    assert manifest(folder) == records


def test_more_images_are_added_to_those_there_and_fewer_are_refused(workdir, config):
    folder = workdir / "generated" / "mine"
    before = times(folder)
    assert len(manifest(made(config, workdir, generate__count=13))) == 13
    after = times(folder)
    assert len(after) == 13
    assert {name: after[name] for name in before} == before
    with pytest.raises(InputError, match="is a set of 13 images, and 10 are asked for; ask for as many or more"):
        made(config, workdir)
    assert times(folder) == after


def as_process(studio, index: int) -> str:
    """What process `index` of two does, once it has joined the other; a real pair is in test_processes."""
    generation, settings = generate.Generation(studio, None), studio.config.generate
    target = GeneratedSet(generation.folder(None), generation.facts, generation.total, settings, (index, 2))
    target.check()
    return generate.fill(target, generation)


def test_two_processes_complete_one_set(config, finished, tmp_path, caplog):
    studio = prepare_studio(config(), str(tmp_path / "run"), local=True)
    studio.create()
    folder = tmp_path / "run" / "generated" / "mine"
    with caplog.at_level("INFO"):
        assert as_process(studio, 1) == "4 images made"
    assert {name.split("/")[0] for name in times(folder)} == {"00001"}
    assert not (folder / "manifest.jsonl").exists()
    assert "this process's share is done" in caplog.messages[-1]
    before = times(folder)
    (folder / ".process00001.part").mkdir()  # the other is at work
    (folder / "00001" / ".2-0123456789abcdef.part").write_bytes(b"half a pict")
    assert as_process(studio, 0) == "6 images made"
    assert len(hidden(folder)) == 2
    after = times(folder)
    assert {name: after[name] for name in before} == before
    assert manifest(folder) == manifest(finished / "generated" / "mine")
    assert {path.name for path in folder.glob("images-*")} == {"images-00000.jsonl", "images-00001.jsonl"}


# ---- array_record


def read_back(folder) -> dict[str, tuple[np.ndarray, dict]]:
    """Key to image and source, through TFDS; each key once."""
    source = tfds.builder_from_directory(folder).as_data_source(
        split="train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    found = {}
    for example in source:
        assert example["key"].decode() not in found
        with Image.open(io.BytesIO(example["image"])) as image:
            found[example["key"].decode()] = np.asarray(image), json.loads(example["source"])
    return found


def test_tfds_reads_the_shards(in_shards, finished):
    folder, pngs = (workdir / "generated" / "mine" for workdir in (in_shards, finished))
    found = read_back(folder)
    assert list(found) == [f"seed2-{i:05d}" for i in range(10)]
    np.testing.assert_array_equal([image for image, _ in found.values()], images_of(pngs))
    assert found["seed2-00009"][1] == {
        "index": 9,
        "name": "seed2-00009",
        "noise_seed": None,
        "alpha": None,
        "latent": {"seed": 2, "index": 9},
    }
    files = [shards.file_name(shard) for shard in range(3)]
    assert set(times(folder)) == set(files)
    for record, png in zip(manifest(folder), manifest(pngs), strict=True):
        # of the same PNG
        assert record | {"file": ""} == png | {"file": ""}
        assert record["file"] == files[record["index"] // 4]
    assert not hidden(folder)


def test_a_shard_is_made_as_a_whole_or_not_at_all(in_shards, config, tmp_path):
    workdir = shutil.copytree(in_shards, tmp_path / "run")
    folder, fields = workdir / "generated" / "mine", {"generate__format": "array_record"}
    before, records, wanted = times(folder), manifest(folder), read_back(folder)
    log = folder / "images-00000.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:6], *lines[7:]]))  # of its pictures one is not in the log
    (folder / shards.file_name(2)).unlink()
    (folder / f".{shards.file_name(2)}.part").write_bytes(b"half a shard")
    made(config, workdir, **fields)
    assert changed(before, times(folder)) == {shards.file_name(1), shards.file_name(2)}
    assert manifest(folder) == records
    for name, (image, source) in read_back(folder).items():
        np.testing.assert_array_equal(image, wanted[name][0])
        assert source == wanted[name][1]
    assert not hidden(folder)


def test_a_larger_data_set_keeps_its_full_shards(in_shards, config, tmp_path):
    workdir = shutil.copytree(in_shards, tmp_path / "run")
    folder = workdir / "generated" / "mine"
    before = times(folder)
    made(config, workdir, generate__format="array_record", generate__count=14)
    assert changed(before, times(folder)) == {shards.file_name(2), shards.file_name(3)}
    assert list(read_back(folder)) == [f"seed2-{i:05d}" for i in range(14)]
    assert len(manifest(folder)) == 14


# ---- what is refused


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"generate__seed": 3}, "was made with another latents;"),
        ({"generate__format": "jpeg"}, "was made with another format;"),
        ({"generate__shard_size": 5}, "was made with another shard_size;"),
        ({"precision": "bfloat16"}, "was made with another config"),
    ],
    ids=["latents", "format", "shards", "precision"],
)
def test_other_pictures_do_not_go_into_the_same_folder(workdir, config, fields, what):
    before = times(workdir / "generated" / "mine")
    with pytest.raises(InputError, match=what):
        made(config, workdir, **fields)
    assert times(workdir / "generated" / "mine") == before


def test_alphas_need_a_transformer(config, tmp_path):
    with pytest.raises(InputError, match="holds no learned transformer; train first"):
        made(config, tmp_path / "run", generate__alphas=ALPHAS)
    assert not (tmp_path / "run").exists()


def test_noise_seeds_need_noise(config, tmp_path):
    what = r"^config.generate.noise_seeds: gives 2 seeds, and nothing here takes noise"
    with pytest.raises(InputError, match=what):
        made(config, tmp_path / "run", generate__noise_seeds=(0, 1))
    still = tiny_runs.save_transformer(tmp_path / "still", z="linear(z)", y="none")
    with pytest.raises(InputError, match=what):
        made(
            config,
            tmp_path / "run",
            generate__noise_seeds=(0, 1),
            generate__alphas=ALPHAS,
            transformer__weights=still,
        )


def test_several_directions_are_refused(config, tmp_path):
    several = tiny_runs.save_transformer(tmp_path / "several", z="vector", num_directions=3)
    with pytest.raises(InputError, match="move along one direction, and the transformer has 3"):
        made(config, tmp_path / "run", generate__alphas=ALPHAS, transformer__weights=several)


def test_two_pictures_of_one_name_are_refused(config, transformer, tmp_path):
    artbreeder(tmp_path / "latents", ["a.json", "a-noise1.json"])
    edits = {"generate__alphas": (0.5,), "generate__noise_seeds": (0, 1), "transformer__weights": transformer}
    with pytest.raises(InputError, match=r"give two pictures the name a-noise1-alpha\+0\.50; rename one"):
        made(config, tmp_path / "run", generate__latents=str(tmp_path / "latents"), **edits)


def test_a_folder_of_the_user_s_own_is_left_alone(workdir, config):
    other = workdir / "generated" / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is neither empty nor a generated set; choose another"):
        made(config, workdir, generate__name="other")
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_shards_without_array_record_are_refused_before_anything_is_written(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(InputError, match=r"^array_record: cannot be imported \(.*; pip install -r requirements\.txt$"):
        made(config, tmp_path / "run", generate__format="array_record")
    assert not (tmp_path / "run" / "generated").exists()


@pytest.mark.parametrize("kind", ["png", "array_record"])
def test_a_full_disk_is_told_in_one_line_and_gone_on_from(config, finished, tmp_path, monkeypatch, kind):
    calls, save = [], pictures.encoded

    def full(*args):
        calls.append(1)
        if len(calls) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(*args)

    monkeypatch.setattr(pictures, "encoded", full)
    with pytest.raises(InputError, match=r"mine: cannot be written \(No space left on device\); mend that, and run"):
        made(config, tmp_path / "run", generate__format=kind)
    monkeypatch.undo()
    folder = made(config, tmp_path / "run", generate__format=kind)
    wanted = manifest(finished / "generated" / "mine")
    assert [record["sha256"] for record in manifest(folder)] == [record["sha256"] for record in wanted]
    assert not hidden(folder)


# ---- killed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "array_record"])
def test_killed_at_random_moments_a_thousand_images_are_all_there_once_and_whole(config, tmp_path, kind):
    fields = {"generate__count": 1000, "generate__shard_size": 100, "generate__format": kind}
    fields |= {"generate__batch_size": 1}  # slower: there is more time to be killed in
    whole = made(config, tmp_path / "whole", **fields)
    words = tiny_runs.arguments(config(**fields), tmp_path / "run", "generate")
    command, folder = [sys.executable, "launch.py", *words], tmp_path / "run" / "generated" / "mine"
    moments = random.Random(0)
    log, end = folder / "images-00000.jsonl", tiny_runs.size(whole / "images-00000.jsonl")
    early = moments.uniform(0, 0.5)
    tiny_runs.kill(command, lambda seconds: seconds > early)  # while it starts; it may be done within two seconds
    midway = 0
    for written in sorted(moments.randrange(end * 3 // 4) for _ in range(4)):
        tiny_runs.kill(command, lambda _, written=written: tiny_runs.size(log) > written)
        midway += 0 < tiny_runs.size(log) < end
    assert midway >= 2  # on a busy machine one may come too late
    tiny_runs.kill(command, lambda _: tiny_runs.size(log) >= end)  # while it writes the manifest, or just after
    done = subprocess.run(command, cwd=tiny_runs.ROOT, capture_output=True, text=True, check=True)
    assert "look at" in done.stderr
    records = manifest(folder)
    assert len(records) == 1000
    assert records == manifest(whole)
    assert set(times(folder)) == {record["file"] for record in records}
    assert not hidden(folder)
    images = [image for image, _ in read_back(folder).values()] if kind == "array_record" else images_of(folder)
    assert len({image.tobytes() for image in images}) == len(images) == 1000
    for record in records if kind == "png" else ():
        assert sha256_of(folder / record["file"]) == record["sha256"]
