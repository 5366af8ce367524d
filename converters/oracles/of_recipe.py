"""Our PyTorch version of whatever a converter has recognised."""

from typing import Any

from torch import nn

from converters import biggan
from converters.oracles import biggan_pytorch
from converters.oracles.biggan import BigGAN
from converters.oracles.biggan_deep import BigGANDeep
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet
from converters.oracles.transformer import PUBLISHED, Transformer
from converters.rules import Recipe, State
from latentjax.errors import InputError


def module_of(recipe: Recipe, state: State) -> nn.Module:
    """Our PyTorch version of what a recipe describes, with arbitrary weights.

    Raises:
        InputError: there is none.
    """
    c = recipe.config
    if recipe.kind == "biggan_deep":
        return BigGANDeep(
            c["layers"],
            c["attention_before"],
            c["num_classes"],
            c["channels"],
            c["latent_dim"],
            c["statistics"],
            c["epsilon"],
            port=c.get("compat") == "huggingface",
        )
    if recipe.kind == "biggan" and biggan.recognises(state):
        return BigGAN(c["resolution"], c["num_classes"], c["channels"])
    if recipe.kind == "biggan":
        chunk = c["latent_dim"] // (len(biggan_pytorch.LAYOUTS[c["resolution"]].widths))
        return biggan_pytorch.BigGANPyTorch(c["resolution"], c["num_classes"], c["channels"], chunk)
    if recipe.kind == "dcgan":
        return DCGAN(c["latent_dim"], c["num_classes"], c["widths"])
    if recipe.kind == "efficientnet":
        return EfficientNet(c["variant"], c["num_classes"], c["padding"], c["bn_epsilon"])
    for kind in PUBLISHED:
        settings: Any = {name: c[name] for name in ("noise_dim", "noise_dim_y", "class_reg", "renorm")}
        several: Any = {"num_directions": c["num_directions"]} if c.get("num_directions") else {}
        module = Transformer(c["latent_dim"], c["num_classes"], kind=kind, **settings, **several)
        shapes = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
        if shapes == {key: array.shape for key, array in state.items()}:
            return module
    raise InputError("--prove", "has no PyTorch version of this transformer", "give one of a published kind")


def renamed(recipe: Recipe, state: State) -> State:
    """The file's tensors under the names of our PyTorch version."""
    if recipe.kind == "efficientnet":
        return recipe.state
    if recipe.kind == "biggan" and not biggan.recognises(state):
        stored = {
            key.replace(".bn.stored_", ".stored_").replace(".bn.running_", ".stored_"): a for key, a in state.items()
        }
        return {
            key: a for key, a in stored.items() if not key.endswith(("num_batches_tracked", "accumulation_counter"))
        }
    return state
