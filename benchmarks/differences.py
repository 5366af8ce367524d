"""Makes every measured number of docs/differences.md.

    python -m benchmarks.differences --json=differences.json          # all parts
    python -m benchmarks.differences noise painted --runs=runs/differences

One line a number. Parts that need the published systems' numbers look for them in $LATENTJAX_REFERENCE.
"""

import functools
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from PIL import Image, ImageDraw, ImageFont

import converters
from configs import demo
from converters import torch_file
from latentjax import calibration, command_line, latents, networks, objective, pictures, radam
from latentjax.errors import InputError
from latentjax.files import write_json
from latentjax.jobs import train, workbench
from latentjax.properties import PROPERTIES
from latentjax.report import statistics

ALPHAS = np.linspace(-0.5, 0.5, 11, dtype=np.float32)
LATENTS, SEED = 32, 1  # those that every training is evaluated on
TRANSFORMER = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"
Numbers = Iterator[tuple[str, float]]


class Lab:
    """What the parts share: trainings on painted eyes, and the published systems' files, converted.

    Args:
        folder: where both are kept; a training that is there is not repeated.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.golden = pathlib.Path(os.environ.get("LATENTJAX_REFERENCE", "")) / "golden"

    def trained(self, name: str, variant: str = "", **fields: Any) -> pathlib.Path:
        """The run folder of a variant of configs/demo.py; fields are written with two underscores for the dot."""
        c = demo.get_config(variant)
        changes = {"train.samples_every": 0, "evaluate.before_train": False, "evaluate.count": LATENTS}
        c.update_from_flattened_dict(changes | {field.replace("__", "."): value for field, value in fields.items()})
        train.run(c, str(self.folder / name))
        return self.folder / name

    def demo(self) -> pathlib.Path:
        """The demo as it is."""
        return self.trained("demo")

    @functools.cached_property
    def generator(self) -> networks.Generator:
        """Painted eyes."""
        return networks.load_generator("embedded:painted-eyes")

    @functools.cached_property
    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """z and y of the evaluation."""
        drawn = latents.sample_latents(LATENTS, SEED, self.generator.latent_dim, self.generator.num_classes)
        return np.stack([latent.z for latent in drawn]), np.stack([latent.y for latent in drawn])

    @functools.cache  # noqa: B019  one lab a process
    def strips(self, noises: int = 1) -> np.ndarray:
        """Images [N, A, R, R, 3] of the demo's transformer along alpha, with 1 noise a strip or one for each tile."""
        transformer, images = networks.load_transformer(self.demo()), []
        for i, (z, y) in enumerate(zip(*self.latents, strict=True)):
            noise = transformer.sample_noise(jax.random.fold_in(jax.random.key(0), i), noises)
            noise = jax.tree.map(lambda rows: jnp.broadcast_to(rows, (len(ALPHAS), rows.shape[1])), noise)
            z, y = (np.broadcast_to(row, (len(ALPHAS), len(row))) for row in (z, y))
            images.append(np.asarray(self.generator(*transformer(z, y, ALPHAS, noise))))
        return np.stack(images)

    def converted(self, name: str, **options: Any) -> pathlib.Path:
        """The model folder of a published system's file."""
        folder = self.folder / "converted" / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            converters.convert(self.golden / f"{name}.pth", folder, **options)
        return folder

    @functools.cached_property
    def assessor(self) -> networks.Assessor:
        """The published system's assessor, of random weights."""
        return networks.load_assessor(self.converted("best_v070"))


def achieved(run: pathlib.Path, ending: str = "") -> float:
    """(mean score at .3 - mean score at -.3) / .6 of a run's evaluation."""
    (summary,) = run.glob(f"evaluation/sampled-*{ending}/summary.json")
    return json.loads(summary.read_text())["achieved"]


def relative(moved: Any, start: Any) -> float:
    """The length of a change, over the length of what is changed."""
    return float(np.linalg.norm(np.asarray(moved) - np.asarray(start)) / np.linalg.norm(start))


def renorm_neighbours(lab: Lab) -> Numbers:
    """How far neighbours in a batch move a sample's z'."""
    golden = np.load(lab.golden / f"transformer_{TRANSFORMER}.npz")
    z, y, alpha, *noise = (golden[name] for name in ("z", "y", "alpha", "noise_z", "noise_y"))
    published = networks.load_transformer(lab.converted(f"transformer_{TRANSFORMER}"))
    for renorm in ("batch", "sample", "none"):
        transformer = networks.with_settings(published, renorm=renorm)
        together = transformer(z, y, alpha, tuple(noise))[0]
        alone = transformer(z[:1], y[:1], alpha[:1], tuple(rows[:1] for rows in noise))[0]
        yield f"renorm={renorm}: z' of row 0 alone against in its batch of 4, relative", relative(alone[0], together[0])
        still = transformer(z, y, np.where(np.arange(4) == 0, 0, alpha), tuple(noise))[0]
        yield f"renorm={renorm}: z' of row 0 at alpha = 0 in that batch against z, relative", relative(still[0], z[0])


def renorm_trained(lab: Lab) -> Numbers:
    """What each rescaling achieves, and how much two seeds of one differ."""
    runs = {"sample": lab.demo()}
    runs |= {renorm: lab.trained(f"renorm-{renorm}", transformer__renorm=renorm) for renorm in ("batch", "none")}
    for renorm, run in runs.items():
        yield f"renorm={renorm}: achieved", achieved(run)
    (z, y), key = lab.latents, jax.random.key(0)
    trained = {renorm: networks.load_transformer(run) for renorm, run in runs.items()}
    noise, alpha = trained["none"].sample_noise(key, len(z)), latents.sample_alpha(key, (len(z),))
    moved = trained["none"](z, y, 0.5, noise)[0]
    lengths = np.linalg.norm(moved, axis=1) / np.linalg.norm(z, axis=1)
    yield "renorm=none: length of z' at alpha = .5 over that of z, mean", lengths.mean()
    # a batch of one is rescaled as a sample is
    alone = networks.with_settings(trained["batch"], renorm="sample")(z, y, alpha, noise)[0]
    together = trained["batch"](z, y, alpha, noise)[0]
    moves = [relative(*rows) for rows in zip(alone, together, strict=True)]
    yield f"renorm=batch: z' alone against in a batch of {len(z)}, relative, mean", np.mean(moves)
    still = trained["batch"](z, y, alpha.at[0].set(0), noise)[0][0]
    yield "renorm=batch: z' of row 0 at alpha = 0 in that batch against z, relative", relative(still, z[0])
    for seed in (1, 2):
        yield f"renorm=sample, train.seed={seed}: achieved", achieved(lab.trained(f"seed-{seed}", train__seed=seed))


def learning_rate(lab: Lab) -> Numbers:
    """What the same 200 steps achieve at other rates."""
    for rate in (1e-4, 1e-3):
        yield f"learning rate {rate:g}: achieved", achieved(lab.trained(f"rate-{rate:g}", train__learning_rate=rate))
    yield "learning rate 0.01: achieved", achieved(lab.demo())


def optimizer(lab: Lab) -> Numbers:
    """Our RAdam and optax's against the published one, on the same gradients."""
    golden = np.load(lab.golden / "radam_wd0.0.npz")
    start, rate, theirs = golden["p0"], float(golden["lr"]), golden["params"]
    chains = {"ours": radam.radam(rate), "optax.radam": optax.radam(rate)}
    for name, chain in chains.items():
        steps = trajectory(chain, start, golden["grads"])
        for count in (8, 20):
            yield (
                f"{name}: distance to the published parameters after {count} steps, over theirs to the start",
                np.linalg.norm(steps[count - 1] - theirs[count - 1]) / np.linalg.norm(theirs[count - 1] - start),
            )
    ours, other = (trajectory(chain, start, 1e-6 * golden["grads"])[-1] - start for chain in chains.values())
    yield "optax.radam against ours after 20 steps of gradients a millionth as large", relative(other, ours)
    sixth = [np.diff(trajectory(chain, np.zeros(1), np.ones((6, 1))), axis=0)[-1, 0] for chain in chains.values()]
    yield "rectifier at step 6, optax.radam's over ours", sixth[1] / sixth[0]


def trajectory(chain: optax.GradientTransformation, start: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """Parameters after each step [T, ...]."""
    params, steps = jnp.asarray(start, jnp.float32), []
    state = chain.init(params)
    for grad in jnp.asarray(grads, jnp.float32):
        updates, state = chain.update(grad, state, params)
        params = params + updates
        steps.append(np.asarray(params))
    return np.stack(steps)


def noise(lab: Lab) -> Numbers:
    """Strips of one noise against strips whose noise is drawn anew at every alpha."""
    assessor = workbench.scoring(demo.get_config().assessor).terms[0].assessor
    for name, noises in (("one noise a strip", 1), ("a noise for each tile", len(ALPHAS))):
        images = lab.strips(noises)
        scores = np.stack([assessor(strip) for strip in images])
        summary = statistics.summarise(scores, ALPHAS.tolist(), {}, latents=LATENTS)
        yield f"{name}: achieved", summary["achieved"]
        yield f"{name}: share of monotone strips", summary["monotone_share"]
        yield f"{name}: mean |second difference| of the score along alpha", roughness(scores)


def roughness(scores: np.ndarray) -> float:
    """Mean |second difference| of scores [N, A] along alpha: 0 for straight lines."""
    return float(np.abs(np.diff(scores, 2, axis=1)).mean())


def truncated(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] -> uint8 as published: the fraction of a level is cut off."""
    return (np.clip((images + 1) / 2, 0, 1) * 255).astype(np.uint8)


def as_floats(levels: np.ndarray) -> np.ndarray:
    """uint8 -> [-1, 1]."""
    return levels.astype(np.float32) / 127.5 - 1


def eight_bits(lab: Lab) -> Numbers:
    """Truncating against rounding, on the unedited images."""
    images = lab.strips()[:, len(ALPHAS) // 2]
    made = {"rounded": np.asarray(pictures.to_uint8(images)), "truncated": truncated(images)}
    for name, levels in made.items():
        yield f"{name}: mean shift in levels of 255", float((levels - (images + 1) * 127.5).mean())
        for each in ("brightness", "colourfulness"):
            before, after = (float(PROPERTIES[each](x).mean()) for x in (images, as_floats(levels)))
            yield f"{name}: {each}, relative change of the mean", after / before - 1


def painted(lab: Lab) -> Numbers:
    """Properties as published, of JPEGs with the score painted in, against those of the images."""
    middle, images = len(ALPHAS) // 2, lab.strips()
    ways = {
        "as they are": images,
        "JPEG": jpegs(images, text=""),
        "JPEG with the score": jpegs(images, text="0.53"),
    }
    for name, measure in PROPERTIES.items():
        for way, made in ways.items():
            means = [float(measure(made[:, i]).mean()) for i in (middle, -1)]
            yield f"{name}, {way}: mean at alpha = 0", means[0]
            yield f"{name}, {way}: relative change from alpha = 0 to .5", means[1] / means[0] - 1


def jpegs(images: np.ndarray, text: str) -> np.ndarray:
    """Images [..., R, R, 3] in [-1, 1] written as JPEG at quality 75 and read again.

    Args:
        images: what is written.
        text: painted in white on a black box, 34 by 15 pixels in the upper left corner; empty: none.
    """
    font, read = ImageFont.load_default(12), []
    for levels in truncated(images).reshape(-1, *images.shape[-3:]):
        picture, file = Image.fromarray(levels), io.BytesIO()
        if text:
            ImageDraw.Draw(picture).rectangle((0, 0, 33, 14), fill="black")
            ImageDraw.Draw(picture).text((17, 7), text, fill="white", font=font, anchor="mm")
        picture.save(file, format="JPEG", quality=75)
        read.append(np.asarray(Image.open(file)))
    return as_floats(np.stack(read)).reshape(images.shape)


def random_biggan(lab: Lab, size: int, count: int = 16) -> np.ndarray:
    """Images of a BigGAN of random weights, a twelfth of the published width."""
    generator = networks.load_generator(lab.converted(f"biggan{size}_ch8"))
    drawn = latents.sample_latents(count, SEED, generator.latent_dim, generator.num_classes)
    return np.concatenate([np.asarray(generator(latent.z[None], latent.y[None])) for latent in drawn])


def compared(before: networks.Assessor, after: networks.Assessor, images: Any, resized: Any = None) -> Numbers:
    """Two ways to judge the same images by a softmax of two classes."""
    margins = []
    for assessor, judged in ((before, images), (after, images if resized is None else resized)):
        logits = np.asarray(assessor.logits(judged))
        margins.append(logits[:, 1] - logits[:, 0])
    change = np.abs(np.diff(jax.nn.sigmoid(np.stack(margins)), axis=0))
    yield "mean |score difference|", change.mean()
    yield "largest |score difference|", change.max()
    yield "correlation of the logits", np.corrcoef(margins)[0, 1]


def resize(lab: Lab) -> Numbers:
    """The assessor's resize without antialias against one with, its head rescaled to spread these images' scores."""
    for size in (256, 512):
        images = random_biggan(lab, size)
        assessor = calibration.rescaled(lab.assessor, [images])
        side = assessor.config["image_size"]
        smooth = jax.image.resize(images, (len(images), side, side, 3), "linear", antialias=True)
        for what, value in compared(assessor, assessor, images, smooth):
            yield f"{size} pixels, {len(images)} images: {what}", value


def padding(lab: Lab) -> Numbers:
    """efficientnet_pytorch 0.7.0's padding against 0.7.1's, on the published system's pictures and generated ones."""
    golden, images = np.load(lab.golden / "assessor_b0_v070.npz"), random_biggan(lab, 512)
    cases = {
        f"{size} pixels, golden pictures": (lab.assessor, as_floats(golden[f"images{size}_uint8_nhwc"]))
        for size in (128, 512)
    }
    cases[f"512 pixels, {len(images)} images"] = (calibration.rescaled(lab.assessor, [images]), images)
    for name, (assessor, judged) in cases.items():
        for what, value in compared(assessor, networks.with_settings(assessor, padding="native-same"), judged):
            yield f"{name}: {what}", value


def angles(lab: Lab) -> Numbers:
    """Three directions without an angle term, with the mean of |cos|, and with the published term."""
    (z, y), runs = lab.latents, {}
    for form, weight in (("none", 0.0), ("mean", 0.1), ("published", 0.1)):
        fields = {"angle_form": "mean" if form == "none" else form, "angle_weight": weight, "num_steps": 300}
        fields = {f"train__{name}": value for name, value in fields.items()}
        run = runs[form] = lab.trained(f"angle-{form}", "directions", **fields)
        transformer = networks.load_transformer(run)
        for k in range(transformer.num_directions):
            yield f"angle term {form}: achieved by direction {k}", achieved(run, f"-direction{k}")
        yield f"angle term {form}: mean |cos| between directions", angle(transformer, z, y, "mean")
    without = networks.load_transformer(runs["none"])
    for form in ("published", "mean"):
        for batch in (4, 16):
            value = angle(without, z[:batch], y[:batch], form)
            yield f"the {form} term of the first of these at batch {batch}", value


def angle(transformer: networks.LatentTransformer, z: np.ndarray, y: np.ndarray, form: str) -> float:
    """`objective.angles`, averaged over which direction is chosen."""
    directions = transformer.apply(transformer.state, z, y, method="directions")
    return float(np.mean([objective.angles(directions, k, form) for k in range(len(directions))]))


def clipped(lab: Lab) -> Numbers:
    """Alphas redrawn until the target is a score, against their closed form."""
    random, count = np.random.default_rng(0), 100_000
    for score in (0.02, 0.3, 0.5, 0.9):
        raw = random.uniform(-0.5, 0.5, count).astype(np.float32)
        closed = np.asarray(latents.clip_alpha(raw, np.float32(score)))
        yield f"score {score:g}: two-sample Kolmogorov-Smirnov statistic", ks(redrawn(random, score, count), closed)
    yield "what two samples of one distribution exceed once in twenty", 1.358 * (2 / count) ** 0.5


def redrawn(random: np.random.Generator, score: float, count: int) -> np.ndarray:
    """Alphas as published: from U(-.5, .5) until 0 < score + alpha < 1."""
    alphas = random.uniform(-0.5, 0.5, count)
    while (outside := (score + alphas <= 0) | (score + alphas >= 1)).any():
        alphas[outside] = random.uniform(-0.5, 0.5, outside.sum())
    return alphas


def ks(one: np.ndarray, other: np.ndarray) -> float:
    """The largest distance between the distribution functions of two samples."""
    at = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(sample), at, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def class_reg(lab: Lab) -> Numbers:
    """The published settings for 1,000 classes, with 8."""
    published = {"transformer__class_reg": 1000.0, "transformer__noise_dim_y": None}
    yield "y only, class_reg 1000, no noise: achieved", achieved(lab.trained("y-published", "y_only", **published))
    yield "y only, class_reg 1, 8 of noise: achieved", achieved(lab.trained("y-only", "y_only"))


def spectral_norm(lab: Lab) -> Numbers:
    """Our folded weights against a PyTorch version that normalises at every forward."""
    import torch

    from converters.oracles.biggan import BigGAN

    golden = np.load(lab.golden / "biggan128_ch8.npz")
    state = torch_file.state_dict(torch_file.read(lab.golden / "biggan128_ch8.pth"))
    oracle = BigGAN(128, channels=8)
    oracle.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    with torch.no_grad():
        theirs = oracle(torch.from_numpy(golden["z"]), torch.from_numpy(golden["y"])).numpy()
    ours = networks.load_generator(lab.converted("biggan128_ch8"))(golden["z"], golden["y"])
    ours = np.moveaxis(np.asarray(ours), -1, 1)
    yield "folded against normalised at every forward: largest difference of images", float(np.abs(ours - theirs).max())
    yield "folded against the published port: largest difference", float(np.abs(ours - golden["images_nchw"]).max())


GOLDEN = (renorm_neighbours, optimizer, resize, padding, spectral_norm)
PARTS: dict[str, Callable[[Lab], Numbers]] = {
    part.__name__: part
    for part in (
        *(renorm_neighbours, renorm_trained, learning_rate, optimizer, noise, eight_bits, painted),
        *(resize, padding, angles, clipped, class_reg, spectral_norm),
    )
}


def lacking(part: Callable[[Lab], Numbers]) -> str:
    """What a part needs and does not find; empty: nothing."""
    if part in GOLDEN and not os.environ.get("LATENTJAX_REFERENCE"):
        return "LATENTJAX_REFERENCE is not set"
    return "torch is not installed" if part is spectral_norm and not importlib.util.find_spec("torch") else ""


def parser() -> command_line.Parser:
    """The command line."""
    p = command_line.Parser("python -m benchmarks.differences", description="Measure the rows of docs/differences.md.")
    p.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default: all)")
    p.add_argument("--json", type=pathlib.Path, help="a file for the numbers; parts measured now replace theirs in it")
    p.add_argument("--runs", type=pathlib.Path, help="a folder that keeps the trainings (default: a temporary one)")
    return p


def main(words: list[str]) -> None:
    """Measures the parts asked for.

    Raises:
        InputError: there is no such part, or the painted eyes are not installed.
    """
    chosen = parser().parse_args(words)
    if unknown := [name for name in chosen.parts if name not in PARTS]:
        raise InputError("PART", f"{unknown[0]!r} is unknown", f"use some of {', '.join(PARTS)}")
    workbench.start(demo.get_config())
    record = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(chosen.runs or pathlib.Path(temporary))
        lab.folder.mkdir(parents=True, exist_ok=True)
        names = chosen.parts or list(PARTS)
        for i, name in enumerate(names):
            if reason := lacking(PARTS[name]):
                print(f"{name}: skipped, {reason}", flush=True)
                continue
            logging.info("part %d of %d: %s", i + 1, len(names), name)
            started, values = time.perf_counter(), {}
            for what, value in PARTS[name](lab):
                values[what] = float(value)
                print(f"{name}: {what}: {value:.4g}", flush=True)
            record[name] = {"seconds": round(time.perf_counter() - started, 1), "values": values}
            print(f"{name}: seconds: {record[name]['seconds']:.0f}", flush=True)
            if chosen.json:
                write_json(chosen.json, record)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
