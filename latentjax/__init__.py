"""latentjax: learn, measure and show directions in the latent space of a GAN.

G = latentjax.load_generator("weights/biggan512")   # G(z, y) -> images [B, R, R, 3] in [-1, 1]
A = latentjax.load_assessor("weights/creative")     # A(images) -> scores [B] in [0, 1]; A.logits(images)
T = latentjax.load_transformer("runs/demo")         # T(z, y, alpha, noise) -> z', y'
noise = T.sample_noise(key, batch)
"""

from typing import TYPE_CHECKING, Any

from latentjax.errors import InputError

if TYPE_CHECKING:
    from latentjax.networks import load_assessor, load_generator, load_transformer

__all__ = ["InputError", "load_assessor", "load_generator", "load_transformer"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The loaders, when they are first asked for: a command listens to signals before it imports JAX."""
    if name in __all__:
        from latentjax import networks

        return getattr(networks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
