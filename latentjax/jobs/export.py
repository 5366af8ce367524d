"""The learned direction as a portable model folder, with a card."""

import json
from typing import Any

import jax
from absl import logging

from latentjax import distributed, networks, weights
from latentjax.jobs.workbench import Workbench

CARD = """# A direction in the latent space of a GAN

Learned by latentjax in {steps} steps: z', y' = T(z, y, alpha, noise) moves the latents of generator
`{generator}` so that the score of assessor `{assessor}` changes by alpha.

    T = latentjax.load_transformer("{folder}")
    noise = T.sample_noise(jax.random.key(0), batch)
    z2, y2 = T(z, y, 0.3, noise)

Settings: `{config}`. A score is what its assessor learned, not the property itself.{origin}
"""


def export(bench: Workbench, transformer: networks.LatentTransformer, params: Any, steps: int) -> None:
    """Writes transformer/, unless it is there.

    Args:
        bench: the job's tools.
        transformer: whose kind was learned.
        params: its weights.
        steps: how long they were trained.
    """
    folder = bench.folder.path / "transformer"
    arrays = jax.device_get(weights.named(params))
    if not distributed.is_primary() or weights.holds(folder, arrays):
        return
    assessor = bench.config.assessor.weights or ", ".join(term.name for term in bench.assessor.terms)
    names = {"generator": bench.config.generator.weights, "assessor": assessor}
    source = {"file": "", "sha256": "", "step": steps, **names, **bench.sha256}
    origin = "".join(f" It learned from {origin}." for origin in bench.assessor.origins)
    card = CARD.format(steps=steps, folder=folder, config=json.dumps(transformer.config), origin=origin, **names)
    weights.save(folder, arrays, "transformer", transformer.config, source, card=card, replace=True)
    logging.info("the learned direction is in %s", folder)
