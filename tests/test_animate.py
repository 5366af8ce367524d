"""--job=animate: every frame is the generator's own, a film is made once, and a folder holds what it says."""

import json

import jax
import numpy as np
import pytest
from PIL import Image, ImageSequence

import latentjax
import launch
from latentjax import animations, latents, pictures
from latentjax.errors import InputError
from latentjax.files import sha256_of
from latentjax.jobs import animate, imaging
from tests import tiny_runs

SMALL = {"animate__count": 2, "animate__frames": 5, "animate__batch_size": 4, "animate__name": "mine"}


@pytest.fixture(scope="module")
def config(generator, transformer):
    """A config of two films of 8 frames; no assessor is needed."""

    def config(**fields):
        changes = {"assessor__weights": "nowhere", "transformer__weights": transformer}
        return tiny_runs.config(generator, **changes | SMALL | fields)

    return config


@pytest.fixture
def encoded(monkeypatch):
    """The frames of every film that is encoded, in place of a file of them."""
    films = []
    monkeypatch.setattr(animations, "encoded", lambda frames, *_: films.append(np.stack(frames)) or b"film")
    return films


def made(config, workdir, **fields):
    animate.run(config(**fields), str(workdir))
    return workdir / "animations" / "mine"


def manifest(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def duration(frame) -> int:
    """In milliseconds; known when a frame is decoded."""
    frame.load()
    return frame.info["duration"]


def by_hand(generator, z, y) -> np.ndarray:
    return np.asarray(pictures.to_uint8(latentjax.load_generator(generator)(z, y)))


def test_the_frames_of_a_sweep_are_one_direction_there_and_back(config, generator, transformer, encoded, tmp_path):
    made(config, tmp_path / "run", animate__noise_seeds=(3,), animate__count=1)
    (latent,), moves = latents.sample_latents(1, 3, 6, 3), latentjax.load_transformer(transformer)
    noise = moves.sample_noise(jax.random.fold_in(jax.random.key(3), int(latent.key[:8], 16)), 1)
    alphas = animations.sweep((-0.5, 0.5), 5)
    moved = [moves(latent.z[None], latent.y[None], alpha, noise) for alpha in alphas]
    due = np.concatenate([by_hand(generator, z, y) for z, y in moved])
    # other batches add up in another order, which may round a level differently
    np.testing.assert_allclose(encoded[0].astype(int), [*due, *due[-2:0:-1]], atol=1)
    assert np.abs(due[0].astype(int) - due[-1]).max() > 10


def test_the_frames_of_a_walk_are_between_its_latents(config, generator, encoded, tmp_path):
    made(config, tmp_path / "run", animate__kind="walk", animate__count=3, transformer__weights="")
    z, y = latents.stacked(animations.walk(latents.sample_latents(3, 3, 6, 3), 5))
    np.testing.assert_allclose(encoded[0].astype(int), by_hand(generator, z, y), atol=1)
    assert len(encoded[0]) == 12


def test_a_walk_of_two_comes_back_and_frames_have_the_width_asked_for(config, encoded, tmp_path):
    made(config, tmp_path / "run", animate__kind="walk", transformer__weights="", animate__size=10)
    assert encoded[0].shape == (8, 10, 10, 3)
    np.testing.assert_array_equal(encoded[0][1], encoded[0][-1])


def test_the_folder_is_as_promised(config, tmp_path):
    folder = made(config, tmp_path / "run", animate__noise_seeds=(0, 1), animate__formats=("webp", "gif"))
    stems = [f"seed3-0000{i}{noise}" for i in (0, 1) for noise in ("", "-noise1")]
    films = {f"{stem}.{ending}" for stem in stems for ending in ("webp", "gif")}
    assert {path.name for path in folder.iterdir()} == films | {"animation.json", "manifest.jsonl", "index.html"}
    records = {record["file"]: record for record in manifest(folder)}
    assert records.keys() == films
    for file, record in records.items():
        assert record["sha256"] == sha256_of(folder / file)
        assert record["latents"][0]["seed"] == 3
        with Image.open(folder / file) as film:
            assert film.size == (16, 16)
            assert sum(duration(frame) for frame in ImageSequence.Iterator(film)) == 400
    page = (folder / "index.html").read_text()
    assert all(file in page for file in films)


def test_only_what_is_missing_is_made(config, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    folder = made(config, workdir)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.webp")}
    (folder / "seed3-00001.webp").unlink()
    (folder / ".seed3-00001.webp.77").write_text("half")
    rendered, program = [], imaging.Imaging.images

    def counted(self, wanted):
        rendered.extend(wanted := list(wanted))
        return program(self, wanted)

    monkeypatch.setattr(imaging.Imaging, "images", counted)
    made(config, workdir, animate__count=3)
    assert {picture.latent.name for picture in rendered} == {"seed3-00001", "seed3-00002"}
    assert len(rendered) == 10
    assert (folder / "seed3-00000.webp").stat().st_mtime_ns == before["seed3-00000.webp"]
    assert [record["file"] for record in manifest(folder)] == [f"seed3-0000{i}.webp" for i in range(3)]
    assert not list(folder.glob(".*"))
    rendered.clear()
    made(config, workdir, animate__formats=("gif",), animate__count=1)
    assert len(rendered) == 5
    made(config, workdir, animate__count=3)
    assert len(rendered) == 5


def test_a_latent_file_that_was_edited_is_filmed_anew(config, encoded, tmp_path):
    file, fields = tmp_path / "a.json", {"animate__latents": str(tmp_path / "a.json")}
    file.write_text(json.dumps({"latent": [0.5] * 6, "classes": [[0, 1]]}))
    folder = made(config, tmp_path / "run", **fields)
    key = manifest(folder)[0]["key"]
    file.write_text(json.dumps({"latent": [0.7] * 6, "classes": [[0, 1]]}))
    made(config, tmp_path / "run", **fields)
    assert len(encoded) == 2
    assert [record["key"] for record in manifest(folder)] != [key]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"animate__frames": 6}, "made with another frames; choose another --config.animate.name"),
        ({"animate__alphas": (-0.5, 0.4)}, "made with another alphas"),
        ({"latents__truncation": 0.5}, "made with another config"),
        ({"animate__kind": "walk"}, "made with another .*kind.* and latents"),
    ],
)
def test_a_folder_of_other_films_is_refused(config, encoded, tmp_path, fields, line):
    made(config, tmp_path / "run", animate__count=1)
    with pytest.raises(InputError, match=line):
        made(config, tmp_path / "run", **fields)
    assert len(encoded) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["kind=walk", "count=1"], "config.animate.count: gives one latent, and a walk needs two"),
        (["formats=('avi',)"], "config.animate.formats: is ('avi',); give some of webp, gif, mp4"),
        (["formats=()"], "config.animate.formats: is ()"),
        (["alphas=(0.5,)"], "config.animate.alphas: is (0.5,), and a sweep goes from one alpha to another"),
        (["frames=1"], "config.animate.frames: is 1; give 2 or more"),
        (["kind=walk", "noise_seeds=(0,1)"], "config.animate.noise_seeds: gives several, and a walk takes no noise"),
        (["formats=('webp','mp4')"], "config.animate.formats: asks for mp4, and there is no ffmpeg"),
        (["name=../x"], "config.animate.name: is '../x'"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(config, refused, tmp_path, monkeypatch, words, line):
    monkeypatch.setattr(animations.shutil, "which", lambda _: None)
    arguments = tiny_runs.arguments(config(), tmp_path / "run", "animate")
    told = refused(launch.main, *arguments, *(f"--config.animate.{word}" for word in words))
    assert told.startswith(line)


def test_a_sweep_needs_a_transformer(config, refused, tmp_path):
    arguments = tiny_runs.arguments(config(transformer__weights=""), tmp_path / "run", "animate")
    assert "holds no learned transformer" in refused(launch.main, *arguments)
