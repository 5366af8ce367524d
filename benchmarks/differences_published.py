"""Parts of `benchmarks.differences` that compare with the published networks, or with mathematics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.lab import SEED, TRANSFORMER, Lab, Numbers, as_floats, relative
from converters import torch_file
from latentjax import calibration, latents, networks, radam


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
