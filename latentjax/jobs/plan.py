"""Compiles the training step of a config for a TPU slice that need not be there, or for the devices that are.

Nothing runs and no weights are needed: shapes are enough for the compiler to say what fits, and how long it takes at
least.
"""

import contextlib
import logging as std_logging
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from latentjax import class_vectors, distributed, layers, networks, precision, weights
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs import train, workbench
from latentjax.objective import Frozen
from latentjax.terms import Term, Terms

GIB = 2**30


class Chip(NamedTuple):
    """What its maker states of a TPU chip."""

    memory: float  # GiB
    flops: float  # bfloat16, a second
    bandwidth: float  # bytes a second
    clock: float  # cycles a second, at which its matrix units reach `flops`


CHIPS = {
    "v4": Chip(32, 275e12, 1.228e12, 1.05e9),
    "v5e": Chip(16, 197e12, 0.819e12, 1.5e9),
    "v5p": Chip(95, 459e12, 2.765e12, 1.75e9),
    "v6e": Chip(32, 918e12, 1.64e12, 1.75e9),
}
# what stands in for weights that are not there
KINDS = {
    **{f"biggan{size}": ("biggan", {"resolution": size}) for size in (128, 256, 512)},
    **{f"efficientnet-b{i}": ("efficientnet", {"variant": f"b{i}"}) for i in range(8)},
}
ENOUGH = 8  # samples a chip; with fewer the layouts change and copies appear (BENCHMARKS.md)


class Plan(NamedTuple):
    """What the compiler says of one step, each figure of one device."""

    samples: int
    arguments: int  # bytes: weights, training state
    temporaries: int  # bytes
    code: int  # bytes
    flops: float
    bytes: float
    cycles: float  # estimated by the TPU's compiler; 0 elsewhere
    collectives: dict[str, tuple[int, int]]  # kind to how many and their bytes

    @property
    def memory(self) -> int:
        """Bytes that the step needs."""
        return self.arguments + self.temporaries + self.code


def devices_of(topology: str) -> tuple[list[Any], Chip | None]:
    """The devices to compile for: a named slice's, or those that are here.

    Raises:
        InputError: no such slice, or its compiler is not installed.
    """
    if not topology:
        return jax.devices(), None
    name = topology.partition(":")[0]
    if name not in CHIPS or not re.fullmatch(r"\w+:\d+(x\d+)*", topology):
        todo = f"write one such as v5e:2x4; known chips are {', '.join(CHIPS)}"
        raise InputError("config.plan.topology", f"{topology!r} is unknown", todo)
    from jax.experimental import topologies

    # else libtpu asks the cloud's metadata server what machine this is
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    try:
        with quiet_stderr():
            return topologies.get_topology_desc(topology, platform="tpu").devices, CHIPS[name]
    except Exception as error:  # libtpu's own errors have no common class
        if "libtpu" in str(error).lower() or "unknown backend" in str(error).lower():
            todo = "pip install -r requirements-tpu.txt (no TPU is needed)"
            raise InputError("config.plan.topology", "needs the TPU's compiler", todo) from error
        what = f"{topology!r} is no slice ({str(error).splitlines()[0][:120]})"
        raise InputError("config.plan.topology", what, "write one such as v5e:2x4") from error


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """libtpu tells on stderr that it finds no TPU, which is known."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def abstract(name: str, stand_in: str, role: str, num_classes: int) -> networks.Network:
    """A network without weights: by the model folder where it is there, else by the architecture named.

    Raises:
        InputError: neither is known.
    """
    if name.startswith("embedded:"):
        return networks.load(name, role)
    if pathlib.Path(name).exists():
        record = weights.read_record(name, role)
        kind, config = record["kind"], record["config"]
    elif stand_in in KINDS:
        kind, config = KINDS[stand_in]
        config = config | {"num_classes": num_classes}
    else:
        what = f"is not set, and {name or 'no weights'} cannot say the architecture"
        raise InputError(f"config.plan.{role}", what, f"use one of {', '.join(KINDS)}")
    return networks.HANDLES[role](weights.abstract(kind, config), {"kind": kind, "config": config})


def bench_for(config: ConfigDict, mesh: jax.sharding.Mesh) -> workbench.Workbench:
    """The job's tools with shapes in place of weights."""
    settings = config.plan
    generator: Any = abstract(config.generator.weights, settings.generator, "generator", 1000)
    if config.assessor.terms:
        assessor = workbench.scoring(config.assessor)
    else:
        single: Any = abstract(config.assessor.weights, settings.assessor, "assessor", 2)
        assessor = Terms([Term("score", single, 1.0, False)])
    classes = class_vectors.parse(config.latents.classes, generator.num_classes)
    frozen = Frozen(generator.state, assessor.state)
    if config.precision == "bfloat16":
        frozen = jax.eval_shape(precision.in_bfloat16, frozen)
    nowhere: Any = None  # a plan writes nothing
    return workbench.Workbench(config, nowhere, mesh, generator, assessor, classes, placed(frozen, mesh))


def placed(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Shapes, one copy on every device."""
    sharding = distributed.replicated(mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def compiled(config: ConfigDict, mesh: jax.sharding.Mesh) -> Plan:
    """Compiles one step and reads what the compiler says of it."""
    bench = bench_for(config, mesh)
    transformer = workbench.new_transformer(bench)
    chain = train.optimizer(config.train)
    opt_state = jax.eval_shape(chain.init, transformer.state)
    step: Any = jax.ShapeDtypeStruct((), jnp.int32)
    state = placed(train.TrainState(step, transformer.state, opt_state), mesh)
    program = train.compiled_step(bench, transformer, chain).lower(state, bench.frozen).compile()
    memory, cost, text = program.memory_analysis(), program.cost_analysis(), program.as_text()
    found = [float(cycles) for cycles in re.findall(r'"estimated_cycles":"(\d+)"', text)]
    return Plan(
        samples=config.train.batch_size * config.train.alphas_per_latent // mesh.size,
        arguments=memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=cost.get("flops", 0.0),
        bytes=cost.get("bytes accessed", 0.0),
        cycles=sum(found),
        collectives=collectives(text),
    )


def collectives(text: str) -> dict[str, tuple[int, int]]:
    """Kind to number and bytes of the collective operations of a compiled program."""
    sizes = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "f64": 8, "s8": 1, "u8": 1, "pred": 1}
    found: dict[str, tuple[int, int]] = {}
    pattern = r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
    for shapes, kind in re.findall(pattern, text):
        parts = re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        size = sum(sizes.get(dtype, 4) * int(np.prod([int(n) for n in dims.split(",") if n])) for dtype, dims in parts)
        count, total = found.get(kind, (0, 0))
        found[kind] = (count + 1, total + size)
    return found


def largest(config: ConfigDict, mesh: jax.sharding.Mesh, known: Plan, memory: float) -> tuple[int, Plan] | None:
    """The most latents a device whose step fits into `memory` bytes, and its plan, by bisection.

    Args:
        config, mesh: the job.
        known: the plan of the config itself.
        memory: of a device.
    """
    tried: dict[int, Plan | None] = {config.train.batch_size // mesh.size: known}

    def fits(share: int) -> bool:
        if share not in tried:
            logging.info("compiling for %d latents a device", share)
            changed = config.copy_and_resolve_references()
            changed.train.batch_size = share * mesh.size
            try:
                tried[share] = compiled(changed, mesh)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                tried[share] = None
        plan = tried[share]
        return plan is not None and plan.memory <= memory

    unit = config.train.micro_batches
    low, high = 0, config.train.batch_size // mesh.size
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(unit, high // 8):  # an eighth is near enough, and each try costs a compilation
        middle = (low + high) // 2 // unit * unit
        low, high = (middle, high) if fits(middle) else (low, middle)
    found = tried.get(low)
    return None if found is None else (low, found)


def told(plan: Plan, chip: Chip | None, memory: float | None) -> list[str]:
    """The plan's figures, a line each."""
    lines = [
        f"memory a device     {plan.memory / GIB:.2f} GiB: weights and state {plan.arguments / GIB:.2f}, "
        f"temporaries {plan.temporaries / GIB:.2f}, code {plan.code / GIB:.2f}"
        + (f"; of {memory / GIB:.0f} GiB it {'fits' if plan.memory <= memory else 'DOES NOT FIT'}" if memory else ""),
        f"operations          {plan.flops / plan.samples / 1e9:.1f} GFLOP and {plan.bytes / plan.samples / 1e9:.2f} GB "
        f"a sample, {plan.samples} samples a device",
    ]
    for kind, (count, size) in plan.collectives.items():
        lines.append(f"collective          {count} {kind} of {size / 1e6:.2f} MB in all")
    if plan.cycles:
        lines.append(f"estimated cycles    {plan.cycles / plan.samples / 1e6:.2f} million a sample")
    if chip:
        bounds = bounds_of(plan, chip)
        parts = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in bounds.items())
        lines.append(f"a step takes        at least {1e3 * max(bounds.values()):.1f} ms ({parts})")
    return lines


def bounds_of(plan: Plan, chip: Chip) -> dict[str, float]:
    """Seconds that a step takes at least, by what the chip is busy with."""
    return {
        "cycles": plan.cycles / chip.clock,
        "arithmetic": plan.flops / chip.flops,
        "memory traffic": plan.bytes / chip.bandwidth,
    }


def memory_of(devices: list[Any], chip: Chip | None) -> float | None:
    """Bytes of one device, where known."""
    if chip:
        return chip.memory * GIB
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if devices[0].platform == "cpu" else None


def run(config: ConfigDict, workdir: str | None) -> None:
    """Prints what the compiler says of the config's training step; writes nothing.

    Raises:
        InputError: the slice, an architecture or a field is wrong.
    """
    if config.plan.topology:
        jax.config.update("jax_platforms", "cpu")  # else an installed libtpu is asked for the TPU that is not there
    workbench.start(config)
    devices, chip = devices_of(config.plan.topology)
    mesh = distributed.data_mesh(devices)
    layers.choose("tpu" if chip and config.forms == "auto" else config.forms)
    train.check_batch(config.train, mesh)
    std_logging.getLogger("jax").setLevel("ERROR")
    target = f"{config.plan.topology or devices[0].platform} ({len(devices)} x {devices[0].device_kind})"
    memory, batch = memory_of(devices, chip), config.train.batch_size
    logging.info("compiling the training step for %s; nothing will run", target)
    plan = compiled(config, mesh)
    print(f"Compiled for {target}, never run: {config.precision}, batch {batch}, {batch // mesh.size} a device")
    print("\n".join(told(plan, chip, memory)))
    if chip:
        seconds = config.train.num_steps * max(bounds_of(plan, chip).values())
        hours, price = seconds / 3600, config.plan.price_per_chip_hour
        cost = f", {hours * mesh.size * price:.2f} at {price:g} a chip-hour" if price else ""
        total = f"at least {hours:.1f} h, {hours * mesh.size:.1f} chip-hours{cost}"
        print(f"the run             {config.train.num_steps} steps: {total}")
    best = largest(config, mesh, plan, memory) if memory and config.plan.largest_batch else None
    if best:
        share, other = best
        print(f"largest batch       {share * mesh.size}, {share} a device, found by compiling:")
        print("\n".join(f"  {line}" for line in told(other, chip, memory)))
    if chip and plan.samples < ENOUGH:
        enough = ENOUGH // config.train.alphas_per_latent * mesh.size
        print(
            f"warning: {plan.samples} samples a chip waste most of it; {ENOUGH} or more are better: "
            f"--config.train.batch_size={enough}, or fewer chips, or --config.train.alphas_per_latent"
        )
