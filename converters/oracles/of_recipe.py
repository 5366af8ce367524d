"""Our PyTorch version of whatever a converter has recognised."""

import re
from typing import Any

from torch import nn

from converters import biggan, dcgan, transformer
from converters.oracles.biggan import LAYOUTS, BigGAN
from converters.oracles.biggan_deep import BigGANDeep
from converters.oracles.biggan_pytorch import BigGANPyTorch
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet
from converters.oracles.resnet import ResNet
from converters.oracles.transformer import Transformer
from converters.rules import Recipe, State
from latentjax import weights


def module_of(recipe: Recipe, state: State) -> nn.Module:
    """Our PyTorch version of what a recipe describes, with arbitrary weights.

    Raises:
        InputError: a transformer of no published kind.
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
        chunk = c["latent_dim"] // len(LAYOUTS[c["resolution"]].widths)
        return BigGANPyTorch(c["resolution"], c["num_classes"], c["channels"], chunk)
    if recipe.kind == "dcgan":
        return DCGAN(c["latent_dim"], c["num_classes"], c["widths"])
    if recipe.kind == "efficientnet":
        return EfficientNet(c["variant"], c["num_classes"], c["padding"], c["bn_epsilon"])
    if recipe.kind == "resnet":
        return ResNet(c["num_classes"], c["depths"], c["width"], c["hidden"])
    return transformer_of(c)


def transformer_of(config: dict[str, Any]) -> Transformer:
    """The published kind with the forms of a transformer's config: shapes alone do not tell it.

    Raises:
        InputError: no published kind has them.
    """
    ours: Any = weights.abstract("transformer", config)
    noise_dim, noise_dim_y = ours.noise_dims
    return Transformer(
        ours.latent_dim,
        ours.num_classes,
        kind=transformer.published_kind(ours, "--prove").published,
        noise_dim=noise_dim,
        noise_dim_y=noise_dim_y,
        class_reg=ours.class_reg,
        renorm=ours.renorm,
        num_directions=ours.num_directions or 1,
    )


def renamed(recipe: Recipe, state: State, module: nn.Module) -> State:
    """The file's tensors under the names of our PyTorch version."""
    if recipe.kind in ("efficientnet", "resnet"):
        return recipe.state
    if recipe.kind == "dcgan":  # with other layers between, such as Dropout, the numbers differ
        numbers = dict(zip(dcgan.layers_of(state), dcgan.layers_of(module.state_dict()), strict=True))
        return {
            re.sub(dcgan.LAYER, lambda layer: f"main.{numbers[int(layer[1])]}.", key): array
            for key, array in state.items()
            if re.match(dcgan.LAYER, key)
        }
    if recipe.kind == "biggan" and not biggan.recognises(state):
        stored = {
            key.replace(".bn.stored_", ".stored_").replace(".bn.running_", ".stored_"): a for key, a in state.items()
        }
        return {
            key: a for key, a in stored.items() if not key.endswith(("num_batches_tracked", "accumulation_counter"))
        }
    return state
