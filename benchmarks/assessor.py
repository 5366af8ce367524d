"""The assessor's scores and their gradient to the images, beside PyTorch's.

    python -m benchmarks.assessor --variant=b0 --batch=2 --json=assessor.json

PyTorch's are the published network as it is, and tuned (`benchmarks.tuned_torch`). Random weights.
"""

import sys
import tempfile

from benchmarks import command
from benchmarks.random_weights import Files, files
from benchmarks.sides import Side, Task, interleaved
from latentjax import command_line, forms
from latentjax.assessors.efficientnet import VARIANTS

SIDES = ("published", "channels_last", "tuned", "ours")
COMPARED = {other: ("ours", other) for other in SIDES[:-1]}


def torch_side(files: Files, device: str, threads: int, batch: int, size: int, form: str) -> Task:
    """The oracle ("published"), the same in channels_last, or the tuned one."""
    import torch

    from benchmarks import torch_sides, tuned_torch
    from converters.oracles import efficientnet

    where = torch_sides.started(device, threads)
    oracle = torch_sides.loaded(efficientnet.EfficientNet(files.variant, num_classes=2), files.assessor)
    images = torch.rand(batch, 3, size, size, device=where) * 2 - 1
    with torch.no_grad():
        model = (tuned_torch.Assessor(oracle, size) if form == "tuned" else oracle).to(where)
    if form != "published":
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (efficientnet.MEAN, efficientnet.STD))
    images.requires_grad_()

    def assess(images: torch.Tensor) -> torch.Tensor:
        if form == "tuned":
            return model(images)
        # the images have the network's size: the published resize would change nothing
        pixels = ((images + 1) / 2).clamp(0, 1)
        return torch.softmax(model((pixels - mean) / std), dim=1)[:, 1]

    return torch_sides.task(lambda: torch.autograd.grad(assess(images).sum(), images), where)


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    p = command.parser("assessor", "Measure the assessor and its gradient beside PyTorch's.", SIDES)
    p.add_argument("--variant", choices=tuple(VARIANTS), default="b0")
    p.add_argument("--image-size", type=int, help="side of the images (default: the variant's own)")
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of ours")
    p.add_argument("--forms", choices=("auto", *forms.FORMS), default="auto", help="of ours")
    chosen = command.parsed(p, words)
    size = chosen.image_size or VARIANTS[chosen.variant][2]
    made_by = files(chosen.models, chosen.cpus, 128, 8, chosen.variant)  # the generator only fills its place
    with made_by as made, tempfile.TemporaryDirectory() as folder:
        shared = {"files": made, "device": chosen.device, "threads": chosen.threads, "batch": chosen.batch}
        shared["size"] = size
        own = {"forms": chosen.forms, "precision": chosen.precision, "folder": folder}
        known = {name: Side(name, "benchmarks.assessor:torch_side", shared | {"form": name}) for name in SIDES[:-1]} | {
            "ours": Side("ours", "benchmarks.ours:assessor", shared | own)
        }
        measured = interleaved([known[side] for side in chosen.sides], chosen.cpus, chosen.repeats, chosen.steps)
    names = ("variant", "batch", "precision", "forms", "device")
    settings = {name: getattr(chosen, name) for name in names} | {"image_size": size}
    found = command.result(measured, COMPARED, chosen.threads, **settings)
    title = f"EfficientNet-{chosen.variant.upper()} at {size} pixels, batch {chosen.batch}: scores and gradient"
    command.told(found, COMPARED, title, chosen.json)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
