"""Whom a proof puts on the stage: the file's network, random ones in the other roles, and seeded input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from converters import dcgan, efficientnet, transformer
from converters.oracles import fixtures, of_recipe
from converters.oracles.biggan_deep import BigGANDeep
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet, preprocess
from converters.oracles.resnet import ResNet
from converters.oracles.transformer import Transformer
from converters.rules import Recipe, State
from latentjax import weights
from latentjax.errors import InputError

SEED, TRUNCATION = 0, 0.555
KIND = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"  # of the random transformer
ToRecipe = Callable[[State], Recipe]


class Read(NamedTuple):
    """A state dict, and the converter that reads it."""

    state: State  # float32
    to_recipe: ToRecipe


class Cast(NamedTuple):
    """The three networks in PyTorch, what the converters read for each role, and how the assessor sees images."""

    generator: fixtures.Generator
    assessor: EfficientNet | ResNet
    transformer: Transformer
    reads: dict[str, Read]
    preprocessing: dict[str, Any]  # of the assessor's images, see `preprocess`

    @property
    def batch(self) -> int:
        """How many latents are enough: 1 of large images, else 2."""
        return 1 if self.generator.resolution > 256 else 2

    def generate(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, R, R] in [-1, 1]."""
        extra = (TRUNCATION,) if isinstance(self.generator, BigGANDeep) else ()
        return self.generator(z, y, *extra)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """All that the assessor says of images, [B, n]."""
        return self.assessor(preprocess(images, **self.preprocessing))

    def assess(self, images: torch.Tensor) -> torch.Tensor:
        """Images -> scores [B]."""
        return score(self.logits(images))


def score(logits: torch.Tensor) -> torch.Tensor:
    """Scores [B] of logits [B, n]: the probability of class 1, or the sigmoid of a single output."""
    return torch.sigmoid(logits)[:, 0] if logits.shape[1] == 1 else torch.softmax(logits, dim=1)[:, 1]


def cast_for(state: State, to_recipe: ToRecipe) -> Cast:
    """The file's network, and random ones in the other roles.

    Args:
        state: the file's tensors, of any dtypes.
        to_recipe: its converter, with the user's options.

    Raises:
        InputError: our PyTorch version does not take the file's tensors.
    """
    # numbers that PyTorch and NumPy do not share, such as bfloat16, are exact in float32
    state = {key: array if array.dtype.kind in "biu" else array.astype(np.float32) for key, array in state.items()}
    recipe = to_recipe(state)
    role = weights.ROLE_OF[recipe.kind]
    given = loaded(recipe, state)
    sizes: Any = {"latent_dim": 100, "num_classes": 8}
    if role != "assessor":
        sizes = {name: getattr(given, name) for name in sizes}
    modules: dict[str, Any] = {
        "generator": DCGAN(**sizes, widths=(64, 32, 16, 8, 8)),
        "assessor": EfficientNet("b0", num_classes=2),
        "transformer": Transformer(**sizes, kind=KIND),
    }
    for seed, (other, module) in enumerate(modules.items()):
        if other != role:
            fixtures.randomise(module, seed=SEED + seed)
    modules[role] = given
    preprocessing: dict[str, Any] = {"size": 224}
    if role == "assessor":
        config = recipe.config
        preprocessing = {"size": config["image_size"], "mean": config["mean"], "std": config["std"]}
        preprocessing["antialias"] = recipe.kind == "resnet"
    cast = Cast(**modules, reads={}, preprocessing=preprocessing)
    if role != "assessor":  # scores in the middle have a gradient
        draws = {name: torch.from_numpy(array).float() for name, array in draws_for(cast, 2).items()}
        with torch.no_grad():
            fixtures.calibrate_head(modules["assessor"], cast.generate(*cast.transformer(**draws)))
    readers: dict[str, ToRecipe] = {
        "generator": lambda state: dcgan.recipe(state, "random", sizes["num_classes"]),
        "assessor": lambda state: efficientnet.recipe(state, "random", None, "symmetric"),
        "transformer": lambda state: transformer.recipe(state, "random", sizes["num_classes"], None, None),
    }
    for name, reader in readers.items():
        cast.reads[name] = Read(tensors_of(modules[name]), reader)
    cast.reads[role] = Read(state, to_recipe)
    return cast


def loaded(recipe: Recipe, state: State) -> nn.Module:
    """Our PyTorch version of the file's network, with its weights.

    Raises:
        InputError: it does not take them.
    """
    module = of_recipe.module_of(recipe, state)
    named = of_recipe.renamed(recipe, state, module)
    try:
        module.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in named.items()})
    except RuntimeError as error:
        what = f"does not fit our PyTorch version of it ({str(error).splitlines()[-1].strip():.200})"
        raise InputError("--prove", what, "give the whole, unchanged published file") from error
    return module


def tensors_of(module: nn.Module) -> State:
    """The tensors that a module has now, by name; later changes do not show."""
    return {key: tensor.numpy().copy() for key, tensor in module.state_dict().items()}


def draws_for(cast: Cast, batch: int) -> dict[str, np.ndarray]:
    """The seeded input: z [B, Z], y [B, C], alpha [B], and noise_z or noise_y [B, n] where the transformer sees one."""
    random = torch.Generator().manual_seed(SEED)
    z, y = fixtures.sample_inputs(cast.transformer, batch, random)
    noise = {
        name: torch.randn(len(z), width, generator=random).numpy()
        for name, width in (("noise_z", cast.transformer.noise_dim), ("noise_y", cast.transformer.noise_dim_y))
        if width
    }
    return {"z": z.numpy(), "y": y.numpy(), "alpha": np.linspace(-0.3, 0.4, len(z)), **noise}
