"""Transformers T: (z, y, alpha, noise) -> (z', y'), equation (1) of the paper.

"Transformer" is GANalyze's word for a map of the latent space and has nothing to do with attention:

    z' = z + alpha D_z,    y' = y + alpha D_y / class_reg,    then z' is rescaled to the length of z

Each of D_z and D_y is written as a form and its inputs: "none", "vector", "linear(z, y)", "two_layer(z, noise)".
There may be several D_z, one of which is followed: `KINDS` names the published combinations.
"""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from latentjax.errors import InputError

INPUTS = ("z", "y", "noise")


class Kind(NamedTuple):
    """A named pair of directions."""

    published: str  # its name in the published code
    z: str
    y: str = "none"
    several: bool = False  # K directions of z, trained in turn


KINDS = {
    "one_direction": Kind("OneDirectionZ", "vector"),
    "one_direction_linear_y": Kind("OneDirectionZAdaptiveY", "vector", "linear(y)"),
    "one_direction_linear_y_of_zy": Kind("OneDirectionZAdaptiveY_zy", "vector", "linear(z, y)"),
    "linear": Kind("AdaptiveDirectionZ", "linear(z)"),
    "linear_of_zy": Kind("AdaptiveDirectionZ_zy", "linear(z, y)"),
    "linear_of_zy_linear_y": Kind("AdaptiveDirectionZ_zy_AdaptiveDirectionY", "linear(z, y)", "linear(y)"),
    "linear_of_zy_both": Kind("AdaptiveDirectionZ_zy_AdaptiveDirectionY_zy", "linear(z, y)", "linear(z, y)"),
    "class_dependent": Kind("ClassDependent", "linear(y)"),
    "linear_noise": Kind("AdaptiveDirectionZAdaptiveDirectionY", "linear(z, noise)", "linear(y, noise)"),
    "linear_noise_y_of_zy": Kind("AdaptiveDirectionZAdaptiveDirectionY_zy", "linear(z, noise)", "linear(z, y, noise)"),
    "two_layer": Kind("AdaptiveDirectionZ_nonlinear", "two_layer(z)"),
    "two_layer_both": Kind("AdaptiveDirectionZAdaptiveDirectionY_nonlinear", "two_layer(z)", "two_layer(y)"),
    "two_layer_noise": Kind(
        "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear", "two_layer(z, noise)", "two_layer(y, noise)"
    ),
    "directions": Kind("MultiDirectionZ", "vector", several=True),
    "linear_directions": Kind("MultiDirectionZ_linear", "linear(z)", several=True),
    "two_layer_directions": Kind("MultiDirectionZ_nonlinear", "two_layer(z)", several=True),
}
RENORMS = ("sample", "batch", "none")


def kind_named(name: str, field: str) -> Kind:
    """The kind of this name, ours or the published code's.

    Raises:
        InputError: there is none; `field` names the setting at fault.
    """
    kinds = KINDS | {kind.published: kind for kind in KINDS.values()}
    if name not in kinds:
        raise InputError(field, f"{name!r} is unknown", f"use one of {', '.join(KINDS)}, or a published name")
    return kinds[name]


def parse_direction(text: str, field: str) -> tuple[str, tuple[str, ...]]:
    """ "two_layer(z, noise)" -> ("two_layer", ("z", "noise")).

    Raises:
        InputError: not a direction; `field` names the setting at fault.
    """
    text = text.strip()
    if text in ("none", "vector"):
        return text, ()
    match = re.fullmatch(r"(linear|two_layer)\(([a-z, ]+)\)", text)
    inputs = tuple(name.strip() for name in match[2].split(",")) if match else ()
    in_order = tuple(name for name in INPUTS if name in inputs)
    if not match or inputs != in_order or inputs == ("noise",):
        raise InputError(
            field,
            f"{text!r} is not a direction",
            'write "none", "vector", or "linear(...)" or "two_layer(...)" of z, y, noise in this order',
        )
    return match[1], inputs


class Direction(nnx.Module):
    """One of D_z, D_y: [B, n] a named input -> [B, features]."""

    def __init__(self, form: str, inputs: tuple[str, ...], widths: dict[str, int], features: int, rngs: nnx.Rngs):
        self.form, self.inputs = form, inputs
        if form == "vector":
            self.vector = nnx.Param(jax.random.normal(rngs.params(), (features,)))
            return
        fan_in = sum(widths[name] for name in inputs)
        sizes = [(fan_in, features)] if form == "linear" else [(fan_in, features), (features, features)]
        self.layers = nnx.List(uniform_linear(into, out, rngs) for into, out in sizes)

    def __call__(self, values: dict[str, jax.Array]) -> jax.Array:
        if self.form == "vector":
            return self.vector[...][None]
        if missing := [name for name in self.inputs if name not in values]:
            raise InputError(missing[0], "is missing for this transformer", "give T.sample_noise(key, batch)")
        x = jnp.concatenate([values[name] for name in self.inputs], axis=1)
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def uniform_linear(into: int, out: int, rngs: nnx.Rngs) -> nnx.Linear:
    """PyTorch's initialisation: weights and biases from U(-1, 1) / sqrt(fan_in)."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32, out_sharding: None = None):
        return jax.random.uniform(key, shape, dtype, -1, 1) / into**0.5

    return nnx.Linear(into, out, kernel_init=init, bias_init=init, rngs=rngs)


class Transformer(nnx.Module):
    """T(z [B, Z], y [B, C], alpha [B] or scalar, noise, direction=k) -> z' [B, Z], y' [B, C].

    Args:
        latent_dim, num_classes: Z and C.
        z, y: the directions D_z and D_y, see the module's docstring.
        noise_dim: entries of the noise that D_z sees.
        noise_dim_y: entries of the noise that D_y sees; None: int(noise_dim C / Z), as published.
        class_reg: divides D_y.
        renorm: what keeps the length of z: "sample" rescales each z', "batch" all by one factor (published code),
            "none" nothing (the paper's formula).
        num_directions: K maps of z, of which a call follows one; None: a single map.
        rngs: where initial weights come from.

    Raises:
        InputError: a direction or renorm that is not one, or several directions of nothing.
    """

    def __init__(
        self,
        latent_dim: int,
        num_classes: int,
        z: str = "two_layer(z, noise)",
        y: str = "two_layer(y, noise)",
        noise_dim: int = 8,
        noise_dim_y: int | None = None,
        class_reg: float = 1000.0,
        renorm: str = "sample",
        num_directions: int | None = None,
        *,
        rngs: nnx.Rngs,
    ):
        if renorm not in RENORMS:
            raise InputError("config.transformer.renorm", f"{renorm!r} is unknown", f"use one of {', '.join(RENORMS)}")
        forms = {"z": parse_direction(z, "config.transformer.z"), "y": parse_direction(y, "config.transformer.y")}
        noise_dims = {"z": noise_dim, "y": noise_dim_y}
        if noise_dim_y is None:
            noise_dims["y"] = int(noise_dim * num_classes / latent_dim)
        sizes = {"z": latent_dim, "y": num_classes}
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.class_reg, self.renorm = class_reg, renorm
        self.num_directions = num_directions
        directions = {}
        for name, (form, inputs) in forms.items():
            widths = {**sizes, "noise": noise_dims[name]}
            # with few classes the published formula gives no noise for y
            inputs = tuple(each for each in inputs if widths[each])
            make = functools.partial(Direction, form, inputs, widths, sizes[name], rngs)
            if form == "none" or not sizes[name]:
                directions[name] = None
            elif name == "z" and num_directions is not None:
                directions[name] = nnx.List(make() for _ in range(num_directions))
            else:
                directions[name] = make()
            if "noise" not in inputs:
                noise_dims[name] = 0
        if num_directions is not None and not directions["z"]:
            what = f"asks for {num_directions} directions of z, whose form is {z!r}"
            raise InputError("config.transformer.num_directions", what, "give 1 or more, and z a form")
        self.direction_z, self.direction_y = directions["z"], directions["y"]
        self.noise_dims = (noise_dims["z"], noise_dims["y"])

    def sample_noise(self, key: jax.Array, batch: int) -> tuple[jax.Array | None, jax.Array | None]:
        """Noise from N(0, 1): (noise_z [batch, n], noise_y [batch, m]), None where a direction takes none."""
        keys = jax.random.split(key)
        noise_z, noise_y = (
            jax.random.normal(k, (batch, dim)) if dim else None for k, dim in zip(keys, self.noise_dims, strict=True)
        )
        return noise_z, noise_y

    def __call__(
        self,
        z: jax.Array,
        y: jax.Array,
        alpha: jax.Array | float,
        noise: tuple[jax.Array | None, jax.Array | None] = (None, None),
        direction: jax.Array | int = 0,
    ) -> tuple[jax.Array, jax.Array]:
        alpha = jnp.broadcast_to(jnp.asarray(alpha, z.dtype), z.shape[:1])[:, None]
        moved_z, moved_y = z, y
        if self.direction_z is not None:
            moved_z = self.rescale(z + alpha * self.directions(z, y, noise)[direction], z, alpha)
        if self.direction_y is not None:
            moved_y = y + alpha * self.direction_y(self.inputs_of(z, y, noise[1])) / self.class_reg
        return moved_z, moved_y

    def directions(
        self, z: jax.Array, y: jax.Array, noise: tuple[jax.Array | None, jax.Array | None] = (None, None)
    ) -> jax.Array:
        """Every D_z: [K, B, Z], or [K, 1, Z] where they do not depend on the inputs; K is 1 for a single map."""
        several = self.direction_z if self.num_directions is not None else [self.direction_z]
        return jnp.stack([each(self.inputs_of(z, y, noise[0])) for each in several])

    @staticmethod
    def inputs_of(z: jax.Array, y: jax.Array, noise: jax.Array | None) -> dict[str, jax.Array]:
        """What a direction may see, by name."""
        return {"z": z, "y": y} if noise is None else {"z": z, "y": y, "noise": noise}

    def rescale(self, moved: jax.Array, z: jax.Array, alpha: jax.Array) -> jax.Array:
        """z' at the length of z, by `renorm`; where alpha is 0, z itself (but for "batch")."""
        if self.renorm == "none":
            return moved
        if self.renorm == "batch":
            return jnp.linalg.norm(z) * moved / jnp.linalg.norm(moved)
        length, moved_length = (jnp.linalg.norm(x, axis=1, keepdims=True) for x in (z, moved))
        return jnp.where(alpha == 0, z, length * moved / moved_length)
