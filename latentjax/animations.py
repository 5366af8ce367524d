"""Films of images: the points between latents, the alphas of a sweep, and the files: WebP, GIF and MP4."""

import io
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from latentjax.errors import InputError
from latentjax.latents import Latent

# below this sine two directions span no plane, in float32 latents of any usual length
_PARALLEL = 1e-6
_PALETTE_FRAMES, _PALETTE_SIDE = 8, 128  # that a GIF's colours are chosen from, and their width at most


def slerp(start: np.ndarray, end: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Points between two latents: the direction turns at a constant rate and the length changes at a constant rate.

    Between normal draws the straight line passes too near the origin; slerp (Shoemake, Animating rotation with
    quaternion curves, 1985) does not (White, Sampling generative networks, 2016). Parallel vectors differ in length
    alone; opposite ones turn through the coordinate axis that is most nearly perpendicular to both.

    Args:
        start, end: [Z], not zero, of any lengths.
        at: [T] in [0, 1].

    Returns:
        [T, Z] float32.
    """
    first, last = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = np.linalg.norm(first), np.linalg.norm(last)
    axis, target = first / lengths[0], last / lengths[1]
    cosine = axis @ target
    across = target - cosine * axis
    sine = np.linalg.norm(across)
    if sine < _PARALLEL:
        nearest = np.argmin(np.abs(axis))
        across = np.eye(len(axis))[nearest] - axis[nearest] * axis
    across /= np.linalg.norm(across) or 1.0  # a latent of one number has nothing across
    share = np.asarray(at, np.float64)[:, None]
    angle = share * np.arctan2(sine, cosine)
    length = (1 - share) * lengths[0] + share * lengths[1]
    return (length * (np.cos(angle) * axis + np.sin(angle) * across)).astype(np.float32)


def walk(stations: Sequence[Latent], frames: int) -> list[Latent]:
    """The latents of a walk: slerp for z, linear for y; from three stations on it closes the loop.

    Args:
        stations: two or more.
        frames: from one station to the next, both included.

    Returns:
        A closed loop without its repeated first latent; of two stations the way there, both ends included.
    """
    closed = len(stations) > 2
    at = np.linspace(0, 1, frames)[:-1]
    walked: list[Latent] = []
    for start, end in itertools.pairwise([*stations, *stations[:closed]]):
        between = slerp(start.z, end.z, at), (1 - at[:, None]) * start.y + at[:, None] * end.y
        for share, z, y in zip(at, *between, strict=True):
            source = {"from": start.source, "to": end.source, "at": round(float(share), 6)}
            walked.append(Latent(start.name, z, y.astype(np.float32), source))
    return walked if closed else [*walked, stations[-1]]


def sweep(alphas: Sequence[float], frames: int) -> list[float]:
    """Alphas from the first to the last, slow at each of them and fast between.

    Args:
        alphas: two or more.
        frames: from one alpha to the next, both included.
    """
    share = (1 - np.cos(np.pi * np.linspace(0, 1, frames))) / 2
    ways = [start + (end - start) * share[:-1] for start, end in itertools.pairwise(alphas)]
    return [round(float(alpha), 6) + 0.0 for alpha in (*np.concatenate(ways), alphas[-1])]  # no -0.0


def there_and_back(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The frames, then those between the ends backwards: played in a loop, no frame is shown twice in a row."""
    return [*frames, *frames[-2:0:-1]]


def ffmpeg() -> str:
    """The program that writes MP4.

    Raises:
        InputError: it is not installed.
    """
    if found := shutil.which("ffmpeg"):
        return found
    raise InputError("config.animate.formats", "asks for mp4, and there is no ffmpeg", "install it, or use webp or gif")


def encoded(frames: Sequence[np.ndarray], ending: str, per_second: float) -> bytes:
    """The bytes of a film that plays for ever (an MP4: once, as its player decides).

    Args:
        frames: [H, W, 3] uint8 each, in memory all together.
        ending: webp, gif or mp4.
        per_second: frames; a GIF shows 50 at most.

    Raises:
        InputError: ffmpeg is missing or fails.
    """
    if ending == "mp4":
        return _mp4(frames, per_second)
    if ending == "webp":
        images, options = [Image.fromarray(frame) for frame in frames], {"quality": 85, "method": 4}
    else:
        images, options = _in_one_palette(frames), {"optimize": False}
    # a GIF counts in hundredths of a second, and players slow down what is shorter than two
    unit, least = (10, 2) if ending == "gif" else (1, 1)
    ends = [round(1000 / unit * i / per_second) for i in range(len(frames) + 1)]
    durations = [unit * max(least, end - start) for start, end in itertools.pairwise(ends)]
    stream, (first, *others) = io.BytesIO(), images
    options |= {"save_all": True, "append_images": others, "duration": durations, "loop": 0}
    first.save(stream, format=ending.upper(), **options)
    return stream.getvalue()


def _in_one_palette(frames: Sequence[np.ndarray]) -> list[Image.Image]:
    """Images of the 256 colours that suit the whole film: palettes of their own would make frames flicker."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, _PALETTE_FRAMES).astype(int))
    shrink = -(-frames[0].shape[1] // _PALETTE_SIDE)
    sample = Image.fromarray(np.concatenate([frames[i][::shrink, ::shrink] for i in chosen]))
    palette = sample.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    return [Image.fromarray(frame).quantize(palette=palette) for frame in frames]


def _mp4(frames: Sequence[np.ndarray], per_second: float) -> bytes:
    """H.264 in yuv420p, which every player shows; it wants even sides, so the last row or column may be doubled."""
    height, width, _ = frames[0].shape
    height, width = height + height % 2, width + width % 2
    room = ((0, height - frames[0].shape[0]), (0, width - frames[0].shape[1]), (0, 0))
    raw = b"".join(np.pad(frame, room, mode="edge").tobytes() for frame in frames)
    taken = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{per_second:g}", "-i", "-"]
    # a player takes the colours of an untagged small film to be those of old television
    colours = "scale=out_color_matrix=bt709,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    made = ["-an", "-c:v", "libx264", "-crf", "18", "-vf", colours, "-pix_fmt", "yuv420p"]
    plain = ["-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "film.mp4"
        command = [ffmpeg(), "-loglevel", "error", *taken, *made, *plain, os.fspath(out)]
        done = subprocess.run(command, input=raw, capture_output=True)
        if done.returncode or not out.exists():
            told = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            what = f"asks for mp4, and ffmpeg fails ({told[:200]})"
            raise InputError("config.animate.formats", what, "install one with libx264, or use webp or gif")
        return out.read_bytes()
