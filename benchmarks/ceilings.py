"""What the machine can do at most, measured: matrix products a second and bytes moved a second."""

import time
from collections.abc import Callable

import torch

from benchmarks.sides import Task
from benchmarks.torch_sides import started


def best(work: Callable[[], object], where: torch.device, repeats: int = 5) -> float:
    """Seconds of the fastest of some calls."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        work()
        if where.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def measured(device: str, threads: int) -> Task:
    """A chain of matrix products (bfloat16 on a GPU, float32 on a CPU) and a large copy, as a task's facts."""
    where = started(device, threads)
    on_gpu = where.type == "cuda"
    side, links, dtype = (8192, 10, torch.bfloat16) if on_gpu else (2048, 2, torch.float32)
    one = torch.randn(side, side, device=where).to(dtype)
    other = torch.randn(side, side, device=where).to(dtype) / side**0.5

    def chain() -> torch.Tensor:
        product = one
        for _ in range(links):
            product = product @ other
        return product

    numbers = 2**30 if on_gpu else 2**26
    source = torch.ones(numbers, device=where)
    target = torch.empty_like(source)
    flops = 2 * side**3 * links / best(chain, where)
    moved = 2 * 4 * numbers / best(lambda: target.copy_(source), where)  # read and written
    return Task(lambda steps: None, {"flops": flops, "bytes": moved, "dtype": str(dtype).removeprefix("torch.")})
