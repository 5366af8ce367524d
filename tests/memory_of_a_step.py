"""Prints how many bytes the plan of a step says, and how many its run takes: run in a process of its own."""

import pathlib

import jax
import jax.numpy as jnp

from configs import creativity
from latentjax import distributed, optimizers
from latentjax.jobs import plan, train, workbench


def memory(field: str) -> int:
    """VmRSS or VmHWM, bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Runs one step of BigGAN-128 at batch 2."""
    config = creativity.get_config("biggan128")
    config.train.batch_size = 2
    mesh = distributed.data_mesh()
    planned = plan.compiled(config, mesh)
    bench = plan.bench_for(config, mesh)
    transformer = workbench.new_transformer(bench)
    chain = optimizers.optimizer(config.train)
    state = train.initial_state(transformer.state, chain)
    frozen = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), bench.frozen)
    state, frozen = jax.device_put((state, frozen), distributed.replicated(mesh))
    step = train.compiled_step(bench, transformer, chain).lower(state, frozen).compile()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    jax.block_until_ready(step(state, frozen))
    print(planned.memory, planned.arguments + memory("VmHWM") - before)


if __name__ == "__main__":
    main()
