"""The PyTorch sides of the training step: as published, tuned, and rewritten as ours is."""

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import tuned_torch
from benchmarks.random_weights import TRANSFORMER, Files
from benchmarks.sides import Task
from converters.oracles import biggan, efficientnet
from converters.oracles.radam import RAdam
from converters.oracles.training import training_step
from converters.oracles.transformer import Transformer
from latentjax.errors import InputError

COMPILE_LIMIT = 400  # seconds for torch.compile; measured: 194 at 128 pixels on one busy CPU core
Step = Callable[[], Any]


def started(device: str, threads: int) -> torch.device:
    """The device, with PyTorch's threads and seed set.

    Raises:
        InputError: there is no GPU.
    """
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    if device == "gpu" and not torch.cuda.is_available():
        raise InputError("--device", "is gpu, and PyTorch sees none", "use cpu, or install PyTorch for CUDA")
    return torch.device("cuda" if device == "gpu" else "cpu")


def task(step: Step, device: torch.device, **facts: Any) -> Task:
    """A step as a side's task."""

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    if device.type != "cuda":
        return Task(run, {"device": None, **facts})
    # what its allocator holds the other sides could not have
    tidy, peak = torch.cuda.empty_cache, torch.cuda.max_memory_allocated
    return Task(run, {"device": torch.cuda.get_device_name(), **facts}, tidy, peak)


def loaded(module: torch.nn.Module, folder: str) -> Any:
    """An oracle with the random weights."""
    module.load_state_dict(torch.load(Files.torch(folder), weights_only=True))
    return module


def oracles(files: Files) -> tuple[biggan.BigGAN, efficientnet.EfficientNet, Transformer]:
    """Generator, assessor and transformer under their published names."""
    generator = loaded(biggan.BigGAN(files.size, channels=files.channels), files.generator)
    assessor = loaded(efficientnet.EfficientNet(files.variant, num_classes=2), files.assessor)
    transformer = loaded(Transformer(generator.latent_dim, generator.num_classes, kind=TRANSFORMER), files.transformer)
    return generator, assessor, transformer


def drawn(transformer: Transformer, batch: int, alphas: int, device: torch.device) -> dict[str, torch.Tensor]:
    """What a step draws."""
    labels = torch.randint(transformer.num_classes, (batch,), device=device)
    rows = batch * alphas
    return {
        "z": torch.randn(batch, transformer.latent_dim, device=device),
        "y": F.one_hot(labels, transformer.num_classes).float(),
        "alpha": torch.rand(rows, device=device) - 0.5,
        "noise_z": torch.randn(rows, transformer.noise_dim, device=device),
        "noise_y": torch.randn(rows, transformer.noise_dim_y, device=device),
    }


def published(files: Files, device: str, threads: int, batch: int, alphas: int) -> Task:
    """The published step: spectral norms at every forward, a graph of the first pass too, one alpha a latent."""
    where = started(device, threads)
    generator, assessor, transformer = (module.to(where) for module in oracles(files))
    optimizer = RAdam(transformer.parameters())

    def assess(images: torch.Tensor) -> torch.Tensor:
        return efficientnet.assess(assessor, images)[1]

    def step() -> None:
        # it knows one alpha a latent: as many samples need as many latents
        draws = drawn(transformer, batch * alphas, 1, where)
        training_step(generator, assess, transformer, optimizer, **draws)

    return task(step, where)


def tuned_step(
    generate: Callable[..., torch.Tensor],
    assess: Callable[..., torch.Tensor],
    transformer: Transformer,
    optimizer: torch.optim.Optimizer,
    draws: dict[str, torch.Tensor],
    low_precision: bool = False,
) -> torch.Tensor:
    """One step; the unedited pass keeps no graph and is shared by a latent's alphas. Returns the loss."""
    z, y = draws["z"], draws["y"]
    alphas = len(draws["alpha"]) // len(z)
    cast = functools.partial(torch.autocast, z.device.type, torch.bfloat16, enabled=low_precision)
    with torch.no_grad(), cast():
        target = assess(generate(z, y)).repeat_interleave(alphas) + draws["alpha"]
    start = z.repeat_interleave(alphas, 0), y.repeat_interleave(alphas, 0)
    moved = transformer(*start, draws["alpha"], draws["noise_z"], draws["noise_y"])
    with cast():
        scores = assess(generate(*moved))
    loss = (scores - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in a block that takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def timed(step: Step, device: torch.device) -> float:
    """Seconds of one call."""
    started_at = time.perf_counter()
    task(step, device).run(1)
    return time.perf_counter() - started_at


def faster(eager: Step, compiled: Step, device: torch.device) -> tuple[Step, dict[str, Any]]:
    """The faster of the two by one call each, after a first one, and what is to be told of it."""
    facts: dict[str, Any] = {"compiled": False}
    timed(eager, device)
    try:
        with limited(COMPILE_LIMIT):
            facts["torch_compile_seconds"] = timed(compiled, device)
            timed(compiled, device)
            facts |= {"eager_call_seconds": timed(eager, device), "compiled_call_seconds": timed(compiled, device)}
    except Exception as error:  # whatever torch.compile raises on this machine
        facts["torch_compile_error"] = f"{type(error).__name__}: {error}"[:300]
        return eager, facts
    facts["compiled"] = facts["compiled_call_seconds"] < facts["eager_call_seconds"]
    return (compiled if facts["compiled"] else eager), facts


def tuned(
    files: Files, device: str, threads: int, batch: int, alphas: int, compiling: bool = True, rewritten: bool = False
) -> Task:
    """Our best PyTorch step: see `tuned_torch`; on a GPU under autocast to bfloat16, with cuDNN's own search."""
    where = started(device, threads)
    low_precision = where.type == "cuda"
    torch.backends.cudnn.benchmark = True
    oracle, classifier, transformer = oracles(files)
    with torch.no_grad():
        generator = tuned_torch.Generator(oracle, rewritten).to(where)
        assessor = tuned_torch.Assessor(classifier).to(where)
    transformer = transformer.to(where)
    optimizer = RAdam(transformer.parameters())

    def step_of(generate: Callable[..., Any], assess: Callable[..., Any]) -> Step:
        def step() -> torch.Tensor:
            draws = drawn(transformer, batch, alphas, where)
            return tuned_step(generate, assess, transformer, optimizer, draws, low_precision)

        return step

    eager = step_of(generator, assessor)
    if not compiling:
        return task(eager, where, compiled=False)
    compiled = step_of(torch.compile(generator, dynamic=False), torch.compile(assessor, dynamic=False))
    step, facts = faster(eager, compiled, where)
    return task(step, where, **facts)
