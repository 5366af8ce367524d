"""The baseline: one direction for all latents (GANalyze, Goetschalckx et al. 2019).

    python launch.py --config=configs/ganalyze.py --workdir=runs/ganalyze

Weights, hardware and the variants biggan128 | biggan256 | biggan512 as in creativity.py.
Expected (paper): mean scores rise over alpha, less than the learned map's.
"""

from configs import creativity, default


def get_config(variants: str = ""):
    """GANalyze's recipe: Adam 2e-4, 400K samples at batch 4."""
    c = creativity.get_config()
    c.transformer.kind = "one_direction"
    c.train.optimizer = "adam"
    c.train.learning_rate = 2e-4
    c.train.batch_size = 4
    c.train.num_steps = 100_000
    sizes = {name: fields for name, fields in creativity.VARIANTS.items() if name.startswith("biggan")}
    return default.with_variants(c, variants, sizes)
