"""What docs/scale.md measures on this machine: how far a batch can grow, and what a host's cores do.

    python -m benchmarks.scale --only=batch,noise,host

Needs requirements-dev.txt and requirements-demo.txt.
"""

import dataclasses
import functools
import itertools
import math
import os
import pathlib
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

REDUCED = 8_392_204  # bytes of the gradient's all-reduce, by the plans


def row(*cells: object) -> None:
    """Prints a line of a table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def noise_scale(gradients: np.ndarray) -> float:
    """tr(covariance) / |mean|^2 of single latents' gradients [n, P], without the mean's own noise; inf where all is."""
    mean = gradients.mean(0)
    spread = ((gradients - mean) ** 2).sum() / (len(gradients) - 1)
    square = mean @ mean - spread / len(gradients)
    return spread / square if square > 0 else math.inf


class Job:
    """The demo's job around a generator: painted eyes, or the tests' of 16 x 16 pixels and random weights."""

    def __init__(self, eyes: bool, folder: pathlib.Path):
        from configs import demo
        from latentjax.jobs import workbench
        from tests import tiny_runs

        config = demo.get_config() if eyes else tiny_runs.config(tiny_runs.save_generator(folder / "generator"))
        config.platform = "cpu"
        self.bench = workbench.prepare(config.unlock(), str(folder / "run"))
        self.transformer = workbench.new_transformer(self.bench)
        self.nets, self.frozen = self.bench.networks(self.transformer), self.bench.frozen

    def draws(self, latents: int, alphas: int = 1) -> Callable[[Any], Any]:
        """step -> what a step of so many latents and alphas draws."""
        from latentjax.jobs import train

        config = self.bench.config.copy_and_resolve_references()
        config.train.batch_size, config.train.alphas_per_latent = latents, alphas
        return train.draws_of(dataclasses.replace(self.bench, config=config), self.transformer)

    def images(self, count: int) -> list[np.ndarray]:
        """Of sampled latents [R, R, 3] uint8."""
        from latentjax import pictures

        draws = self.draws(count)(0)
        return list(np.asarray(pictures.to_uint8(self.bench.generate(self.frozen.generator, draws["z"], draws["y"]))))

    def stepper(self, latents: int, alphas: int = 1) -> Callable[..., Any]:
        """(rate, samples, seed) -> params, by RAdam; compiled once for all rates and seeds."""
        import jax

        from latentjax.jobs import train
        from latentjax.radam import radam

        draw = self.draws(latents, alphas)

        @jax.jit
        def step(state: Any, frozen: Any, rate: Any, offset: Any) -> Any:
            return train.make_step(self.nets, radam(rate), lambda n: draw(n + offset), clip=False)(state, frozen)[0]

        def learned(rate: float, samples: int, seed: int) -> Any:
            state = train.initial_state(self.transformer.state, radam(0.0))
            for _ in range(samples // (latents * alphas)):
                state = step(state, self.frozen, rate, seed * 10_000_000)
            return state.params

        return learned

    @functools.cached_property
    def held_out(self) -> Callable[[Any], float]:
        """params -> the loss of 4,096 draws that no step makes."""
        import jax

        from latentjax import objective

        draw = self.draws(256)
        loss = jax.jit(lambda params, frozen, n: objective.loss(self.nets, params, frozen, draw(n))[0])
        return lambda params: float(np.mean([loss(params, self.frozen, 2_000_000_000 + n) for n in range(16)]))

    def gradients(self, params: Any, count: int, alphas: int = 1) -> np.ndarray:
        """The gradient of each of `count` latents [count, P]."""
        import jax
        from jax.flatten_util import ravel_pytree

        from latentjax import objective

        draw = self.draws(1, alphas)

        @jax.jit
        def one(params: Any, frozen: Any, n: Any) -> Any:
            return ravel_pytree(jax.grad(lambda p: objective.loss(self.nets, p, frozen, draw(n))[0])(params))[0]

        return np.stack([np.asarray(one(params, self.frozen, 1_500_000_000 + n), float) for n in range(count)])


@functools.cache
def job(eyes: bool) -> Job:
    """Either job; its folder is not needed any more when it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        return Job(eyes, pathlib.Path(folder))


def batches(_: Any) -> None:
    """Held-out loss after the same samples by batch and learning rate, the means of three seeds."""
    tiny, base, samples = job(False), 0.005, 65_536
    print(f"held-out loss, untrained {tiny.held_out(tiny.transformer.state):.4f}; {samples:,} samples")
    row("latents x alphas", "steps", "linear: rate, loss", "root: rate, loss", "best: rate, loss")
    for latents, alphas in ((4, 1), (16, 1), (64, 1), (256, 1), (1024, 1), (4096, 1), (64, 4)):
        learned, level = tiny.stepper(latents, alphas), round(math.log(latents * alphas / 4, 4))
        losses = {}
        for power in range(-1, 2 * level + 2):
            rate = base * 2.0**power
            losses[rate] = float(np.mean([tiny.held_out(learned(rate, samples, seed)) for seed in range(3)]))
        rates = base * 4.0**level, base * 2.0**level, min(losses, key=lambda rate: losses[rate])
        shown = [f"{rate:.3g}, {losses[rate]:.4f}" for rate in rates]
        row(f"{latents} x {alphas}", samples // (latents * alphas), *shown)


def noise(_: Any) -> None:
    """The noise scale in latents along training, for one and for four alphas a latent."""
    row("noise scale, latents", "trained on", "1 alpha", "4 alphas")
    for eyes, count, rate, lengths in ((False, 2048, 0.01, (0, 4096, 65_536)), (True, 128, 0.01, (0, 800))):
        learned = job(eyes).stepper(16)
        for samples in lengths:
            params = learned(rate, samples, 0)
            found = [noise_scale(job(eyes).gradients(params, count, alphas)) for alphas in (1, 4)]
            row("painted eyes" if eyes else "tiny", f"{samples:,} samples", *(f"{scale:,.0f}" for scale in found))


def host(_: Any) -> None:
    """What a core of this machine does: encodes pictures, writes shards, saves a checkpoint."""
    from PIL import Image

    from latentjax import pictures

    row("pictures", "bytes as PNG", "bytes a pixel", "a second and core", "as JPEG of quality 90", "a second and core")
    kinds = {"painted eyes, 128 pixels": job(True).images(64), "BigGAN-512, random weights": random_biggan()}
    for name, images in kinds.items():
        (png, rate), (jpeg, rate_of_jpeg) = (encoding(images, ending) for ending in ("png", "jpeg"))
        row(
            name,
            f"{png:,.0f}",
            f"{png / images[0][..., 0].size:.2f}",
            f"{rate:.0f}",
            f"{jpeg:,.0f}",
            f"{rate_of_jpeg:.0f}",
        )
    pngs = [pictures.encoded(Image.fromarray(image), "png") for image in kinds["BigGAN-512, random weights"]]
    with tempfile.TemporaryDirectory() as folder:
        beside, rate = sharding(pngs, pathlib.Path(folder) / "sharded")
        print(f"a shard: {beside:.0f} bytes an image beside its PNG; {rate:,.0f} images a second and process")
        print(f"a set: {finishing(pathlib.Path(folder) / 'finished')}")
        print(f"a checkpoint: {saved(pathlib.Path(folder) / 'checkpoints')}")


def encoding(images: list[np.ndarray], ending: str) -> tuple[float, float]:
    """Bytes of an image, and images a second and core."""
    from PIL import Image

    from latentjax import pictures

    started = time.process_time()
    found = [len(pictures.encoded(Image.fromarray(image), ending)) for image in images]
    return float(np.mean(found)), len(found) / (time.process_time() - started)


def drawn(folder: pathlib.Path, count: int) -> tuple[Any, Iterator[Any]]:
    """A set of one process in array_record, and its pictures, whose latents nobody looks into."""
    from types import SimpleNamespace

    from latentjax import generated, latents

    settings = SimpleNamespace(format="array_record", shard_size=10_000, jpeg_quality=90)
    facts = {"generator": "0" * 64, "transformer": None, "alphas": []}
    z = y = np.zeros(1)
    points = (latents.Latent(f"seed2-{i:06d}", z, y, {"seed": 2, "index": i}) for i in range(count))
    made = generated.GeneratedSet(folder, facts, count, settings, (0, 1))
    return made, (generated.Picture(i, point) for i, point in enumerate(points))


def sharding(pngs: list[bytes], folder: pathlib.Path) -> tuple[float, float]:
    """Bytes an image beside its PNG, and images a second that a process writes when encoding them takes no time."""
    from unittest import mock

    from latentjax import pictures, shards

    count, image, rates = 125 * len(pngs), np.zeros((512, 512, 3), np.uint8), []
    file, endless = folder / shards.file_name(0), itertools.cycle(pngs)

    def encoded(*_: Any) -> bytes:
        return next(endless)

    for _ in range(5):
        made, wanted = drawn(folder, count)
        made.open()
        with mock.patch.object(pictures, "encoded", encoded):
            started = time.perf_counter()
            made.write(((picture, image) for picture in wanted), 64)
            rates.append(count / (time.perf_counter() - started))
        beside = file.stat().st_size / count - float(np.mean([len(png) for png in pngs]))
        file.unlink()  # a virtual machine's first touch of memory costs more than writing; a long run reuses its pages
    return beside, float(np.median(rates))


def finishing(folder: pathlib.Path) -> str:
    """What writing the manifest of a set takes an image: time and memory."""
    count, image = 100_000, np.zeros((1, 1, 3), np.uint8)
    made, wanted = drawn(folder, count)
    made.open()
    made.write(((picture, image) for picture in wanted), 64)
    started = time.process_time()
    made.finish()
    seconds = time.process_time() - started
    tracemalloc.start()  # slows it down
    made.finish()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    line = made.manifest.stat().st_size / count
    return f"finished in {1e6 * seconds / count:.1f} us and {most / count:,.0f} bytes an image; a line has {line:.0f}"


def random_biggan() -> list[np.ndarray]:
    """Pictures of a BigGAN-512 of the published width."""
    import jax

    from benchmarks import random_weights
    from latentjax import latents, networks, pictures

    with random_weights.files(None, sorted(os.sched_getaffinity(0)), size=512) as made:
        generator = networks.load_generator(made.generator)
    z, y = latents.sample_z(jax.random.key(0), 8, 128), latents.sample_y(jax.random.key(1), 8, 1000, "onehot")
    return [np.asarray(pictures.to_uint8(generator(z[i : i + 1], y[i : i + 1])))[0] for i in range(8)]


def saved(folder: pathlib.Path) -> str:
    """How large a checkpoint of BigGAN-512's map is, and how long saving it takes here."""
    import jax

    from latentjax.checkpoints import Checkpoints

    # the map and its two moments; zeros would be compressed to nothing
    state = {str(i): jax.random.normal(jax.random.key(i), (REDUCED // 4,)).block_until_ready() for i in range(3)}
    checkpoints, started = Checkpoints(folder, 2), time.perf_counter()
    checkpoints.save(1, state, 0.0)
    held_up = time.perf_counter() - started
    checkpoints.close()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return (
        f"{size:,} bytes; training stops for {held_up:.2f} s, it is there after {time.perf_counter() - started:.2f} s"
    )
