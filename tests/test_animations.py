"""Films: latents between latents, alphas there and back, and files that play as they were asked to."""

import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentjax import animations
from latentjax.errors import InputError
from latentjax.latents import Latent

AT = np.linspace(0, 1, 9)
# float32 of vectors of length 3
ROUNDING = 1e-6


@pytest.fixture
def stations():
    random = np.random.default_rng(0)
    z, y = random.normal(size=(4, 6)), np.eye(4, 3)
    return [Latent(f"s{i}", np.float32(z[i]), np.float32(y[i]), {"seed": 0, "index": i}) for i in range(4)]


def angles(path: np.ndarray) -> np.ndarray:
    """Between neighbours, in radians."""
    unit = path / np.linalg.norm(path, axis=1, keepdims=True)
    return np.arccos(np.clip(np.sum(unit[1:] * unit[:-1], axis=1), -1, 1))


def frames(count: int, height: int = 20, width: int = 24) -> list[np.ndarray]:
    """A bright square that moves over a gradient."""
    made = []
    for i in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = np.linspace(0, 200, width)
        image[4:12, i : i + 8] = (40, 220, 250)
        made.append(image)
    return made


# ---- between latents


def test_slerp_turns_and_grows_at_constant_rates():
    start, end = np.array([2.0, 0, 0]), np.array([0, 3.0, 0])
    path = animations.slerp(start, end, AT)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=ROUNDING)
    np.testing.assert_allclose(angles(path.astype(np.float64)), np.pi / 16, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), np.linspace(2, 3, 9), atol=ROUNDING)
    assert path.dtype == np.float32


@pytest.mark.parametrize("scale", [-1.0, -2.5])
def test_between_opposite_latents_slerp_makes_half_a_turn_and_never_meets_zero(scale):
    start = np.array([0.6, -1.2, 2.0])
    path = animations.slerp(start, scale * start, AT)
    np.testing.assert_allclose(path[[0, -1]], [start, scale * start], atol=3 * ROUNDING)
    np.testing.assert_allclose(angles(path.astype(np.float64)), np.pi / 8, atol=1e-5)
    np.testing.assert_array_equal(path, animations.slerp(start, scale * start, AT))


def test_between_parallel_latents_slerp_is_a_straight_line():
    start = np.array([0.6, -1.2, 2.0])
    np.testing.assert_allclose(animations.slerp(start, 3 * start, AT), np.outer(1 + 2 * AT, start), atol=3 * ROUNDING)


def test_a_walk_meets_its_stations_and_closes_its_loop(stations):
    path = animations.walk(stations, 5)
    assert len(path) == 4 * 4
    for i, station in enumerate(stations):
        np.testing.assert_allclose(path[4 * i].z, station.z, atol=ROUNDING)
        np.testing.assert_array_equal(path[4 * i].y, station.y)
    back = animations.slerp(stations[3].z, stations[0].z, np.array([0.75]))[0]
    np.testing.assert_array_equal(path[-1].z, back)
    np.testing.assert_allclose(path[-1].y, 0.25 * stations[3].y + 0.75 * stations[0].y)


def test_a_walk_of_two_is_the_way_there(stations):
    path = animations.walk(stations[:2], 5)
    assert len(path) == 5
    np.testing.assert_array_equal(path[-1].z, stations[1].z)


def test_a_sweep_goes_through_its_alphas_slowly_at_each():
    alphas = animations.sweep((-0.5, 0.0, 0.4), 5)
    assert alphas == [-0.5, -0.426777, -0.25, -0.073223, 0.0, 0.058579, 0.2, 0.341421, 0.4]


def test_there_and_back_shows_no_frame_twice_in_a_row():
    assert animations.there_and_back([1, 2, 3, 4]) == [1, 2, 3, 4, 3, 2]


# ---- files


def test_a_webp_plays_for_ever_with_frames_close_to_those_given():
    given = frames(8)
    with Image.open(io.BytesIO(animations.encoded(given, "webp", 20.0))) as film:
        shown = [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(film)]
        assert film.info["loop"] == 0
    assert len(shown) == 8
    assert max(np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(shown, given, strict=True)) < 25


@pytest.mark.parametrize(("per_second", "whole"), [(20.0, 400), (30.0, 270), (100.0, 160)])
def test_a_gif_has_one_palette_and_keeps_time_in_hundredths(per_second, whole):
    given = frames(8)
    with Image.open(io.BytesIO(animations.encoded(given, "gif", per_second))) as film:
        shown, durations = [], []
        for frame in ImageSequence.Iterator(film):
            shown.append(np.asarray(frame.convert("RGB"), float))
            durations.append(frame.info["duration"])
        assert film.info["loop"] == 0
    # 100 a second is more than players show: they would play a frame of one hundredth far slower
    assert sum(durations) == whole
    assert min(durations) >= 20
    assert max(np.abs(a - b).mean() for a, b in zip(shown, given, strict=True)) < 8
    reddening = [frame // 2 + np.uint8([16 * i, 0, 0]) for i, frame in enumerate(given)]
    images = animations._in_one_palette(reddening)
    assert len({bytes(image.getpalette() or []) for image in images}) == 1


@pytest.fixture
def pretended_ffmpeg(tmp_path, monkeypatch):
    """A program in the PATH that keeps its arguments and input, and writes what a test says."""

    def install(script: str):
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        program = folder / "ffmpeg"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/raw\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return tmp_path

    return install


def test_an_mp4_is_fed_with_frames_of_even_sides(pretended_ffmpeg):
    folder = pretended_ffmpeg('for last; do :; done; echo film > "$last"')
    given = frames(3, 5, 7)
    assert animations.encoded(given, "mp4", 12.5) == b"film\n"
    raw = np.frombuffer((folder / "raw").read_bytes(), np.uint8).reshape(3, 6, 8, 3)
    np.testing.assert_array_equal(raw[:, :5, :7], given)
    np.testing.assert_array_equal(raw[:, 5, :], raw[:, 4, :])
    words = (folder / "words").read_text()
    assert all(word in words for word in ("-s 8x6", "-r 12.5", "libx264", "-pix_fmt yuv420p", "rgb24"))


def test_a_failing_ffmpeg_is_told_in_one_line(pretended_ffmpeg):
    pretended_ffmpeg("echo Unknown encoder >&2; exit 1")
    with pytest.raises(InputError, match=r"config.animate.formats: asks for mp4, and ffmpeg fails \(Unknown encoder\)"):
        animations.encoded(frames(2), "mp4", 20.0)


def test_a_missing_ffmpeg_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"config.animate.formats: asks for mp4, and there is no ffmpeg; install it"):
        animations.encoded(frames(2), "mp4", 20.0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4_shows_the_frames(tmp_path):
    given = [np.full((31, 33, 3), (200, 60, 30), np.uint8)] * 5
    (tmp_path / "film.mp4").write_bytes(animations.encoded(given, "mp4", 10.0))
    command = ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "film.mp4"), "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(5, 32, 34, 3)
    # 8-bit colours of video have 220 levels, and the decoder rounds again
    assert np.abs(shown.astype(int) - (200, 60, 30)).max() <= 6
