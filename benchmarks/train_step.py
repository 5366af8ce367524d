"""The training step beside PyTorch's: as published, tuned, and rewritten as ours is.

    python -m benchmarks.train_step --size=512 --batch=2 --json=train_step.json
    python -m benchmarks.train_step --device=gpu --precision=bfloat16 --batch=8

Random weights of the published architectures (BigGAN, EfficientNet-B0, the paper's map of z and y with noise); every
step draws its latents. A sample is an edited image. See `benchmarks.tuned_torch` for the two PyTorch sides of ours.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import command
from benchmarks.random_weights import Files, files
from benchmarks.sides import Measured, Side, alone, interleaved
from latentjax import command_line, forms

SIDES = ("published", "tuned", "rewritten", "ours")
COMPARED = {other: ("ours", other) for other in SIDES[:-1]}
PUBLISHED_GFLOP = {512: 713.8, 256: 491.2, 128: 124.2}  # a sample of the published step, from its shapes


def sides_of(
    files: Files,
    names: Sequence[str],
    *,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 2,
    alphas: int = 1,
    forms: str = "auto",
    precision: str = "float32",
    folder: str,
    compiling: bool = True,
) -> list[Side]:
    """The sides asked for.

    Args:
        files: the networks.
        names: some of `SIDES`.
        device, threads: what to run on.
        batch, alphas: latents a step, alphas a latent.
        forms, precision: of ours.
        folder: for ours to write into.
        compiling: let the tuned side try torch.compile, on a GPU the rewritten one too.
    """
    tuned = "benchmarks.torch_sides:tuned"
    shared = {"files": files, "device": device, "threads": threads, "batch": batch, "alphas": alphas}
    known = {
        "published": Side("published", "benchmarks.torch_sides:published", shared),
        "tuned": Side("tuned", tuned, shared | {"compiling": compiling}),
        # compiling it takes minutes; on a CPU its figure is without
        "rewritten": Side("rewritten", tuned, shared | {"compiling": compiling and device == "gpu", "rewritten": True}),
        "ours": Side(
            "ours", "benchmarks.ours:train_step", shared | {"forms": forms, "precision": precision, "folder": folder}
        ),
    }
    return [known[name] for name in names]


def found_of(
    measured: dict[str, Measured], most: dict[str, Any], samples: int, threads: int, **settings: Any
) -> dict[str, Any]:
    """The JSON: beside the ratios, samples a second and how near the machine's ceilings ours comes.

    Args:
        measured: by side.
        most: what `ceilings` found.
        samples: of a step.
        threads: that each side could use.
        settings: what was measured.
    """
    found = command.result(measured, COMPARED, threads, **settings, samples=samples)
    rates = {name: samples / statistics.median(each.series("wall")) for name, each in measured.items()}
    found["samples_per_second"] = rates
    found["ceilings"] = {name: most[name] for name in ("flops", "bytes", "dtype")}
    if "tuned" in measured:
        found["tuned_compiled"] = measured["tuned"].facts["compiled"]
    if "ours" in measured:
        facts, rate = measured["ours"].facts, rates["ours"]
        found["gflop_per_sample"] = facts["flops"] / samples / 1e9
        found["compile_seconds"] = facts["compile_seconds"]
        found["mfu_published_work"] = PUBLISHED_GFLOP[settings["size"]] * 1e9 * rate / most["flops"]
        found["mfu_executed"] = facts["flops"] / samples * rate / most["flops"]
        found["bytes_fraction"] = facts["bytes_accessed"] / samples * rate / most["bytes"]
    return found


def lines_of(found: dict[str, Any]) -> list[str]:
    """What is told below the table."""
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in found["samples_per_second"].items())
    lines = [f"samples a second: {rates}"]
    lines += [f"{name}: {compiled_or_not(side)}" for name, side in found["sides"].items() if "compiled" in side]
    if "ours" in found["sides"]:
        most, side = found["ceilings"], found["sides"]["ours"]
        gigabytes = side["bytes_accessed"] / found["samples"] / 1e9
        lines += [
            f"ours: compiled in {found['compile_seconds']:.1f} s; "
            f"{found['gflop_per_sample']:.1f} GFLOP and {gigabytes:.2f} GB a sample",
            f"ceilings measured: {most['flops'] / 1e12:.4g} TFLOP/s ({most['dtype']} matrix products), "
            f"{most['bytes'] / 1e9:.4g} GB/s (copy)",
            f"ours of them: {found['mfu_executed']:.1%} of the arithmetic "
            f"({found['mfu_published_work']:.1%} by the published step's operations), "
            f"{found['bytes_fraction']:.1%} of the bytes",
        ]
    return lines


def compiled_or_not(side: dict[str, Any]) -> str:
    """Whether torch.compile helped."""
    if "torch_compile_error" in side:
        return f"eager; torch.compile failed ({side['torch_compile_error'].splitlines()[0]})"
    if "torch_compile_seconds" not in side:
        return "eager"
    calls = f"{side['compiled_call_seconds']:.3g} s a call, eager {side['eager_call_seconds']:.3g} s"
    faster = "torch.compile" if side["compiled"] else "eager; torch.compile was slower"
    return f"{faster} ({calls}; it compiled in {side['torch_compile_seconds']:.0f} s)"


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    p = command.parser("train_step", "Measure the training step beside PyTorch's.", SIDES)
    p.add_argument("--size", type=int, choices=tuple(PUBLISHED_GFLOP), default=512)
    p.add_argument("--batch", type=int, default=2, help="latents a step (default 2)")
    p.add_argument("--alphas-per-latent", type=int, default=1)
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of ours")
    p.add_argument("--forms", choices=("auto", *forms.FORMS), default="auto", help="of ours")
    p.add_argument("--compile", choices=("try", "never"), default="try", help="torch.compile for the tuned side")
    chosen = command.parsed(p, words)
    alphas = chosen.alphas_per_latent
    # first: it also finds out whether there is a GPU
    most = alone("benchmarks.ceilings:measured", chosen.cpus, device=chosen.device, threads=chosen.threads)
    with files(chosen.models, chosen.cpus, chosen.size) as made, tempfile.TemporaryDirectory() as folder:
        sides = sides_of(
            made,
            chosen.sides,
            device=chosen.device,
            threads=chosen.threads,
            batch=chosen.batch,
            alphas=alphas,
            forms=chosen.forms,
            precision=chosen.precision,
            folder=folder,
            compiling=chosen.compile == "try",
        )
        measured = interleaved(sides, chosen.cpus, chosen.repeats, chosen.steps)
    settings = {name: getattr(chosen, name) for name in ("size", "batch", "precision", "forms", "device")}
    samples = chosen.batch * alphas
    found = found_of(measured, most, samples, chosen.threads, alphas_per_latent=alphas, **settings)
    title = (
        f"A training step at {chosen.size} pixels, {chosen.batch} latents x {alphas} alphas; ours {chosen.precision}, "
        f"forms {chosen.forms}"
    )
    command.told(found, COMPARED, title, chosen.json)
    print("\n".join(lines_of(found)))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
