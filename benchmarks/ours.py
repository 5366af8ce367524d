"""latentjax's sides: the jobs' own compiled programs, fed with the same random weights as PyTorch's."""

import functools
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.random_weights import Files
from benchmarks.sides import Task


class Fields(types.SimpleNamespace):
    """As much of ml_collections' ConfigDict as configs/default.py and the jobs' networks need."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def items(self) -> Iterable[tuple[str, Any]]:
        """The fields and their values."""
        return vars(self).items()

    def update_from_flattened_dict(self, fields: dict[str, Any]) -> None:
        """Sets fields by their dotted names."""
        for path, value in fields.items():
            *parents, name = path.split(".")
            setattr(functools.reduce(getattr, parents, self), name, value)


def config_of(fields: dict[str, Any]) -> Any:
    """configs/creativity.py with other fields; also on machines that lack ml_collections."""
    if importlib.util.find_spec("ml_collections") is None:
        stand_in: Any = types.ModuleType("ml_collections")
        stand_in.config_dict = types.SimpleNamespace(ConfigDict=Fields, placeholder=lambda kind: None)
        sys.modules["ml_collections"] = stand_in
    from configs import creativity

    config = creativity.get_config()
    config.update_from_flattened_dict(fields)
    return config


def bench_of(files: Files, device: str, forms: str, precision: str, folder: str, **fields: Any) -> Any:
    """The jobs' workbench; compiled programs are cached in `folder`, so that every benchmark compiles anew."""
    os.environ["LATENTJAX_CACHE"] = folder
    # the sides share the GPU's memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    config = config_of(
        {
            "platform": device,
            "forms": forms,
            "precision": precision,
            "generator.weights": files.generator,
            "assessor.weights": files.assessor,
            "transformer.weights": files.transformer,
        }
        | {name.replace("__", "."): value for name, value in fields.items()}
    )
    from latentjax.jobs import workbench

    return workbench.prepare(config, os.path.join(folder, "run"))


def task(run: Callable[[int], None], **facts: Any) -> Task:
    """A side's task, with the GPU's name and memory."""
    import jax

    found = jax.devices()[0]
    if found.platform != "gpu":
        return Task(run, {"device": None, **facts})
    peak = "peak_bytes_in_use"
    return Task(
        run, {"device": found.device_kind, **facts}, device_peak=lambda: (found.memory_stats() or {}).get(peak, 0)
    )


def train_step(
    files: Files,
    device: str,
    threads: int,
    forms: str,
    precision: str,
    batch: int,
    alphas: int,
    folder: str,
    changed: dict[str, str] | None = None,
) -> Task:
    """The training job's step, compiled ahead of time to read what its compiler counts; some forms may be `changed`."""
    fields = {"train__batch_size": batch, "train__alphas_per_latent": alphas}
    bench = bench_of(files, device, forms, precision, folder, **fields)
    import jax

    from latentjax import costs, distributed, optimizers
    from latentjax.forms import active, using
    from latentjax.jobs import train, workbench

    transformer = workbench.new_transformer(bench)
    chain = optimizers.optimizer(bench.config.train)
    state = train.initial_state(transformer.state, chain)
    state = jax.device_put(state, distributed.replicated(bench.mesh))
    started = time.perf_counter()
    written = active()._replace(**(changed or {}))
    with using(written):
        traced = train.compiled_step(bench, transformer, chain).trace(state, bench.frozen)
    compiled = traced.lower().compile()
    seconds = time.perf_counter() - started
    cost = compiled.cost_analysis() or {}
    facts = {
        "compile_seconds": seconds,
        "flops": cost.get("flops", 0.0) + costs.flops_of_further_rounds(traced.jaxpr.jaxpr),
        "bytes_accessed": cost.get("bytes accessed", 0.0),
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
        "forms": written._asdict(),
    }
    held = [state]

    def run(steps: int) -> None:
        for _ in range(steps):
            held[0], metrics = compiled(held[0], bench.frozen)
        jax.block_until_ready((held[0], metrics))

    return task(run, **facts)


def evaluate(
    files: Files, device: str, threads: int, forms: str, precision: str, count: int, batch: int, folder: str
) -> Task:
    """The evaluation job's sweep, its strips drawn and written in threads while it goes on."""
    import pathlib
    from concurrent.futures import ThreadPoolExecutor

    # the published script measures no objects
    fields = {"evaluate__batch_size": batch, "evaluate__count": count, "evaluate__masks": ""}
    bench = bench_of(files, device, forms, precision, folder, **fields)
    import jax

    from latentjax import distributed
    from latentjax.jobs import evaluation as job
    from latentjax.jobs import workbench
    from latentjax.report.strips import write

    transformer = workbench.new_transformer(bench)
    evaluation = job.Evaluation(bench, transformer)
    params = jax.device_put(transformer.state, distributed.replicated(bench.mesh))
    ours = pathlib.Path(folder) / "ours"
    for part in ("grids", "sprites"):
        (ours / part).mkdir(parents=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            with ThreadPoolExecutor(4) as pool:
                drawn = [
                    pool.submit(write, ours, swept, evaluation.alphas, None, evaluation.tile)
                    for swept in evaluation.sweep(params, evaluation.strips)
                ]
            for future in drawn:
                future.result()

    return task(run)


def assessor(
    files: Files, device: str, threads: int, forms: str, precision: str, batch: int, size: int, folder: str
) -> Task:
    """Scores and their gradient to the images."""
    bench = bench_of(files, device, forms, precision, folder)
    import jax

    from latentjax import networks

    scaled = networks.with_settings(bench.assessor.terms[0].assessor, image_size=size)

    @jax.jit
    def step(state: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        def total(images: jax.Array) -> tuple[jax.Array, jax.Array]:
            scores = scaled.apply(state, images)
            return scores.sum(), scores

        (_, scores), gradient = jax.value_and_grad(total, has_aux=True)(images)
        return scores, gradient

    state = bench.frozen.assessor[0]
    images = jax.random.uniform(jax.random.key(0), (batch, size, size, 3), minval=-1.0, maxval=1.0)
    started = time.perf_counter()
    compiled = step.lower(state, images).compile()
    seconds = time.perf_counter() - started

    def run(steps: int) -> None:
        for _ in range(steps):
            found = compiled(state, images)
        jax.block_until_ready(found)

    return task(run, compile_seconds=seconds)
