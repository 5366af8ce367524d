"""bfloat16 where it costs little: in the generator, its z and y too, and in the assessor's trunk.

Norms, the assessor's head, the softmax, image properties, the map of z and y, the loss and the optimizer are float32.
"""

from typing import Any

import jax
import jax.numpy as jnp

from latentjax import networks

EXACT = ("norm", "classifier")  # parts of a weight's path


def chosen(name: str, mesh: jax.sharding.Mesh) -> str:
    """The precision that config.precision means on these devices: "float32" or "bfloat16"."""
    if name != "auto":
        return name
    return "float32" if mesh.devices.flat[0].platform == "cpu" else "bfloat16"


def in_bfloat16(tree: Any) -> Any:
    """Weights in bfloat16, but for those of `EXACT`."""

    def cast(path: Any, leaf: jax.Array) -> jax.Array:
        exact = any(part in jax.tree_util.keystr(path) for part in EXACT)
        return leaf if exact else leaf.astype(jnp.bfloat16)

    return jax.tree_util.tree_map_with_path(cast, tree)


def generate(generator: networks.Generator, truncation: float, state: Any, z: jax.Array, y: jax.Array) -> jax.Array:
    """G in the precision of its weights, at the truncation of z where it depends on that; the images are float32."""
    dtype = lowest(state)
    return generator.apply(state, z.astype(dtype), y.astype(dtype), *generator.after_latents(truncation))


def lowest(state: Any) -> Any:
    """The narrowest dtype among the weights."""
    return min({leaf.dtype for leaf in jax.tree.leaves(state)}, key=lambda dtype: dtype.itemsize)
