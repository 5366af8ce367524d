"""Compiles the training step of a config for a TPU slice that need not be there, or for the devices that are.

Nothing runs and no weights are needed: shapes are enough for the compiler to say what fits, and how long it takes at
least.
"""

import logging as std_logging
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
from absl import logging

from latentjax import class_vectors, costs, distributed, forms, latents, networks, precision, remote, weights
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.jobs import train, workbench
from latentjax.objective import Frozen
from latentjax.optimizers import optimizer
from latentjax.terms import Term, Terms
from latentjax.topologies import Chip, devices_of, memory_of

GIB = 2**30
# what stands in for weights that are not there
STAND_INS = {
    "generator": {f"biggan{size}": ("biggan", {"resolution": size, "num_classes": 1000}) for size in (128, 256, 512)},
    "assessor": {f"efficientnet-b{i}": ("efficientnet", {"variant": f"b{i}", "num_classes": 2}) for i in range(8)},
}
QUICKLY = {"exec_time_optimization_effort": -1.0, "xla_tpu_scoped_vmem_limit_kib": "16384"}
ON_CPU = 1.1  # measured: its runtime allocates 7 to 20 % of the compiler's temporaries beside them
ENOUGH = 8  # samples a chip; with fewer the layouts change and copies appear (BENCHMARKS.md)


class Plan(NamedTuple):
    """What the compiler says of one step, each figure of one device."""

    samples: int
    arguments: int  # bytes: weights, training state
    temporaries: int  # bytes
    code: int  # bytes
    flops: float
    bytes: float  # of attention in parts, those of one part
    cycles: float  # estimated by the TPU's compiler; 0 elsewhere, and when it compiled quickly
    collectives: dict[str, tuple[int, int]]  # kind to how many and their bytes
    joined: int = 1  # hosts that one collective joins at most

    @property
    def memory(self) -> int:
        """Bytes that the step needs."""
        return self.arguments + self.temporaries + self.code


def abstract(name: str, stand_in: str, role: str) -> networks.Network:
    """A network without weights: by the model folder where it is there, else by the architecture named.

    Raises:
        InputError: neither is known.
    """
    if name.startswith("embedded:"):
        return networks.load(name, role)
    if remote.is_remote(name) or os.path.exists(name):
        record = weights.read_record(name, role)
        return networks.HANDLES[role](weights.abstract_of(name, record), record)
    if stand_in not in STAND_INS[role]:
        what = f"{stand_in!r} is no {role}'s architecture" if stand_in else f"is not set, and {name!r} is not there"
        raise InputError(f"config.plan.{role}", what, f"use one of {', '.join(STAND_INS[role])}")
    kind, config = STAND_INS[role][stand_in]
    return networks.HANDLES[role](weights.abstract(kind, config), {"kind": kind, "config": config})


def bench_for(config: ConfigDict, mesh: jax.sharding.Mesh) -> workbench.Workbench:
    """The job's tools with shapes in place of weights."""
    settings = config.plan
    generator: Any = abstract(config.generator.weights, settings.generator, "generator")
    if config.assessor.terms:
        assessor = workbench.scoring(config.assessor)
    else:
        single: Any = abstract(config.assessor.weights, settings.assessor, "assessor")
        scored = networks.scored(single, config.assessor.weights, **workbench.scoring_settings(config.assessor))
        assessor = Terms([Term("score", scored, 1.0, False)])
    classes = class_vectors.parse(config.latents.classes, generator.num_classes)
    latents.check_truncation(config.latents.truncation)
    train.check_clip(config.train, assessor)
    frozen = Frozen(generator.state, assessor.state)
    if precision.chosen(config.precision, mesh) == "bfloat16":
        frozen = jax.eval_shape(precision.in_bfloat16, frozen)
    nowhere: Any = None  # a plan writes nothing
    return workbench.Workbench(config, nowhere, mesh, generator, classes, assessor, placed(frozen, mesh))


def placed(tree: Any, mesh: jax.sharding.Mesh) -> Any:
    """Shapes, one copy on every device."""
    sharding = distributed.replicated(mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def traced(config: ConfigDict, mesh: jax.sharding.Mesh) -> Any:
    """The job's step, traced from shapes alone."""
    bench = bench_for(config, mesh)
    transformer = workbench.new_transformer(bench)
    chain = optimizer(config.train)
    state = placed(jax.eval_shape(lambda params: train.initial_state(params, chain), transformer.state), mesh)
    return train.compiled_step(bench, transformer, chain).trace(state, bench.frozen)


def compiled(config: ConfigDict, mesh: jax.sharding.Mesh, *, quickly: bool = False) -> Plan | None:
    """Compiles one step and reads what the compiler says of it; None where it says that memory does not suffice.

    Args:
        config, mesh: the job.
        quickly: for a TPU, with as little optimisation as its compiler knows; the memory is the same, to a hundredth.
    """
    step = traced(config, mesh)
    try:
        program = step.lower().compile(QUICKLY if quickly else None)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    memory, cost, text = program.memory_analysis(), program.cost_analysis(), program.as_text()
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    parts = config.train.micro_batches  # the compiler counts the body of a loop once
    more_flops = costs.flops_of_further_rounds(step.jaxpr.jaxpr, parts) / mesh.size
    return Plan(
        samples=config.train.batch_size * config.train.alphas_per_latent // mesh.size,
        arguments=memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes,
        temporaries=int(memory.temp_size_in_bytes * (ON_CPU if on_cpu else 1)),
        code=memory.generated_code_size_in_bytes,
        flops=parts * (cost.get("flops", 0.0) + more_flops),
        bytes=parts * cost.get("bytes accessed", 0.0),
        cycles=0.0 if quickly else costs.estimated_cycles(text),
        collectives=costs.collectives(text),
        joined=max((len(hosts_of(mesh.devices.flat[group])) for group in costs.groups(text, mesh.size)), default=1),
    )


def hosts_of(devices: Iterable[Any]) -> set[int]:
    """The processes, one a host, that the devices belong to."""
    return {device.process_index for device in devices}


def largest(config: ConfigDict, mesh: jax.sharding.Mesh, memory: float) -> int:
    """The most latents a device whose step fits into `memory` bytes; 0: not even one.

    To an eighth, or to the multiple of `ENOUGH` below: from there on only those are tried.

    A search between a number that fits and one that does not; memory grows by about as much a latent, which says where
    to try next.

    Args:
        config, mesh: the job.
        memory: of a device.
    """
    quickly, unit = mesh.devices.flat[0].platform == "tpu", config.train.micro_batches

    def needed(share: int) -> float:
        changed = config.copy_and_resolve_references()
        changed.train.batch_size = share * mesh.size
        plan = compiled(changed, mesh, quickly=quickly)
        found = plan.memory if plan else math.inf
        logging.info("%d latents a device need %s", share, f"{found / GIB:.2f} GiB" if found < math.inf else "too much")
        return found

    low, high, known = 0, math.inf, {0: 0.0}
    trial = ENOUGH * unit
    while True:
        known[trial] = needed(trial)
        low, high = (max(low, trial), high) if known[trial] <= memory else (low, min(high, trial))
        finite = sorted(share for share, size in known.items() if size < math.inf)
        # weights are no latent's: two that were compiled say more than one
        first, last = finite[1 if len(finite) > 2 else 0], finite[-1]
        slope = (known[last] - known[first]) / max(last - first, 1)
        guess = last + (0.95 * memory - known[last]) / max(slope, 1.0)
        end = min(guess, high)
        grain = ENOUGH * unit if low >= ENOUGH * unit else unit  # a TPU pads what is between
        if high - low <= grain or (low and end - low <= max(unit, end / 8)):
            return low
        if not low < guess < high:
            guess = (low + high) / 2
        elif low and first == 0:  # one point says little; a TPU pads, and powers of two least
            guess = unit * 2.0 ** round(math.log2(guess / unit))
        trial = min(max(round(guess / grain) * grain, low + grain), high - grain)


def told(plan: Plan, chip: Chip | None, memory: float | None) -> list[str]:
    """The plan's figures, a line each."""
    lines = [
        f"memory a device     {plan.memory / GIB:.2f} GiB: weights and state {plan.arguments / GIB:.2f}, "
        f"temporaries {plan.temporaries / GIB:.2f}, code {plan.code / GIB:.2f}"
        + (f"; of {memory / GIB:.0f} GiB it {'fits' if plan.memory <= memory else 'DOES NOT FIT'}" if memory else ""),
        f"operations          {plan.flops / plan.samples / 1e9:.1f} GFLOP and {plan.bytes / plan.samples / 1e9:.2f} GB "
        f"a sample, {plan.samples} samples a device",
    ]
    links = " by the slice's own links (ICI)" if chip else ""
    across = f", across {plan.joined} hosts{links}" if plan.joined > 1 else ""
    for kind, (count, size) in plan.collectives.items():
        lines.append(f"collective          {count} {kind} of {size / 1e6:.2f} MB in all{across}")
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


def run(config: ConfigDict, workdir: str | None) -> None:
    """Prints what the compiler says of the config's training step; writes nothing.

    Raises:
        InputError: the slice, an architecture or a field is wrong.
    """
    if config.plan.topology:
        config.platform = "any"  # whatever this machine is, it only compiles
        jax.config.update("jax_platforms", "cpu")  # else an installed libtpu is asked for the TPU that is not there
    workbench.start(config)
    devices, chip = devices_of(config.plan.topology)
    mesh = distributed.data_mesh(devices)
    written = "tpu" if chip and config.forms == "auto" else config.forms
    train.check_batch(config.train, mesh)
    std_logging.getLogger("jax").setLevel("ERROR")
    target, hosts = config.plan.topology or devices[0].platform, len(hosts_of(devices))
    several = f", {hosts} hosts" if hosts > 1 else ""
    target += f" ({len(devices)} x {devices[0].device_kind}{several})"
    memory, batch = memory_of(devices, chip), config.train.batch_size
    logging.info("compiling the training step for %s; minutes at most, and nothing will run", target)
    for role, stand_in in (("generator", config.plan.generator), ("assessor", config.plan.assessor)):
        name = config[role].weights
        if name and not name.startswith("embedded:") and not remote.is_remote(name) and not os.path.exists(name):
            logging.info("%s is not there: %s stands in for it", name, stand_in)
    with forms.using(written), ThreadPoolExecutor(1) as pool:
        step = pool.submit(compiled, config, mesh)
        most = largest(config, mesh, memory) if memory and config.plan.largest_batch else None
        plan = step.result()
    dtype = precision.chosen(config.precision, mesh)
    shares = f"{batch // mesh.size} a device" + (f", {mesh.size // hosts} devices a host" if several else "")
    print(f"Compiled for {target}, never run: {dtype}, batch {batch}, {shares}")
    if plan is None:
        print("memory a device     DOES NOT FIT, the compiler stopped; more config.train.micro_batches take less")
    else:
        print("\n".join(told(plan, chip, memory)))
        if chip:
            print(f"the run             {run_told(config, plan, chip, mesh.size)}")
    if most is not None:
        print(f"largest batch       {most * mesh.size} latents, {most} a device")
    if chip:
        print(few_told(config.train, mesh.size), end="")


def few_told(settings: ConfigDict, devices: int) -> str:
    """A warning where a chip works on too few samples at once, and a batch that is better; else nothing."""
    parts, alphas = settings.micro_batches, settings.alphas_per_latent
    at_once = settings.batch_size // devices // parts * alphas
    if at_once >= ENOUGH:
        return ""
    enough = math.ceil(ENOUGH / alphas) * parts * devices
    fewer = "fewer chips, fewer micro-batches" if parts > 1 else "fewer chips"
    return (
        f"warning: {at_once} samples a chip at once waste most of it (BENCHMARKS.md); {ENOUGH} or more are better: "
        f"--config.train.batch_size={enough}, or {fewer}, or more --config.train.alphas_per_latent\n"
    )


def run_told(config: ConfigDict, plan: Plan, chip: Chip, devices: int) -> str:
    """What all steps take at least, in time and, with a price, in money."""
    hours = config.train.num_steps * max(bounds_of(plan, chip).values()) / 3600
    price = config.plan.price_per_chip_hour
    cost = f", {hours * devices * price:.2f} at {price:g} a chip-hour" if price else ""
    return f"{config.train.num_steps} steps: at least {hours:.1f} h, {hours * devices:.1f} chip-hours{cost}"
