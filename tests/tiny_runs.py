"""Runs in miniature: a generator of 16 x 16 pictures, the config around it, and launch.py as a user calls it."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from configs import demo
from latentjax import config as configs
from latentjax import networks, weights

ROOT = pathlib.Path(__file__).parent.parent
KIND = {"kind": "dcgan", "config": {"latent_dim": 6, "num_classes": 3, "widths": [16, 8]}}
MOVES = {"latent_dim": 6, "num_classes": 3, "noise_dim": 4, "noise_dim_y": 2, "class_reg": 1.0}
FIELDS = {
    # image_property.calibrate of 256 of its images, so that scores have room both ways
    "assessor.centre": 3.76,
    "assessor.slope": 5.33,
    "train.num_steps": 60,
    "train.batch_size": 4,
    "train.log_every": 10,
    "train.checkpoint_every": 20,
    "train.samples_every": 0,
    "evaluate.alphas": (-0.5, -0.25, 0.0, 0.25, 0.5),
    "evaluate.count": 3,
    "evaluate.batch_size": 2,
    "evaluate.before_train": False,
    "evaluate.after_train": False,
}


def generator_arrays(scale: float = 1.0) -> dict[str, np.ndarray]:
    """The tiny generator's weights; kernels of the usual initial size would give nearly flat pictures."""
    random = np.random.default_rng(0)
    sizes = {"input": 0.33, "convs": 0.12 * scale}
    arrays = {}
    for name, shape in sorted(weights.shapes_of(**KIND).items()):
        part, leaf = name.split("/")[0], name.split("/")[-1]
        kernel = random.normal(size=shape) * sizes[part] if leaf == "kernel" else None
        arrays[name] = np.float32(np.full(shape, leaf in ("scale", "var")) if kernel is None else kernel)
    return arrays


def save_generator(folder: pathlib.Path, scale: float = 1.0) -> str:
    """A model folder of the tiny generator."""
    weights.save(folder, generator_arrays(scale), **KIND, source={"file": "", "sha256": ""})
    return str(folder)


def save_transformer(folder: pathlib.Path, seed: int = 0, **config: Any) -> str:
    """A transformer folder; it was never trained, and moves the tiny generator's scores all the same."""
    record = {"kind": "transformer", "config": MOVES | config}
    arrays = weights.named(networks.LatentTransformer(weights.build(**record, seed=seed), record).state)
    weights.save(folder, arrays, **record, source={"file": "", "sha256": ""}, replace=True)
    return str(folder)


@contextlib.contextmanager
def shared_compilations(cache: pathlib.Path) -> Iterator[None]:
    """Every run in here, and in processes started in here, shares the caches of this folder."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = {flag: getattr(jax.config, flag) for flag in (name, "jax_compilation_cache_dir")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTJAX_CACHE", str(cache))
        patch.setenv(name.upper(), "0")
        jax.config.update(name, 0)
        compilation_cache.reset_cache()  # or the folder of the first user in this process stays
        yield
        for flag, value in before.items():
            jax.config.update(flag, value)
        compilation_cache.reset_cache()


def config(generator: str, **fields: Any) -> configs.ConfigDict:
    """The demo's config around the tiny generator; fields are written with two underscores for the dot."""
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    c = demo.get_config().lock()
    c.update_from_flattened_dict(FIELDS | {"generator.weights": generator} | changes)
    return c


def arguments(c: configs.ConfigDict, workdir: pathlib.Path, job: str = "train") -> list[str]:
    """The command line that gives this config."""
    start = configs.flatten(demo.get_config())
    fields = {name: value for name, value in configs.flatten(c).items() if value != start[name]}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return [f"--config={ROOT / 'configs' / 'demo.py'}", f"--workdir={workdir}", f"--job={job}", *flags]


def python(code: str, *words: str, devices: int = 1, timeout: float = 300) -> subprocess.CompletedProcess:
    """A new Python in the repository, with this many virtual CPU devices."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    if devices > 1:
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)


def saved_state(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """Name to array of one checkpoint, read without latentjax."""
    with ocp.StandardCheckpointer() as checkpointer:
        return jax.device_get(checkpointer.restore((workdir / "checkpoints" / str(step) / "default").absolute()))


def metrics(workdir: pathlib.Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def exported(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Name to array of the run's transformer, through the public loader."""
    return {name: np.asarray(array) for name, array in weights.named(networks.load_transformer(workdir).state).items()}


def kill(command: list[str], is_time: Callable[[float], bool]) -> None:
    """kill -9 when it is time, asked with the seconds since the start, unless the command ended well before."""
    start = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not is_time(time.monotonic() - start):
            time.sleep(0.001)
        process.kill()
        _, told = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), told


def size(file: pathlib.Path) -> int:
    """Of a file that may not be there yet."""
    return os.path.getsize(file) if file.exists() else 0
