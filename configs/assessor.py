"""An assessor of a property of your own, learned from pictures: the target of a later --job=train.

    python launch.py --job=train_assessor --config=configs/assessor.py --workdir=runs/mine \
        --config.data.images=FOLDER
    python launch.py --job=train_assessor --config=configs/assessor.py:creativity --workdir=runs/creative \
        --config.data.images=FOLDER --config.data.ancestors="('many.txt', 'none.txt')" --config.data.generated=FOLDER
    python launch.py --job=train_assessor --config=configs/assessor.py:scores --workdir=runs/liked \
        --config.data.images=FOLDER --config.data.scores=scores.csv

Variants: folder (default; a class for each sub-folder) | creativity (the paper's: more than 100 ancestors against none
and generated ones, lists of "key ancestors" a line) | scores (a number for each picture, "name,value" a line, as a
regression).
folder and scores start from EfficientNet-Lite0 (pip install -r requirements-demo.txt), which hundreds of pictures can
teach; --config.assessor.weights= starts from scratch, as creativity does for its tens of thousands.
With --config.generator.weights=FOLDER the report looks at generated images too: can the assessor be a target?
Then: python launch.py --config=configs/creativity.py --workdir=... --config.assessor.weights=runs/mine/assessor
Hardware: folder and scores for a CPU, minutes for hundreds of pictures; creativity for a TPU or GPU.
"""

from configs import default

# from scratch with the paper's recipe: RAdam 1e-3 at batch 16, noise of 4 / 255, no schedule
PUBLISHED = {
    "assessor.weights": "",
    "assessor_training.num_steps": 45_000,
    "assessor_training.learning_rate": 1e-3,
    "assessor_training.schedule": "constant",
    "assessor_training.warmup_steps": 0,
    "assessor_training.statistics_batches": 0,
    "assessor_training.validate_every": 1000,
    "assessor_training.patience": 0,
}
VARIANTS = {
    "folder": {"data.kind": "image_folder"},
    "creativity": {"data.kind": "creativity", "data.size": 512, "precision": "auto", **PUBLISHED},
    "scores": {"data.kind": "image_folder", "assessor_training.output": "regression"},
}


def get_config(variants: str = ""):
    """Some hundred pictures and trained weights: a thousand steps with a warm-up and a cosine."""
    c = default.get_config()
    c.assessor.weights = "embedded:lite0"
    c.data.size = 256
    c.assessor_training.num_steps = 1000
    c.assessor_training.learning_rate = 1e-3
    c.assessor_training.schedule = "cosine"
    c.assessor_training.warmup_steps = 50
    c.assessor_training.statistics_batches = 50  # the running ones waver too much after so few steps
    c.assessor_training.log_every = 20
    c.assessor_training.validate_every = 100
    c.assessor_training.patience = 5
    return default.with_variants(c, variants, VARIANTS)
