"""Parts of `benchmarks.differences` that train on painted eyes, or look at what was trained."""

import io

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.lab import ALPHAS, LATENTS, Lab, Numbers, achieved, as_floats, relative
from configs import demo
from latentjax import latents, networks, objective, pictures
from latentjax.jobs import workbench
from latentjax.properties import PROPERTIES
from latentjax.report import statistics


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


def class_reg(lab: Lab) -> Numbers:
    """The published settings for 1,000 classes, with 8."""
    published = {"transformer__class_reg": 1000.0, "transformer__noise_dim_y": None}
    yield "y only, class_reg 1000, no noise: achieved", achieved(lab.trained("y-published", "y_only", **published))
    yield "y only, class_reg 1, 8 of noise: achieved", achieved(lab.trained("y-only", "y_only"))
