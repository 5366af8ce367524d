"""Writes BENCHMARKS.md and its picture from benchmarks/results/."""

import json
import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2

from benchmarks import compiled
from benchmarks.compiled import CENTRE, FORMS, RESULTS, ROOT, SIZES, SLICES, WHOLE_ATTENTION

SHARES = (1, 2, 4, 8, 16)
MISSING = "not measured"


def read(name: str) -> dict[str, Any] | None:
    """A result by its name, if it is there."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def ratio(found: dict[str, Any] | None, kind: str, other: str) -> str:
    """ "0.51 [0.50, 0.53]", or a dash."""
    key = f"{kind}_ratio_{other}"
    if found is None or key not in found:
        return "-"
    low, high = found[f"{key}_range"]
    return f"**{found[key]:.2f}** [{low:.2f}, {high:.2f}]"


def cpu() -> dict[str, str]:
    """What was measured beside PyTorch."""
    names = {
        "train_step-512": "step, 512 pixels, batch 2",
        "train_step-256": "step, 256 pixels, batch 2",
        "train_step-128": "step, 128 pixels, batch 8",
        "evaluate-128": "evaluate, 128 pixels",
        "assessor": "assessor, forward and gradient, batch 2",
    }
    found = {name: read(name) for name in names}
    columns = [(other, kind) for other in ("published", "tuned", "rewritten") for kind in ("cpu", "wall")]
    header = ["", *(f"{other}, {'CPU' if kind == 'cpu' else kind} time" for other, kind in columns)]
    rows = [[title, *(ratio(found[name], kind, other) for other, kind in columns)] for name, title in names.items()]
    steps = [found[f"train_step-{size}"] for size in SIZES]
    some = next((step for step in steps if step), None)
    gflop = ", ".join(f"{step['gflop_per_sample']:.0f} at {step['size']}" for step in steps if step)
    return {
        "machine": machine_of(some) if some else MISSING,
        "table": markdown(header, rows),
        "gflop": gflop or MISSING,
        "compiled": ", ".join(f"{step['size']} {torch_compile(step)}" for step in steps if step) or MISSING,
        "slower": ", ".join(slower(found[name], title) for name, title in names.items() if slower(found[name], title)),
        "start": start(),
        "forms": forms_measured("forms"),
    }


def torch_compile(step: dict[str, Any]) -> str:
    """What torch.compile did for the tuned side."""
    side = step["sides"]["tuned"]
    if "torch_compile_error" in side:
        return "failed"
    return "not tried" if "torch_compile_seconds" not in side else "faster" if side["compiled"] else "slower"


def slower(found: dict[str, Any] | None, title: str) -> str:
    """The sides than which ours takes longer."""
    others = ("published", "channels_last", "tuned", "rewritten")
    sides = [other for other in others if (found or {}).get(f"wall_ratio_{other}", 0) > 1]
    return f"{title} ({' and '.join(sides)})" if sides else ""


def start() -> str:
    """From the command to the first step."""
    found = read("start")
    if not found:
        return MISSING
    again = found["second_seconds"]
    return (
        f"{found['first_seconds']:.1f} s with an empty cache, then {statistics.median(again):.1f} s "
        f"[{min(again):.1f}, {max(again):.1f}]"
    )


def forms_measured(name: str) -> str:
    """The step in other forms than the device's, as ratios."""
    found = read(name)
    if not found:
        return MISSING
    sides = [side for side in found["sides"] if f"cpu_ratio_{side}" in found]
    rows = [[side.replace("-", " "), ratio(found, "cpu", side), ratio(found, "wall", side)] for side in sides]
    return markdown([f"{found['size']} pixels, batch {found['batch']}", "CPU time", "wall time"], rows)


def memory() -> str:
    """What a large batch takes."""
    found = read("memory")
    if not found:
        return MISSING
    rows = [[parts, f"{gib:.1f} GiB"] for parts, gib in found["gib_by_micro_batches"].items()]
    return markdown([f"micro-batches of {found['size']} pixels, batch {found['batch']}", "memory"], rows)


def convert() -> str:
    """Converting and loading."""
    found = read("convert")
    if not found:
        return f"Converting a checkpoint: {MISSING}."
    seconds = {name: statistics.median(side["wall_seconds"]) for name, side in found["sides"].items()}
    return (
        f"A BigGAN-{found['size']} file of {found['file_megabytes']:.0f} MB is converted in {seconds['convert']:.1f} s "
        f"and its model folder loaded, checksums and all, in {seconds['load']:.1f} s; PyTorch loads the file in "
        f"{seconds['torch']:.1f} s (`python -m benchmarks.convert`)."
    )


def assessor_training() -> str:
    """A step of an assessor's training, and what feeds it."""
    found = read("assessor_training")
    if not found:
        return f"Training an assessor: {MISSING}."
    sides = {"published": "NCHW", "channels_last": "NHWC"}
    times = " and ".join(f"{ratio(found, 'wall', side)} of {told}" for side, told in sides.items())
    network = f"EfficientNet-{found['variant'].upper()} from scratch, {found['size']} pixels, batch {found['batch']}"
    return (
        f"A training step of an assessor ({network}, RAdam) takes {times} PyTorch's wall time. In that time the input "
        f"pipeline alone (PNGs of 512 pixels) feeds {found['steps_fed']:.1f} such steps "
        "(`python -m benchmarks.assessor_training`)."
    )


def machine_of(found: dict[str, Any]) -> str:
    """Processor and versions of a result."""
    on, versions = found["machine"], found["versions"]
    gpu = f"{on['gpu']}, " if on["gpu"] else ""
    return f"{gpu}{on['cpu']}, {on['threads']} cores, " + ", ".join(f"{name} {v}" for name, v in versions.items())


def cell(records: list[dict[str, Any]], **changed: Any) -> dict[str, Any] | None:
    """The compiled cell that differs from the centre by this."""
    return compiled.find(records, CENTRE | changed)


def short(record: dict[str, Any] | None) -> str:
    """Cycles and memory of a cell."""
    if record is None:
        return "-"
    if not record["fits"]:
        return "does not fit"
    cycles = "" if record["million_cycles"] is None else f"{record['million_cycles']:.2f} M, "
    return f"{cycles}{record['memory_gib']:.2f} GiB"


def tpu(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What was compiled."""
    forms = [("default", {}), *FORMS.items()]
    rows = []
    for name, changed in forms:
        found = cell(records, forms=changed)
        if found and not found["fits"]:
            rows.append([name, "does not fit", *["-"] * 4])
        elif found:
            figures = [f"{found[key]:.2f}" for key in ("million_cycles", "gflop", "gigabytes", "memory_gib")]
            rows.append([name, *figures, found["compile_seconds"]])
    per_share = [[f"{size} pixels", *(short(cell(records, size=size, share=n)) for n in SHARES)] for size in SIZES]
    slices = [[s, *(short(cell(records, topology=s, size=size)) for size in SIZES)] for s in ("v5e:2x4", *SLICES)]
    single = [[f"{size} pixels", short(cell(records, precision="float32", size=size))] for size in SIZES]
    chunks, whole = cell(records, size=256), cell(records, **WHOLE_ATTENTION)
    used = {f"jax {r['versions']['jax']}, libtpu {r['versions']['libtpu']}" for r in records}
    pixels = [f"{size} pixels" for size in SIZES]
    units = ["million cycles a sample", "GFLOP a sample", "GB a sample", "GiB a chip", "seconds to compile"]
    return {
        "versions": "; ".join(sorted(used)) or MISSING,
        "count": len(records),
        "forms": markdown(["", *units], rows),
        "batch": markdown(["samples a chip", *SHARES], per_share),
        "slices": markdown(["", *pixels], slices),
        "float32": markdown(["", "v5e:2x4, 8 a chip"], single),
        "attention": f"in parts {short(chunks)}, whole {short(whole)}",
    }


def precision() -> str:
    """What bfloat16 loses."""
    found = {size: result for size in SIZES if (result := read(f"precision-{size}"))}
    if not found:
        return f"Its loss of fidelity: {MISSING} yet (`python -m benchmarks.precision`)."
    rows, lines = [], []
    for size, result in found.items():
        nets = result["networks"]
        rows.append(
            [
                f"{size} pixels, {result['latents']} latents",
                f"{nets['images_psnr_median']:.1f} dB, {nets['images_psnr_worst']:.1f} dB",
                f"{nets['scores_difference_mean']:.3f}, {nets['scores_difference_max']:.3f}",
                f"{nets['scores_deviation']:.2f}",
                f"{nets['gradient_cosine']:.3f}",
                f"{nets['gradient_length_ratio']:.2f}",
            ]
        )
        if moved := result.get("directions"):
            lines.append(
                f"Painted eyes, {result['train_steps']} steps in both precisions: the moves of 32 unseen latents agree "
                f"to a cosine of {math.floor(1e5 * moved['moves_cosine_worst']) / 1e5} at least (the untrained map: "
                f"{moved['moves_cosine_untrained']:.2f}); achieved {moved['achieved_float32']:.3f} in float32, "
                f"{moved['achieved_bfloat16']:.3f} in bfloat16."
            )
    header = [
        "",
        "PSNR: median, worst",
        "error of scores: mean, most",
        "scores vary by",
        "cosine of gradients",
        "their lengths' ratio",
    ]
    on = machine_of(next(iter(found.values())))
    emulated = ", bfloat16 emulated on a CPU" if all(result.get("emulated") for result in found.values()) else ""
    told = f"Against float32 on the same latents, to which the assessor was calibrated{emulated} ({on})."
    return "\n\n".join([told, markdown(header, rows), *lines])


def gpu() -> str:
    """What was measured on a GPU."""
    found = [result for size in SIZES if (result := read(f"train_step-gpu-{size}"))]
    if not found:
        return (
            "**Not measured**: no GPU was at hand. `python -m benchmarks --only=gpu` does it: steps with the fractions "
            "of the measured arithmetic and bandwidth, the evaluation, and the forms."
        )
    rows = [
        [
            f"{r['size']} pixels, batch {r['batch']}",
            ratio(r, "wall", "published"),
            ratio(r, "wall", "tuned"),
            f"{r['samples_per_second']['ours']:.1f}",
            f"{r['mfu_published_work']:.0%}",
            f"{r['mfu_executed']:.0%}",
            f"{r['bytes_fraction']:.0%}",
        ]
        for r in found
    ]
    header = ["", "published", "tuned", "samples a second", "arithmetic, published", "executed", "bytes"]
    parts = [f"{machine_of(found[0])}.", markdown(header, rows)]
    if evaluated := read("evaluate-gpu-512"):
        ratios = [f"{ratio(evaluated, 'wall', other)} of {other}" for other in ("published", "tuned")]
        parts.append(f"Evaluation at 512 pixels, wall time: {', '.join(ratios)}.")
    parts.append(f"Other forms than the GPU's:\n\n{forms_measured('forms-gpu')}")
    return "\n\n".join(parts)


def draw(records: list[dict[str, Any]], file: pathlib.Path) -> None:
    """The scaling picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    over_batch, over_size, over_devices = figure.subplots(1, 3)
    for side in ("ours", "rewritten", "tuned", "published"):
        points = []
        for batch in SHARES[:-1]:
            result = read("train_step-128" if batch == 8 else f"train_step-128-batch{batch}")
            if result and side in result["sides"]:
                points.append((batch, batch / statistics.median(result["sides"][side]["wall_seconds"])))
        if points:
            over_batch.plot(*zip(*points, strict=True), marker="o", label=side)
    over_batch.set(title="CPU, 128 pixels", xlabel="batch", ylabel="samples a second", ylim=(0, None))
    if over_batch.lines:
        over_batch.legend()
    for share in (1, 2, 4, 8, 16):
        found = [(size, cell(records, size=size, share=share)) for size in SIZES]
        points = [(size, record["million_cycles"]) for size, record in found if record and record["fits"]]
        if points:
            over_size.plot(*zip(*points, strict=True), marker="o", label=f"{share} a chip")
    over_size.set(title="v5e, compiled", xlabel="pixels", ylabel="million cycles a sample", ylim=(0, None))
    over_size.set_xticks(SIZES)
    if over_size.lines:
        over_size.legend()
    slices = {4: "v5e:2x2", 8: "v5e:2x4", 16: "v5e:4x4", 64: "v5e:8x8", 256: "v5e:16x16"}
    found = [(chips, cell(records, topology=name, size=128)) for chips, name in slices.items()]
    points = [(chips, record["million_cycles"]) for chips, record in found if record and record["fits"]]
    if points:
        over_devices.plot(*zip(*points, strict=True), marker="o")
    over_devices.set(title="v5e, 128 pixels, 8 a chip", xlabel="chips", xscale="log")
    highest = max((cycles for _, cycles in points), default=1)
    over_devices.set(ylabel="million cycles a sample", ylim=(0, 1.3 * highest))
    over_devices.minorticks_off()
    over_devices.set_xticks(list(slices), [str(chips) for chips in slices])
    figure.savefig(file, dpi=110)


def write() -> None:
    """BENCHMARKS.md and docs/benchmarks-scaling.png."""
    records = compiled.known()
    template = jinja2.Template((ROOT / "benchmarks" / "BENCHMARKS.md.j2").read_text(encoding="utf-8"))
    draw(records, ROOT / "docs" / "benchmarks-scaling.png")
    page = template.render(
        cpu=cpu(),
        tpu=tpu(records),
        precision=precision(),
        gpu=gpu(),
        memory=memory(),
        convert=convert(),
        assessor_training=assessor_training(),
    )
    (ROOT / "BENCHMARKS.md").write_text(page + "\n", encoding="utf-8")
