"""Data sets: prepared from pictures or latents by TFDS builders, read without TensorFlow, fed by Grain.

examples = latentjax.data.prepare(config.data, folder)      # or open_set(folder)
examples.counts, examples.names                             # {"train": {"cat": 80, "dog": 80}, ...}, ("cat", "dog")
for batch in pipeline.batches(examples.source("train"), size=224, batch=16, seed=0): ...
"""

from latentjax.data.sets import Preparation, Set, check, open_set, prepare

__all__ = ["Preparation", "Set", "check", "open_set", "prepare"]
