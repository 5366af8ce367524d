"""--prove: on a user's own file, our PyTorch version of its network beside ours in JAX.

Both see the same seeded input, with random networks for the other roles: images, scores, the gradient to the latent,
and one training step, in float32 and in float64. In float64 two right implementations agree to its last digits but for
the order of sums; in float32 ours has to be as near to the float64 truth as PyTorch's own float32 is.
"""

import datetime
import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from converters import dcgan, efficientnet, rules, transformer
from converters.oracles import fixtures, of_recipe
from converters.oracles.biggan_deep import BigGANDeep
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet, preprocess
from converters.oracles.radam import RAdam
from converters.oracles.training import training_step
from converters.oracles.transformer import Transformer
from converters.rules import Recipe, State
from latentjax import networks, objective, weights
from latentjax.errors import InputError
from latentjax.jobs import train
from latentjax.radam import radam

SEED, TRUNCATION = 0, 0.555
RATE = 1.0  # large, so that a step is seen beside the weights that it changes
KIND = "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear"  # of the random transformer
FLOAT64 = 1e-7  # errors are relative to the largest value
# in float32 ours may lose this, or `MARGIN` times what PyTorch loses
FLOAT32 = {"images": 5e-5, "scores": 5e-5, "gradient to the latent": 1e-3, "training step": 1e-3}
MARGIN = 4.0
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")
Found = dict[str, np.ndarray]
ToRecipe = Callable[[State], Recipe]


class Cast(NamedTuple):
    """The three networks in PyTorch, and how the converters read each."""

    generator: nn.Module
    assessor: nn.Module
    transformer: Transformer
    recipes: dict[str, ToRecipe]  # by role
    preprocessing: dict[str, Any]  # image size, mean and deviation of the assessor

    def assess(self, images: torch.Tensor) -> torch.Tensor:
        """Images -> scores [B]: the probability of class 1, or the sigmoid of a single output."""
        logits = self.assessor(preprocess(images, **self.preprocessing))
        return torch.sigmoid(logits)[:, 0] if logits.shape[1] == 1 else torch.softmax(logits, dim=1)[:, 1]

    def generate(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, R, R]."""
        extra = (TRUNCATION,) if isinstance(self.generator, BigGANDeep) else ()
        return self.generator(z, y, *extra)


def certificate(file: str, sha256: str, state: State, to_recipe: ToRecipe) -> dict[str, Any]:
    """What the two sides made of a file, and whether ours passed.

    Args:
        file, sha256: its name and checksum.
        state: its state dict.
        to_recipe: the converter, with the user's options.

    Raises:
        InputError: the file does not fit its architecture, or our PyTorch version does not exist.
    """
    cast = cast_for(state, to_recipe)
    draws = draws_for(cast)
    theirs = {dtype: theirs_of(cast, draws, dtype) for dtype in (torch.float64, torch.float32)}
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        with jax.enable_x64(True):
            wide = ours_of(cast, draws, np.float64)
        ours = ours_of(cast, draws, np.float32)
    figures = []
    for name, truth in theirs[torch.float64].items():
        size = float(np.abs(truth).max())
        found = {"float32": ours, "pytorch_float32": theirs[torch.float32], "float64": wide}
        errors = {dtype: float(np.abs(values[name] - truth).max()) / size for dtype, values in found.items()}
        allowed = max(FLOAT32[name], MARGIN * errors["pytorch_float32"])
        passed = size > 0 and errors["float32"] <= allowed and errors["float64"] <= FLOAT64
        figures.append(
            {"quantity": name, **errors, "allowed_float32": allowed, "allowed_float64": FLOAT64, "passed": passed}
        )
    recipe = to_recipe(state)
    return {
        "file": file,
        "sha256": sha256,
        "kind": recipe.kind,
        "config": recipe.config,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "seed": SEED,
        "figures": figures,
        "passed": all(row["passed"] for row in figures),
    }


def cast_for(state: State, to_recipe: ToRecipe) -> Cast:
    """The file's network, and random ones in the other roles.

    Raises:
        InputError: our PyTorch version does not take the file's tensors.
    """
    recipe = to_recipe(state)
    role = next(role for role, kinds in weights.ROLES.items() if recipe.kind in kinds)
    given = of_recipe.module_of(recipe, state)
    try:
        given.load_state_dict(
            {key: torch.from_numpy(np.array(array)) for key, array in of_recipe.renamed(recipe, state).items()}
        )
    except RuntimeError as error:
        what = f"does not fit our PyTorch version of it ({str(error).splitlines()[-1].strip():.200})"
        raise InputError("--prove", what, "give the whole, unchanged published file") from error
    sizes: Any = {"latent_dim": 100, "num_classes": 8}
    if role != "assessor":
        sizes = {name: getattr(given, name) for name in sizes}
    made: dict[str, nn.Module] = {
        "generator": DCGAN(**sizes, widths=(64, 32, 16, 8, 8)),
        "assessor": EfficientNet("b0", num_classes=2),
        "transformer": Transformer(**sizes, kind=KIND),
    }
    recipes: dict[str, ToRecipe] = {
        "generator": lambda state: dcgan.recipe(state, "random", sizes["num_classes"]),
        "assessor": lambda state: efficientnet.recipe(state, "random", None, "symmetric"),
        "transformer": lambda state: transformer.recipe(state, "random", sizes["num_classes"], None, None),
    }
    for seed, (other, module) in enumerate(made.items()):
        if other != role:
            fixtures.randomise(module, seed=SEED + seed)
    made[role], recipes[role] = given, to_recipe
    config = recipe.config if role == "assessor" else {}
    preprocessing = {"size": config.get("image_size", 224)} | {k: config[k] for k in ("mean", "std") if k in config}
    cast = Cast(made["generator"], made["assessor"], made["transformer"], recipes, preprocessing)  # type: ignore[arg-type]
    if role != "assessor":  # scores in the middle have a gradient
        with torch.no_grad():
            z, y = fixtures.sample_inputs(made["generator"], 2, torch.Generator().manual_seed(SEED))  # type: ignore[arg-type]
            fixtures.calibrate_head(made["assessor"], cast.generate(z, y))  # type: ignore[arg-type]
    return cast


def draws_for(cast: Cast) -> dict[str, np.ndarray]:
    """The seeded input: z, y, alpha and the transformer's noise."""
    random = torch.Generator().manual_seed(SEED)
    large = getattr(cast.generator, "resolution", 128) > 256
    z, y = fixtures.sample_inputs(cast.transformer, 1 if large else 2, random)
    noise = {
        name: torch.randn(len(z), width, generator=random).numpy()
        for name, width in (("noise_z", cast.transformer.noise_dim), ("noise_y", cast.transformer.noise_dim_y))
        if width
    }
    return {"z": z.numpy(), "y": y.numpy(), "alpha": np.linspace(-0.3, 0.4, len(z)), **noise}


def theirs_of(cast: Cast, draws: dict[str, np.ndarray], dtype: torch.dtype) -> Found:
    """What PyTorch finds."""
    for module in cast[:3]:
        module.to(dtype)
    given = {name: torch.from_numpy(array).to(dtype) for name, array in draws.items()}
    z, y = given["z"].clone().requires_grad_(), given["y"].clone().requires_grad_()
    images = cast.generate(z, y)
    scores = cast.assess(images)
    gradient = torch.autograd.grad(scores.mean(), (z, y))
    kept = {key: tensor.clone() for key, tensor in cast.transformer.state_dict().items()}
    optimizer = RAdam(cast.transformer.parameters(), lr=RATE)
    training_step(cast.generate, cast.assess, cast.transformer, optimizer, **given)  # type: ignore[arg-type]
    before, after = (
        arrays_of(cast.recipes["transformer"], {key: tensor.numpy() for key, tensor in tensors.items()}, np.float64)
        for tensors in (kept, cast.transformer.state_dict())
    )
    changed = change(before, after)
    cast.transformer.load_state_dict(kept)  # for the other dtype
    return {
        "images": np.moveaxis(images.detach().numpy(), 1, -1),
        "scores": scores.detach().numpy(),
        "gradient to the latent": np.concatenate([part.numpy() for part in gradient], axis=1),
        "training step": changed,
    }


def ours_of(cast: Cast, draws: dict[str, np.ndarray], dtype: Any) -> Found:
    """What JAX finds, with the weights as the converters make them."""
    made = {role: network_of(cast, role, dtype) for role in cast.recipes}
    generator, assessor, mover = made["generator"], made["assessor"], made["transformer"]
    chain = radam(RATE)

    def generate(state: Any, z: jax.Array, y: jax.Array) -> jax.Array:
        return generator.apply(state, z, y, *generator.after_latents(TRUNCATION))

    nets = objective.Networks(generate, assessor.apply, mover.apply)
    frozen = objective.Frozen(generator.state, assessor.state)

    @jax.jit
    def run(state: train.TrainState, frozen: objective.Frozen, given: dict[str, jax.Array]) -> Any:
        def score(z: jax.Array, y: jax.Array) -> Any:
            images, scores, _ = objective.assess(nets, frozen, z, y)
            return scores.mean(), (images, scores)

        (_, seen), gradient = jax.value_and_grad(score, argnums=(0, 1), has_aux=True)(given["z"], given["y"])
        drawn = {"noise_z": None, "noise_y": None, **given, "alpha": given["alpha"][:, None], "direction": 0}
        step = train.make_step(nets, chain, lambda _: drawn, clip=False)
        return *seen, gradient, step(state, frozen)[0].params

    state = train.initial_state(mover.state, chain)
    given = {name: jnp.asarray(array, dtype) for name, array in draws.items()}
    images, scores, gradient, params = jax.device_get(run(state, frozen, given))
    before, after = (weights.named(jax.device_get(tree)) for tree in (mover.state, params))
    return {
        "images": images,
        "scores": scores,
        "gradient to the latent": np.concatenate(gradient, axis=1),
        "training step": change(before, after),
    }


def network_of(cast: Cast, role: str, dtype: Any) -> Any:
    """Our network of a role, from the PyTorch one's tensors."""
    module = {"generator": cast.generator, "assessor": cast.assessor, "transformer": cast.transformer}[role]
    state = {key: tensor.numpy().astype(dtype) for key, tensor in module.state_dict().items()}
    recipe = cast.recipes[role](state)
    config = recipe.config
    if role == "assessor":
        single = config["num_classes"] == 1
        config = config | {"output": "sigmoid" if single else "softmax", "output_class": 0 if single else 1}
    made = weights.abstract(recipe.kind, config)
    weights.fill(made, arrays_of(lambda _: recipe, state, dtype))
    return networks.HANDLES[role](made, {"kind": recipe.kind, "config": config})


def arrays_of(to_recipe: ToRecipe, state: State, dtype: Any) -> State:
    """Path to array."""
    recipe = to_recipe(state)
    return rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state", dtype)


def change(before: State, after: State) -> np.ndarray:
    """By how much all weights changed, in one row."""
    return np.concatenate([np.ravel(after[path].astype(np.float64) - before[path]) for path in sorted(before)])
