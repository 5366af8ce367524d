"""--prove: on a user's own file, our PyTorch version of its network beside ours in JAX.

Both see the same seeded latents, moved by a transformer, with random networks for the other roles: images, logits,
scores, the gradient to the latent, and one training step, in float32 and in float64. In float64 two right
implementations agree to its last digits but for the order of sums; in float32 ours has to be as near to the float64
truth as PyTorch's own float32 is. Layers take the forms in use in float32, and the plain ones in float64.
"""

import datetime
import importlib.metadata
import math
import platform
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import latentjax
from converters import rules
from converters.oracles.proof_networks import SEED, TRUNCATION, Cast, Read, cast_for, draws_for, score, tensors_of
from converters.oracles.radam import RAdam
from converters.oracles.reading import Reading
from converters.oracles.training import training_step
from converters.rules import State
from latentjax import forms, networks, objective, weights
from latentjax.errors import InputError
from latentjax.jobs import train
from latentjax.radam import radam
from latentjax.run_folder import git_revision

RATE = 1.0  # large, so that a step is seen beside the weights that it changes
# errors are relative to the largest value; right networks of every kind were within 1e-11
FLOAT64 = 1e-9
# in float32 ours may lose this, or `MARGIN` times what PyTorch loses
FLOAT32 = {"images": 5e-5, "logits": 5e-5, "scores": 5e-5, "gradient to the latent": 1e-3, "training step": 1e-3}
MARGIN = 4.0
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch")
Found = dict[str, np.ndarray]


def certificate(file: str, sha256: str, reading: Reading, read: Read) -> dict[str, Any]:
    """What the two sides made of a file, and whether ours passed; as JSON has it, null for what is no number.

    Args:
        file, sha256: its name and checksum.
        reading: how our reader's tensors compare with PyTorch's.
        read: its tensors, and the converter with the user's options.

    Raises:
        InputError: the file does not fit its architecture, or our PyTorch version of it; or JAX may not use the CPU.
    """
    cast = cast_for(*read)
    draws = draws_for(cast, cast.batch)
    truth, theirs = (theirs_of(cast, draws, dtype) for dtype in (torch.float64, torch.float32))
    with jax.default_device(the_cpu()), jax.default_matmul_precision("highest"):
        # XLA's CPU backend is slow at the other forms in float64; float32 takes those in use
        with jax.enable_x64(True), forms.using("plain"):
            wide = ours_of(cast, draws, np.float64)
        ours = ours_of(cast, draws, np.float32)
    figures = [
        row(name, truth[name], {"float32": ours[name], "pytorch_float32": theirs[name], "float64": wide[name]})
        for name in truth
    ]
    recipe = read.to_recipe(read.state)
    revision = git_revision()
    return {
        "file": file,
        "sha256": sha256,
        "read": reading.note,
        "kind": recipe.kind,
        "config": recipe.config,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "latentjax": f"{latentjax.__version__} ({revision})" if revision else latentjax.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "forms": f"plain in float64, those of a {jax.default_backend()} in float32",
        "seed": SEED,
        "figures": figures,
        "passed": reading.same and all(figure["passed"] for figure in figures),
    }


def the_cpu() -> Any:
    """Where both sides compute.

    Raises:
        InputError: JAX is told not to use it.
    """
    try:
        return jax.devices("cpu")[0]
    except RuntimeError as error:
        raise InputError("JAX_PLATFORMS", "leaves out the CPU, on which a file is proven", "unset it") from error


def row(name: str, truth: np.ndarray, found: Found) -> dict[str, Any]:
    """The largest errors of a quantity by side, relative to its largest value, and whether they are small enough."""
    size = float(np.abs(truth).max())
    errors = {
        side: float(np.abs(values - truth).max()) / size if 0 < size < math.inf else math.nan
        for side, values in found.items()
    }
    whole = all(map(math.isfinite, errors.values()))
    allowed = max(FLOAT32[name], MARGIN * errors["pytorch_float32"]) if whole else FLOAT32[name]
    return {
        "quantity": name,
        **{side: error if math.isfinite(error) else None for side, error in errors.items()},
        "allowed_float32": allowed,
        "allowed_float64": FLOAT64,
        "passed": whole and errors["float32"] <= allowed and errors["float64"] <= FLOAT64,
    }


def theirs_of(cast: Cast, draws: dict[str, np.ndarray], dtype: torch.dtype) -> Found:
    """What PyTorch finds."""
    for module in cast[:3]:
        module.to(dtype)
    given = {name: torch.from_numpy(array).to(dtype) for name, array in draws.items()}
    unmoved = given["z"].clone().requires_grad_(), given["y"].clone().requires_grad_()
    moved = cast.transformer(*unmoved, *(given.get(name) for name in ("alpha", "noise_z", "noise_y")))
    images = cast.generate(*moved)
    logits = cast.logits(images)
    scores = score(logits)
    gradient = torch.autograd.grad(scores.mean(), unmoved)
    kept = {key: tensor.clone() for key, tensor in cast.transformer.state_dict().items()}
    optimizer = RAdam(cast.transformer.parameters(), lr=RATE)
    training_step(cast.generate, cast.assess, cast.transformer, optimizer, **given)  # type: ignore[arg-type]
    to_recipe = cast.reads["transformer"].to_recipe
    before = arrays_of(Read({key: tensor.numpy() for key, tensor in kept.items()}, to_recipe), np.float64)
    after = arrays_of(Read(tensors_of(cast.transformer), to_recipe), np.float64)
    cast.transformer.load_state_dict(kept)  # for the other dtype
    return {
        "images": np.moveaxis(images.detach().numpy(), 1, -1),
        "logits": logits.detach().numpy(),
        "scores": scores.detach().numpy(),
        "gradient to the latent": np.concatenate([part.numpy() for part in gradient], axis=1),
        "training step": change(before, after),
    }


def ours_of(cast: Cast, draws: dict[str, np.ndarray], dtype: Any) -> Found:
    """What JAX finds, with the weights as the converters make them."""
    made = {role: network_of(role, read, dtype) for role, read in cast.reads.items()}
    generator, assessor, mover = made["generator"], made["assessor"], made["transformer"]
    chain = radam(RATE)

    def generate(state: Any, z: jax.Array, y: jax.Array) -> jax.Array:
        return generator.apply(state, z, y, *generator.after_latents(TRUNCATION))

    nets = objective.Networks(generate, assessor.apply, mover.apply)
    frozen = objective.Frozen(generator.state, assessor.state)

    @jax.jit
    def run(state: train.TrainState, frozen: objective.Frozen, given: dict[str, jax.Array]) -> Any:
        drawn = {"noise_z": None, "noise_y": None, **given, "alpha": given["alpha"][:, None], "direction": 0}

        def judged(z: jax.Array, y: jax.Array) -> Any:
            noise = drawn["noise_z"], drawn["noise_y"]
            images = generate(frozen.generator, *mover.apply(state.params, z, y, given["alpha"], noise))
            logits = assessor.apply(frozen.assessor, images, method="logits")
            scores = assessor.output(logits)
            return scores.mean(), (images, logits, scores)

        (_, seen), gradient = jax.value_and_grad(judged, argnums=(0, 1), has_aux=True)(given["z"], given["y"])
        step = train.make_step(nets, chain, lambda _: drawn, clip=False)
        return *seen, gradient, step(state, frozen)[0].params

    state = train.initial_state(mover.state, chain)
    given = {name: jnp.asarray(array, dtype) for name, array in draws.items()}
    images, logits, scores, gradient, params = jax.device_get(run(state, frozen, given))
    before, after = (weights.named(jax.device_get(tree)) for tree in (mover.state, params))
    return {
        "images": images,
        "logits": logits,
        "scores": scores,
        "gradient to the latent": np.concatenate(gradient, axis=1),
        "training step": change(before, after),
    }


def network_of(role: str, read: Read, dtype: Any) -> Any:
    """Our network of a role, as its converter makes it."""
    read = read._replace(state={key: array.astype(dtype) for key, array in read.state.items()})
    recipe = read.to_recipe(read.state)
    config = recipe.config
    if role == "assessor":
        single = config["num_classes"] == 1
        config = config | {"output": "sigmoid" if single else "softmax", "output_class": 0 if single else 1}
    made = weights.abstract(recipe.kind, config)
    weights.fill(made, arrays_of(read, dtype))
    return networks.HANDLES[role](made, {"kind": recipe.kind, "config": config})


def arrays_of(read: Read, dtype: Any) -> State:
    """Path to array."""
    recipe = read.to_recipe(read.state)
    return rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), "state", dtype)


def change(before: State, after: State) -> np.ndarray:
    """By how much all weights changed, in one row."""
    return np.concatenate([np.ravel(after[path].astype(np.float64) - before[path]) for path in sorted(before)])
