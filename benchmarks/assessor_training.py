"""A step of an assessor's training beside PyTorch's, and beside the pipeline that has to feed it.

    python -m benchmarks.assessor_training --variant=b0 --batch=16 --json=assessor_training.json

"pipeline" decodes the pictures of AHEAD steps (512 pixels, PNG, noise on smooth colours), resizes them, and does
nothing else. No augmentation, dropout or drop-connect on either side; RAdam in both.
"""

import io
import sys
from typing import Any

import numpy as np

from benchmarks import command
from benchmarks.sides import Side, Task, interleaved
from latentjax import command_line
from latentjax.assessors.efficientnet import VARIANTS

SIDES = ("published", "channels_last", "ours", "pipeline")
COMPARED = {other: ("ours", other) for other in ("published", "channels_last", "pipeline")}
STORED, PICTURES = 512, 64  # side of the pictures on disk, and how many of them
AHEAD = 8  # batches, read by several threads at once


class Pictures:
    """Encoded pictures in memory: what a disk would add is not measured."""

    def __init__(self) -> None:
        from PIL import Image

        random = np.random.default_rng(0)
        self._encoded = []
        for _ in range(PICTURES):
            smooth = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).resize((STORED, STORED))
            grain = random.normal(0, 4, (STORED, STORED, 3))
            pixels = (np.asarray(smooth) + grain).clip(0, 255).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            self._encoded.append(stream.getvalue())

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self._encoded[index], "label": index % 2, "key": str(index)}


def pipeline_side(batch: int, size: int) -> Task:
    """Batches as the training job reads them."""
    from latentjax.data import pipeline

    pictures = Pictures()

    def run(steps: int) -> None:
        # anew each time: what was read ahead before would come for nothing
        batches = pipeline.batches(pictures, size, batch, seed=0)
        for _ in range(AHEAD * steps):
            next(batches)

    return Task(run, {"device": None})


def torch_side(variant: str, batch: int, size: int, threads: int, form: str) -> Task:
    """The oracle in training mode ("published"), or in channels_last."""
    import torch
    import torch.nn.functional as F

    from benchmarks import torch_sides
    from converters.oracles import efficientnet
    from converters.oracles.radam import RAdam

    where = torch_sides.started("cpu", threads)
    model = efficientnet.EfficientNet(variant, num_classes=2).train()
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % 2
    if form == "channels_last":
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = RAdam(model.parameters(), lr=1e-3)

    def step() -> None:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return torch_sides.task(step, where)


def our_side(variant: str, batch: int, size: int) -> Task:
    """The training job's step."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from latentjax import assessor_objective, weights
    from latentjax.radam import radam

    module = weights.build("efficientnet", {"variant": variant, "num_classes": 2, "image_size": size})
    recipe = assessor_objective.Recipe("softmax", module.mean, module.std)
    module.train()
    graph, params, statistics = nnx.split(module, nnx.Param, nnx.BatchStat)
    chain = radam(1e-3)
    held = [assessor_objective.AssessorState(jnp.zeros([], jnp.int32), params, statistics, chain.init(params))]
    step = jax.jit(assessor_objective.make_step(graph, recipe, chain, seed=0), donate_argnums=0)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = np.arange(batch) % 2

    def run(steps: int) -> None:
        for _ in range(steps):
            held[0], metrics = step(held[0], {"image": images, "label": labels})
            jax.block_until_ready(metrics)

    return Task(run, {"device": None})


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    p = command.parser("assessor_training", "Measure a training step of an assessor beside PyTorch's.", SIDES)
    p.add_argument("--variant", choices=tuple(VARIANTS), default="b0")
    p.add_argument("--image-size", type=int, help="side of the images (default: the variant's own)")
    p.add_argument("--batch", type=int, default=16)
    chosen = command.parsed(p, words)
    size = chosen.image_size or VARIANTS[chosen.variant][2]
    settings = {"batch": chosen.batch, "size": size}
    network = {"variant": chosen.variant, **settings}
    of_torch = network | {"threads": chosen.threads}
    known = {
        name: Side(name, "benchmarks.assessor_training:torch_side", of_torch | {"form": name}) for name in SIDES[:2]
    }
    known["ours"] = Side("ours", "benchmarks.assessor_training:our_side", network)
    known["pipeline"] = Side("pipeline", "benchmarks.assessor_training:pipeline_side", settings)
    measured = interleaved([known[side] for side in chosen.sides], chosen.cpus, chosen.repeats, chosen.steps)
    found = command.result(measured, COMPARED, chosen.threads, **network)
    if {"ours", "pipeline"} <= measured.keys():
        found["steps_fed"] = AHEAD * found["wall_ratio_pipeline"]
        print(f"in the time of a step the pipeline alone feeds {found['steps_fed']:.1f} steps")
    title = f"EfficientNet-{chosen.variant.upper()} at {size} pixels, batch {chosen.batch}: a training step"
    command.told(found, COMPARED, title, chosen.json)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
