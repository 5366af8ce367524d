"""What a job costs at 8, 256 and 4,096 chips and at a billion images: the tables of docs/scale.md.

    python -m benchmarks.scale                              # what is arithmetic; seconds
    python -m benchmarks.scale --only=batch,noise,host      # what is measured, on this machine; half an hour
    python -m benchmarks.scale --only=plans                 # what is compiled for TPUs and never run; likewise

Plans need requirements-tpu.txt and no TPU, the measurements requirements-dev.txt and requirements-demo.txt.
"""

import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.scale_measured import REDUCED, batches, host, noise, row
from latentjax import command_line
from latentjax.errors import InputError

SAMPLES = 400_000 * 8  # of the paper's training
SHARE = 8  # samples a chip
BILLION, SHARD = 10**9, 10_000  # images in all, and in a shard


class Slice(NamedTuple):
    """A slice, what the plans say of it, and what its maker states of it."""

    topology: str
    chips: int
    cycles: float  # millions a sample of a step
    made: float  # likewise of generating an image
    scored: float  # likewise of an image of an evaluation
    clock: float  # cycles a second
    links: float  # bytes a second that a chip sends within the slice
    network: float  # and over the data centre's network, between slices
    cores: int  # virtual ones of the host, a chip
    chips_a_host: int = 4

    @property
    def step(self) -> float:
        """Seconds at least."""
        return SHARE * 1e6 * self.cycles / self.clock


SLICES = (
    Slice("v5e:2x4", 8, 13.92, 3.88, 6.39, 1.5e9, 200e9, 25e9 / 8, 28),
    Slice("v5e:16x16", 256, 13.92, 3.88, 6.39, 1.5e9, 200e9, 25e9 / 8, 28),
    Slice("v5p:16x16x16", 4096, 8.04, 2.02, 3.46, 1.75e9, 600e9, 50e9 / 8, 52),
)


class Recipe(NamedTuple):
    """How a slice makes a billion images: sets of the same size, one after another where not all fit at once."""

    slice: Slice
    chips: int  # of a process
    sets: int
    members: int = 1  # processes that share a set

    @property
    def images(self) -> int:
        """Of a set."""
        return -(-BILLION // self.sets)

    @property
    def most(self) -> int:
        """Images of the process that has most shards of a set."""
        return min(self.images, -(-self.images // SHARD // self.members) * SHARD)

    @property
    def in_turn(self) -> int:
        """Sets that a process takes part in."""
        return -(-self.sets * self.members * self.chips // self.slice.chips)

    def rates(self, chosen: Any) -> tuple[float, float, float]:
        """Images a second and process, at most: by its chips, by the cores that encode PNGs, by its writing thread."""
        cores = self.chips * self.slice.cores * chosen.png_per_second
        speed = chosen.core_speed
        return self.chips * self.slice.clock / 1e6 / self.slice.made, speed * cores, speed * chosen.shards_per_second

    def seconds(self, chosen: Any) -> tuple[float, float, float]:
        """Of a set: starting its processes, making the images of the busiest one, finishing the set."""
        finishing = self.images * chosen.finish_microseconds / 1e6 / chosen.core_speed
        return chosen.restart_seconds, self.most / min(self.rates(chosen)), finishing


def all_reduce_seconds(size: float, members: int, bandwidth: float) -> float:
    """Of `size` bytes, at least: each member sends all but its own part twice."""
    return 2 * (members - 1) / members * size / bandwidth


def interval(save: float, between: float) -> float:
    """Young's seconds from checkpoint to checkpoint, where a save takes some and failures are `between` apart."""
    return math.sqrt(2 * save * between)


def lost(save: float, between: float, every: float, restart: float) -> float:
    """The share of time that goes into saving, into work done twice and into starting again."""
    return save / every + (every / 2 + restart) / between


def rectified(step: int) -> float:
    """RAdam's factor of Adam's update; 0 in the first five steps, which it makes by momentum alone."""
    from latentjax.radam import rectifier_table

    factors, adaptive = rectifier_table(0.9, 0.999, step)
    return factors[-1] * (1 - 0.9**step) / math.sqrt(1 - 0.999**step) if adaptive[-1] else 0.0


def training(chosen: Any) -> None:
    """Steps, collectives and checkpoints, from the plans' figures above and what the reader assumes."""
    row("slice", "batch", f"steps of {SAMPLES:,} samples", "seconds, at least", "RAdam's factor at the last")
    for one in SLICES:
        steps = round(SAMPLES / SHARE / one.chips)
        row(one.topology, f"{SHARE * one.chips:,}", f"{steps:,}", f"{steps * one.step:,.0f}", f"{rectified(steps):.2f}")
    whole = ("whole, through a host's port, between two", "and among a thousand, ms")
    row("all-reduce", "step, ms", "in the slice, ms", "of the step", "a chip's part between two slices, ms", *whole)
    for one in SLICES:
        inside = all_reduce_seconds(REDUCED, one.chips, one.links)
        between = all_reduce_seconds(REDUCED / one.chips, 2, one.network)
        port = one.network * one.chips_a_host
        ports = (all_reduce_seconds(REDUCED, members, port) for members in (2, 1000))
        step, first, *shown = (f"{1e3 * seconds:.3f}" for seconds in (one.step, inside, between, *ports))
        row(one.topology, step, first, f"{inside / one.step:.2%}", *shown)
    row("checkpoints", "hosts", "hours between failures", "seconds between saves", "steps", "time lost")
    for one in SLICES:
        hosts = one.chips // one.chips_a_host
        between = 3600 * chosen.host_hours / hosts
        every = interval(chosen.save_seconds, between)
        gone = lost(chosen.save_seconds, between, every, chosen.restart_seconds)
        row(one.topology, hosts, f"{between / 3600:,.1f}", f"{every:,.0f}", f"{every / one.step:,.0f}", f"{gone:.2%}")


def images(chosen: Any) -> None:
    """What a million images cost to make, how long a billion take in sets, and what it costs to keep them."""
    row("a million images", "a second and chip, at most", "chip-hours", "price", "cores a chip for their PNGs")
    for one in SLICES[1:]:
        for name, cycles in (("generated", one.made), ("evaluated", one.scored)):
            rate = one.clock / 1e6 / cycles
            hours, cores = 1e6 / rate / 3600, f"{rate / chosen.png_per_second:.1f} of {one.cores}"
            price = f"{hours * chosen.price_per_chip_hour:.2f}"
            row(f"{one.topology}, {name}", f"{rate:.0f}", f"{hours:.2f}", price, cores)
    sizes = "sets", "sets in turn", "images a set", "the busiest process's", "chips at work"
    limits = "a second and process: chips, cores, shards", "a set's start, making, finish, s", "hours", "GB to finish"
    row("a billion, chips a process", *sizes, *limits)
    v5e, v5p = SLICES[1:]
    for recipe in (Recipe(v5e, 1, 256), Recipe(v5e, 4, 64), Recipe(v5e, 4, 1000, 64), Recipe(v5p, 1, 4096)):
        rates, seconds = recipe.rates(chosen), recipe.seconds(chosen)
        row(
            f"{recipe.slice.topology}, {recipe.chips}",
            f"{recipe.sets:,}",
            f"{recipe.in_turn:,}",
            f"{recipe.images:,}",
            f"{recipe.most:,}",
            f"{recipe.images / recipe.members / recipe.most:.0%}",
            ", ".join(f"{rate:,.0f}" for rate in rates),
            ", ".join(f"{second:,.0f}" for second in seconds),
            f"{recipe.in_turn * sum(seconds) / 3600:.2f}",
            f"{recipe.images * chosen.finish_bytes / 1e9:.1f}",
        )
    row("a billion images", "terabytes", "a month")
    for name, size in (("PNG", chosen.png_bytes), ("JPEG", chosen.jpeg_bytes)):
        row(f"{name} of {size:,}", f"{size / 1e3:,.0f}", f"{size * chosen.price_per_gb_month:,.0f}")


def plans(_: Any) -> None:
    """Compiles generation and evaluation for the chips of one host; a step is compiled by --job=plan."""
    import jax

    from latentjax import costs

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_matmul_precision", "highest")
    row("images", "million cycles each", "GFLOP", "GB", "collectives")
    for topology in ("v5e:2x2", "v5p:2x2x1"):
        for name, count, traced in forward(topology):
            program = traced.lower().compile()
            text, cost = program.as_text(), program.cost_analysis()
            figures = costs.estimated_cycles(text) / 1e6, cost["flops"] / 1e9, cost["bytes accessed"] / 1e9
            row(f"{topology}, {name}", *(f"{figure / count:.2f}" for figure in figures), costs.collectives(text))


def forward(topology: str) -> Iterator[tuple[str, int, Any]]:
    """Names, images a chip and traced programs of what makes images of 512 pixels in --job=generate and =evaluate."""
    import jax
    import jax.numpy as jnp

    from configs import creativity
    from latentjax import distributed, forms, pictures
    from latentjax.jobs import plan, workbench
    from latentjax.jobs.sweep import Measures, Sweep
    from latentjax.topologies import devices_of

    mesh = distributed.data_mesh(devices_of(topology)[0])
    bench = plan.bench_for(creativity.get_config(), mesh)
    transformer, share = workbench.new_transformer(bench), bench.config.generate.batch_size

    def rows(count: int, *widths: int) -> tuple[Any, ...]:
        sharding = distributed.by_row(mesh)
        return tuple(jax.ShapeDtypeStruct((count, width), jnp.float32, sharding=sharding) for width in widths)

    with forms.using("tpu"):
        options = distributed.compiler_options(mesh)
        program = jax.jit(lambda *args: pictures.to_uint8(bench.generate(*args)), compiler_options=options)
        yield "generated", share, program.trace(bench.frozen.generator, *rows(share * mesh.size, 128, 1000))
        sweep = Sweep(bench, transformer, Measures(bench))
        moved = (*rows(sweep.batch, 128, 1000), rows(sweep.batch, *transformer.noise_dims))
        params, direction = plan.placed(transformer.state, mesh), jax.ShapeDtypeStruct((), jnp.int32)
        images = len(sweep.alphas) * sweep.batch // mesh.size
        yield "evaluated", images, sweep._compiled.trace(params, bench.frozen, moved, direction)


ARITHMETIC = "training,images"
GROUPS = {"training": training, "images": images, "batch": batches, "noise": noise, "host": host, "plans": plans}
ASSUMED = {
    "price-per-chip-hour": (1.0, "in any currency"),
    "price-per-gb-month": (0.02, "of storage"),
    "host-hours": (5000.0, "from one failure or preemption of a host to its next"),
    "save-seconds": (1.0, "that a checkpoint stops training for"),
    "restart-seconds": (300.0, "from a failure to the next step, or from a start to the first image"),
    "png-bytes": (523_104, "of an image"),
    "jpeg-bytes": (174_281, "of an image"),
    "png-per-second": (30.0, "that a core encodes"),
    "shards-per-second": (1000.0, "images that a process writes into shards"),
    "finish-microseconds": (13.9, "an image, to finish a set"),
    "finish-bytes": (1211, "of memory an image, to finish a set"),
    "core-speed": (0.5, "of a host's virtual core, the measured ones' being 1; where sets are made"),
}


def main(words: list[str]) -> None:
    """Prints the tables asked for.

    Raises:
        InputError: a flag is wrong, or something that a table needs is not installed.
    """
    parser = command_line.Parser("python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--only", default="training,images", help=f"some of {','.join(GROUPS)} (default training,images)"
    )
    for name, (value, meaning) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{meaning} (default {value})")
    chosen = parser.parse_args(words)
    for group in chosen.only.split(","):
        if group not in GROUPS:
            raise InputError("--only", f"{group!r} is unknown", f"use some of {','.join(GROUPS)}")
        GROUPS[group](chosen)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
