"""What precision=bfloat16 loses against float32, on the same latents.

    python -m benchmarks.precision --size=128 --latents=16
    python -m benchmarks.precision --size=512 --latents=4 --parts=networks --device=gpu

Part "networks": images, scores and the loss's gradient of the published architectures, with random weights.
Part "directions": two short trainings on painted eyes with the same draws, and what they learned.
"""

import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import command
from benchmarks.ours import bench_of
from benchmarks.random_weights import Files, files
from latentjax import calibration, command_line, latents, networks, objective, precision, weights
from latentjax.errors import InputError
from latentjax.files import write_json
from latentjax.jobs import workbench
from latentjax.terms import Terms

PARTS = ("networks", "directions")
PRECISIONS = ("float32", "bfloat16")
SIZES = (128, 256, 512)
ALPHA, UNSEEN, SEED = 0.3, 32, 1  # of the moves that are compared; the latents are those of the demo's evaluation
EMULATED = "bfloat16 is emulated on this CPU: no faster than float32, but rounded as on an accelerator"


class Found(NamedTuple):
    """What one precision computes."""

    images: np.ndarray  # [B, R, R, 3]
    scores: np.ndarray  # [B]
    gradient: np.ndarray  # of the loss, to all of the transformer's weights


def computed(
    nets: objective.Networks, params: Any, frozen: objective.Frozen, draws: dict[str, Any], *, clip: bool
) -> Found:
    """Images and scores of the latents that are drawn, and the gradient; one latent at a time, for memory."""
    rows = len(draws["z"])

    @jax.jit
    def assessed(frozen: objective.Frozen, z: jax.Array, y: jax.Array) -> Any:
        return objective.in_parts(lambda *row: objective.assess(nets, frozen, *row)[:2], rows, z, y)

    @jax.jit
    def gradient(params: Any, frozen: objective.Frozen, draws: dict[str, Any]) -> Any:
        def loss(params: Any) -> jax.Array:
            return objective.loss(nets, params, frozen, draws, clip=clip, parts=rows)[0]

        return jax.grad(loss)(params)

    images, scores = jax.device_get(assessed(frozen, draws["z"], draws["y"]))
    leaves = jax.device_get(jax.tree.leaves(gradient(params, frozen, draws)))
    return Found(images, scores, np.concatenate([leaf.ravel() for leaf in leaves]))


def psnr(images: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each image [B, R, R, 3] in [-1, 1], whose range is 2."""
    errors = np.mean((np.float64(images) - exact) ** 2, axis=(1, 2, 3))
    return 10 * np.log10(4 / np.maximum(errors, 1e-30))  # equal images: 306 dB, not infinite


def cosine(one: Any, other: Any) -> np.ndarray:
    """Between vectors along the last axis."""
    one, other = np.float64(one), np.float64(other)
    return np.sum(one * other, -1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1))


def compared(exact: Found, reduced: Found) -> dict[str, float]:
    """How far the second is from the first."""
    ratios, differences = psnr(reduced.images, exact.images), np.abs(reduced.scores - exact.scores)
    lengths = [float(np.linalg.norm(found.gradient)) for found in (exact, reduced)]
    found = {
        "images_psnr_median": np.median(ratios),
        "images_psnr_worst": ratios.min(),
        "scores_difference_mean": differences.mean(),
        "scores_difference_max": differences.max(),
        "scores_deviation": exact.scores.std(),  # between latents: what a difference is to be seen against
        "gradient_cosine": cosine(exact.gradient, reduced.gradient),
        "gradient_length_ratio": lengths[1] / lengths[0],
    }
    return {name: float(value) for name, value in found.items()}


def of_bench(bench: workbench.Workbench, count: int, *, calibrate: bool = True) -> dict[str, float]:
    """`compared` for a workbench's networks.

    Args:
        bench: in float32.
        count: latents.
        calibrate: spread the assessor's scores over these latents' images: a random one gives all the same score.
    """
    transformer, config = workbench.new_transformer(bench), bench.config
    draws = latents.draw(
        config.train.seed,
        0,
        count,
        bench.generator.latent_dim,
        bench.generator.num_classes,
        truncation=config.latents.truncation,
        classes=bench.classes,
        alphas_per_latent=1,
        noise_shapes=transformer.noise_dims,
    ) | {"direction": 0}
    if calibrate:
        (term,) = bench.assessor.terms
        images = (bench.generator(draws["z"][i : i + 1], draws["y"][i : i + 1]) for i in range(count))
        assessor = Terms([term._replace(assessor=calibration.rescaled(term.assessor, images))])
        bench = bench._replace(assessor=assessor, frozen=objective.Frozen(bench.frozen.generator, assessor.state))
    nets, params = bench.networks(transformer), transformer.state
    both = (bench.frozen, precision.in_bfloat16(bench.frozen))
    return compared(*(computed(nets, params, frozen, draws, clip=config.train.clip_alphas) for frozen in both))


def of_published(made: Files, count: int, device: str, folder: str) -> dict[str, float]:
    """`of_bench` for BigGAN and EfficientNet of random weights."""
    return of_bench(bench_of(made, device, "auto", "float32", folder), count)


def moves(transformer: networks.LatentTransformer) -> np.ndarray:
    """z' - z [N, Z] at `ALPHA`, of latents that no training draws."""
    drawn = latents.sample_latents(UNSEEN, SEED, transformer.latent_dim, transformer.num_classes)
    z, y = latents.stacked(drawn)
    return np.asarray(transformer(z, y, ALPHA, transformer.sample_noise(jax.random.key(SEED), UNSEEN))[0] - z)


def of_directions(train: Callable[[str], pathlib.Path]) -> dict[str, float]:
    """How well what two trainings learned agrees, and what each achieves.

    Args:
        train: a precision -> the folder of a run that ends with an evaluation; seed 0, else the same run.
    """
    from benchmarks.lab import achieved

    runs = {name: train(name) for name in PRECISIONS}
    learned = [networks.load_transformer(run) for run in runs.values()]
    start = weights.build(learned[0].kind, learned[0].config)
    record = {"kind": learned[0].kind, "config": learned[0].config}
    exact, reduced, untrained = map(moves, [*learned, networks.LatentTransformer(start, record)])
    agreements = cosine(exact, reduced)
    return {
        "moves_cosine_median": float(np.median(agreements)),
        "moves_cosine_worst": float(agreements.min()),
        # both begin with the same weights, which would agree without any training
        "moves_cosine_untrained": float(np.median(cosine(exact, untrained))),
        **{f"achieved_{name}": achieved(run) for name, run in runs.items()},
    }


def of_painted_eyes(steps: int, device: str, folder: pathlib.Path) -> dict[str, float]:
    """`of_directions` for the demo, shortened."""
    from benchmarks.lab import Lab

    fields = {"train__num_steps": steps, "platform": device}
    return of_directions(lambda name: Lab(folder).trained(name, precision=name, **fields))


def lines_of(found: dict[str, Any]) -> list[str]:
    """The JSON for the eye."""
    lines = [f"bfloat16 against float32 on the {found['device']}", command.where(found)]
    lines += [EMULATED] if found["emulated"] else []
    if part := found.get("networks"):
        lines += [
            f"BigGAN-{found['size']} and EfficientNet-B0 of random weights, {found['latents']} latents:",
            f"  images     PSNR {part['images_psnr_median']:.1f} dB, worst {part['images_psnr_worst']:.1f} dB",
            f"  scores     |difference| {part['scores_difference_mean']:.4f}, at most "
            f"{part['scores_difference_max']:.4f} (deviation between latents {part['scores_deviation']:.3f})",
            f"  gradient   cosine {part['gradient_cosine']:.6f}, length x {part['gradient_length_ratio']:.4f}",
        ]
    if part := found.get("directions"):
        lines += [
            f"painted eyes, {found['train_steps']} steps, {UNSEEN} unseen latents:",
            f"  z' - z     cosine {part['moves_cosine_median']:.6f}, worst {part['moves_cosine_worst']:.6f} "
            f"(with the untrained start {part['moves_cosine_untrained']:.3f})",
            f"  achieved   float32 {part['achieved_float32']:.4f}, bfloat16 {part['achieved_bfloat16']:.4f}",
        ]
    return lines


def parsed(words: Sequence[str]) -> Any:
    """The flags, checked; `parts` becomes a list.

    Raises:
        InputError: naming the flag.
    """
    p = command_line.Parser("python -m benchmarks.precision", description="Measure what bfloat16 loses.")
    p.add_argument("--size", type=int, choices=SIZES, default=128)
    p.add_argument("--latents", type=int, default=16, help="for images, scores and gradients (default 16)")
    p.add_argument("--train-steps", type=int, default=60, help="of the painted eyes' trainings (default 60)")
    p.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    p.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    p.add_argument("--models", type=pathlib.Path, help="a folder that keeps the random weights (default: none does)")
    p.add_argument("--json", type=pathlib.Path, help="a file for the numbers")
    chosen = p.parse_args(words)
    chosen.parts = chosen.parts.split(",")
    if unknown := [part for part in chosen.parts if part not in PARTS]:
        raise InputError("--parts", f"{unknown[0]!r} is unknown", f"use some of {','.join(PARTS)}")
    command.check_numbers_and_json(chosen)
    return chosen


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, the device is not there, or the painted eyes are not installed.
    """
    chosen, cores = parsed(words), sorted(os.sched_getaffinity(0))
    found: dict[str, Any] = {name: getattr(chosen, name) for name in ("size", "latents", "train_steps", "device")}
    with tempfile.TemporaryDirectory() as folder:
        if "networks" in chosen.parts:
            with files(chosen.models, cores, chosen.size) as made:
                started = time.perf_counter()
                found["networks"] = of_published(made, chosen.latents, chosen.device, folder)
                found["networks"]["seconds"] = time.perf_counter() - started
        if "directions" in chosen.parts:
            started = time.perf_counter()
            found["directions"] = of_painted_eyes(chosen.train_steps, chosen.device, pathlib.Path(folder))
            found["directions"]["seconds"] = time.perf_counter() - started
    gpu = jax.devices()[0].device_kind if chosen.device == "gpu" else None
    found |= {"emulated": gpu is None, "machine": command.machine(len(cores), gpu), "versions": command.versions()}
    print("\n".join(lines_of(found)), flush=True)
    if chosen.json:
        write_json(chosen.json, found)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
