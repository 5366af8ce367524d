"""The embedded default: painted eyes made more and less colourful, moving z and y.

    python launch.py --config=configs/demo.py --workdir=runs/demo

The generator is a class-conditional DCGAN of eyes cut from paintings (pip install -r requirements-demo.txt).
The assessor measures colourfulness: sigmoid(slope (ln(M + 1) - centre)), M of Hasler and Suesstrunk (2003).
Variants: z_only | y_only | one_direction (the baseline, at its own learning rate) | directions (three, in turn) |
constrained (more colourful, as bright as before: mean brightness within 1 % over all alphas) | imagenet (more and less
like a banded gecko to EfficientNet-Lite0: a trained generator and a trained assessor; 6 minutes, and a harder thing to
learn: achieved about .22).
Hardware: 2 CPU cores, 3 minutes. Expected: mean scores rise from about .17 to .80 along alpha, achieved about .79.
"""

from configs import default

VARIANTS = {
    "z_only": {"transformer.y": "none"},
    "y_only": {"transformer.z": "none"},
    # a single vector of length 10 has further to go: at 1e-2 it achieves .19, at 1e-1 .67
    "one_direction": {"transformer.kind": "one_direction", "train.learning_rate": 1e-1},
    "directions": {"transformer.kind": "two_layer_directions", "train.num_steps": 600},  # 200 for each of three
    # a trained network judges: by how much a gecko beats every other class
    "imagenet": {
        "assessor.weights": "embedded:lite0",
        "assessor.centre": None,
        "assessor.slope": None,
        "assessor.output": "margin",
        "assessor.output_class": 38,
        "assessor.calibrate": True,
    },
    # for --job=evaluate: the learned map beside other ways, on one page; one_direction was learned into
    # runs/demo-one_direction before
    "compare": {
        "evaluate.runs": (
            "learned",
            "one direction=runs/demo-one_direction",
            "ascent",
            "svm",
            "pca",
            "sefa",
            "random",
        ),
        "evaluate.noise_seeds": (0, 1, 2),
        "evaluate.ascent_steps": 5,
        "evaluate.judged_alphas": (-0.3, 0.0, 0.3),
        "evaluate.features": "embedded:lite0",
        "evaluate.classifier": "embedded:eye-colours",
        "evaluate.held_out": ({"weights": "embedded:chroma"},),
    },
    # more colourful, as bright as before
    "constrained": {
        "assessor.weights": "",
        "assessor.centre": None,
        "assessor.slope": None,
        "train.num_steps": 400,
        "assessor.terms": (
            {"weights": "embedded:colourfulness", "centre": 3.36, "slope": 1.5},
            {"weights": "embedded:brightness", "weight": 60.0, "keep": True},
        ),
    },
}


def get_config(variants: str = ""):
    """The paper's recipe, shortened and sized for 8 classes."""
    c = default.get_config()
    c.generator.weights = "embedded:painted-eyes"
    c.assessor.weights = "embedded:colourfulness"
    # set once from 2,048 of the generator's own images, whose scores then have median .5 and 5 to 95 % over .15 to
    # .85 (latentjax.assessors.image_property.calibrate); no knob for better figures
    c.assessor.centre = 3.36
    c.assessor.slope = 1.50
    # the published 1000 and int(8 * 8 / 100) = 0 fit 1,000 classes; with 8 they would nearly stop y
    c.transformer.class_reg = 1.0
    c.transformer.noise_dim_y = 8
    c.train.num_steps = 200
    c.train.batch_size = 16
    c.train.learning_rate = 1e-2  # ten times the paper's: 200 steps are few
    c.train.log_every = 20
    c.train.checkpoint_every = 100
    c.train.samples_every = 100
    c.evaluate.before_train = True
    c.evaluate.batch_size = 8
    return default.with_variants(c, variants, VARIANTS)
