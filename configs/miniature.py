"""The whole paper in miniature: a simulated crowd breeds painted eyes, and a network learns to tell bred from plain.

    python launch.py --job=paper --config=configs/miniature.py --workdir=runs/miniature

Stages: breeding, the pictures, the assessor (from EfficientNet-Lite0), the map, the one-direction baseline, one page
(WORKDIR/index.html). A stopped run goes on with the same command. The crowd's data cannot be had: its process is
simulated (latentjax/breeding.py), nobody's taste is in it, and the score is called bred.
Needs pip install -r requirements-demo.txt -r requirements-report.txt.
Variants: tenth (a tenth of the pictures and steps, to try it) | full (the published scale for real data, nothing
simulated: 24,000 generated pictures beside yours, an EfficientNet-B0 from scratch, 400K steps).

    python -m converters biggan-512.pth weights/biggan512
    python -m latentjax.class_vectors LATENTS weights/classes.json
    python launch.py --job=paper --config=configs/miniature.py:full --workdir=runs/full \
        --config.data.images=FOLDER --config.data.ancestors="('many.txt', 'none.txt')" \
        --config.evaluate.latents=LATENTS --config.latents.classes=artbreeder:weights/classes.json

Hardware: 2 CPU cores, 16 minutes (tenth: 3); full is meant for a TPU or GPU, where it has not run.
Expected: accuracy about .89 on the validation split and .79 on unrelated families, achieved .60 by the map and .35 by
one direction; docs/miniature.md.
"""

from configs import assessor, default

VARIANTS = {
    "tenth": {
        "paper.bred": 120,
        "paper.plain": 60,
        "paper.fresh": 60,
        "assessor_training.num_steps": 60,
        "assessor_training.warmup_steps": 6,
        "assessor_training.validate_every": 30,
        "train.num_steps": 30,
        "train.log_every": 10,
        "train.checkpoint_every": 15,
        "evaluate.count": 8,
    },
    "full": {
        "precision": "auto",
        "generator.weights": "weights/biggan512",
        "assessor.calibrate": False,
        **assessor.PUBLISHED,
        "assessor_training.image_size": None,
        "assessor_training.variant": "b0",
        "assessor_training.log_every": 50,
        "data.size": 512,
        "paper.fresh": 24_000,
        "paper.baseline_learning_rate": 2e-4,  # as published
        "train.num_steps": 400_000,
        "train.batch_size": 8,
        "train.learning_rate": 1e-3,
        "train.log_every": 50,
        "train.checkpoint_every": 1000,
        "transformer.class_reg": 1000.0,
        "transformer.noise_dim_y": None,
        "evaluate.batch_size": 1,  # 11 images of 512 pixels at once
    },
}


def get_config(variants: str = ""):
    """Painted eyes of 128 pixels, half bred, a quarter plain, a quarter freshly generated."""
    c = default.get_config()
    c.generator.weights = "embedded:painted-eyes"
    c.assessor.weights = "embedded:lite0"
    c.assessor.calibrate = True
    c.data.kind = "creativity"
    c.data.size = 128
    c.assessor_training.image_size = 128
    c.assessor_training.num_steps = 800  # some seven times through the training split
    c.assessor_training.schedule = "cosine"
    c.assessor_training.warmup_steps = 50
    c.assessor_training.statistics_batches = 50  # the running ones waver too much after so few steps
    c.assessor_training.log_every = 20
    c.assessor_training.validate_every = 100
    # for 8 classes and few steps, as in configs/demo.py
    c.transformer.class_reg = 1.0
    c.transformer.noise_dim_y = 8
    c.train.num_steps = 300
    c.train.batch_size = 16
    c.train.learning_rate = 1e-2
    c.train.log_every = 20
    c.train.checkpoint_every = 100
    c.train.samples_every = 0
    c.evaluate.count = 64
    c.evaluate.batch_size = 4
    return default.with_variants(c, variants, VARIANTS)
