"""The evaluation beside the published script's: images, scores and strips on disk, a second.

    python -m benchmarks.evaluate --size=128 --latents=2 --json=evaluate.json

Every latent at 11 alphas. The published script works at batch 1: for each alpha the map, the generator, the assessor,
a score painted into the picture, and a strip saved at the end. The tuned one makes a strip at once, with the networks
of `benchmarks.tuned_torch`, and saves in threads. Ours is the evaluation job's sweep, its strips drawn and saved in
threads too; it also measures image properties. All write PNG of the same tiles; random weights.
"""

import pathlib
import statistics
import sys
import tempfile
from typing import Any

from benchmarks import command
from benchmarks.random_weights import Files, files
from benchmarks.sides import Side, Task, interleaved
from latentjax import command_line, forms

SIDES = ("published", "tuned", "ours")
COMPARED = {other: ("ours", other) for other in SIDES[:-1]}
ALPHAS = 11


def published(files: Files, device: str, threads: int, count: int, folder: str) -> Task:
    """The published loop over latents and alphas, one image at a time."""
    import numpy as np
    import torch

    from benchmarks import torch_sides
    from converters.oracles import efficientnet

    where = torch_sides.started(device, threads)
    generator, assessor, transformer = (module.to(where) for module in torch_sides.oracles(files))
    draws = torch_sides.drawn(transformer, count, 1, where)
    grids = pathlib.Path(folder) / "published"
    grids.mkdir(parents=True)

    def tile(i: int, alpha: float) -> Any:
        """A latent at an alpha, its score in the corner; the noise is drawn anew."""
        noise = (torch.randn(1, width, device=where) for width in (transformer.noise_dim, transformer.noise_dim_y))
        step = torch.full((1,), alpha, device=where)
        images = generator(*transformer(draws["z"][i : i + 1], draws["y"][i : i + 1], step, *noise))
        score = efficientnet.assess(assessor, images)[1].item()
        return painted(images[0], score)

    @torch.no_grad()
    def evaluated() -> None:
        for i in range(count):
            save([tile(i, alpha) for alpha in np.linspace(-0.5, 0.5, ALPHAS)], grids / f"{i}.png")

    return torch_sides.task(evaluated, where)


def tuned(files: Files, device: str, threads: int, count: int, folder: str) -> Task:
    """All alphas of a latent at once, in networks that are folded and channels last; saved in threads."""
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from benchmarks import torch_sides, tuned_torch

    where = torch_sides.started(device, threads)
    oracle, classifier, transformer = torch_sides.oracles(files)
    with torch.no_grad():
        generator = tuned_torch.Generator(oracle, False).to(where)
        assessor = tuned_torch.Assessor(classifier).to(where)
    transformer = transformer.to(where)
    draws = torch_sides.drawn(transformer, count, 1, where)
    alphas = torch.linspace(-0.5, 0.5, ALPHAS, device=where)
    grids = pathlib.Path(folder) / "tuned"
    grids.mkdir(parents=True)

    @torch.no_grad()
    def strip(i: int) -> tuple[torch.Tensor, list[float]]:
        z, y = (draws[name][i : i + 1].expand(ALPHAS, -1) for name in ("z", "y"))
        noise = (
            torch.randn(1, n, device=where).expand(ALPHAS, -1) for n in (transformer.noise_dim, transformer.noise_dim_y)
        )
        with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
            images = generator(*transformer(z, y, alphas, *noise))
            scores = assessor(images)
        return images.float().cpu(), scores.float().tolist()

    def finish(images: torch.Tensor, scores: list[float], file: pathlib.Path) -> None:
        save([painted(image, score) for image, score in zip(images, scores, strict=True)], file)

    def evaluated() -> None:
        with ThreadPoolExecutor(4) as pool:
            saved = [pool.submit(finish, *strip(i), grids / f"{i}.png") for i in range(count)]
        for each in saved:
            each.result()

    return torch_sides.task(evaluated, where)


def painted(image: Any, score: float) -> Any:
    """A picture of an image [3, R, R] in [-1, 1], its score in the corner."""
    import numpy as np
    from PIL import Image, ImageDraw

    levels = ((image + 1) / 2 * 255).clamp(0, 255).permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    picture = Image.fromarray(levels)
    ImageDraw.Draw(picture).text((4, 4), f"{score:.3f}", fill=(255, 0, 0))
    return picture


def save(tiles: list[Any], file: pathlib.Path) -> None:
    """Writes pictures beside one another."""
    from PIL import Image

    strip = Image.new("RGB", (sum(each.width for each in tiles), tiles[0].height))
    for place, each in enumerate(tiles):
        strip.paste(each, (place * each.width, 0))
    strip.save(file)


def main(words: list[str]) -> None:
    """Measures and tells.

    Raises:
        InputError: a flag is wrong, or a side stopped.
    """
    p = command.parser("evaluate", "Measure the evaluation beside the published script's and a tuned one.", SIDES)
    p.add_argument("--size", type=int, choices=(128, 256, 512), default=128)
    p.add_argument("--latents", type=int, default=2, help="of a run, 11 images each (default 2)")
    p.add_argument("--batch", type=int, default=1, help="strips that ours makes at once (default 1, as configured)")
    p.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of ours")
    p.add_argument("--forms", choices=("auto", *forms.FORMS), default="auto", help="of ours")
    chosen = command.parsed(p, words)
    with files(chosen.models, chosen.cpus, chosen.size) as made, tempfile.TemporaryDirectory() as folder:
        shared = {"files": made, "device": chosen.device, "threads": chosen.threads, "count": chosen.latents}
        shared["folder"] = folder
        own = {"forms": chosen.forms, "precision": chosen.precision, "batch": chosen.batch}
        known = {
            "published": Side("published", "benchmarks.evaluate:published", shared),
            "tuned": Side("tuned", "benchmarks.evaluate:tuned", shared),
            "ours": Side("ours", "benchmarks.ours:evaluate", shared | own),
        }
        measured = interleaved([known[side] for side in chosen.sides], chosen.cpus, chosen.repeats, chosen.steps)
    names = ("size", "latents", "batch", "precision", "forms", "device")
    found = command.result(measured, COMPARED, chosen.threads, **{name: getattr(chosen, name) for name in names})
    images = ALPHAS * chosen.latents
    rates = {side: images / statistics.median(each.series("wall")) for side, each in measured.items()}
    found |= {f"images_per_second_{side}": rate for side, rate in rates.items()}
    title = (
        f"Evaluation at {chosen.size} pixels: {chosen.latents} latents x {ALPHAS} alphas, ours {chosen.batch} at once"
    )
    command.told(found, COMPARED, title, chosen.json)
    print("images a second: " + ", ".join(f"{side} {rate:.3g}" for side, rate in rates.items()))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
