"""The paper's z-and-y transformer, learned with BigGAN and the creativity assessor.

    python -m converters biggan-512.pth weights/biggan512
    python -m converters best.pth weights/creative
    python launch.py --config=configs/creativity.py --workdir=runs/creativity

Variants: biggan128 | biggan256 | biggan512 (default), and reference (the published code's training).
Hardware: meant for a TPU or GPU, where it has not run yet; on a CPU seconds a step.
Expected (paper): mean scores rise over alpha and exceed the one-direction baseline's most at -.5, .4 and .5.
"""

from configs import default

VARIANTS = {
    f"biggan{size}": {"generator.weights": f"weights/biggan{size}", "plan.generator": f"biggan{size}"}
    for size in (128, 256, 512)
}
# the published code and README where they differ from the paper or from us, see docs/differences.md; but for the
# unseeded noise: such a run cannot be repeated, or compared with anything
VARIANTS["reference"] = {
    "transformer.renorm": "batch",
    "train.learning_rate": 1e-4,
    "train.num_steps": 50_000,  # "400,000 samples" at batch 8
    "train.batch_size": 8,
    "train.angle_form": "published",  # train.angle_weight is 1 / its angle_loss_reg, which its user chooses
}


def get_config(variants: str = ""):
    """The paper's recipe: RAdam 1e-3, 400K steps at batch 8."""
    c = default.get_config()
    c.precision = "auto"
    c.generator.weights = "weights/biggan512"
    c.assessor.weights = "weights/creative"
    c.evaluate.batch_size = 1  # 11 images of 512 pixels at once
    c.plan.generator, c.plan.assessor = "biggan512", "efficientnet-b0"
    return default.with_variants(c, variants, VARIANTS)
