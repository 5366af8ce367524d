"""Generators, assessors and transformers as users hold them: loaded, callable, jitted inside."""

import os
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from latentjax import remote, weights
from latentjax.assessors.outputs import Output
from latentjax.errors import InputError


class Network:
    """A module split once into its definition and its weights.

    Call it, or use the pure `apply(state, ...)` inside a jitted function that takes the state as an argument.

    Attributes:
        state: the weights, a pytree.
        kind, config: the module's class and arguments, as in model.json.
        source: what it was made from, as in model.json.
        sha256: of the weights file; empty for a network that came from no file.
    """

    def __init__(self, module: nnx.Module, record: dict[str, Any]):
        self.kind, self.config = record["kind"], record["config"]
        self.source = record.get("source", {})
        self.sha256 = record.get("weights_sha256", "")
        self._module: Any = module
        self.graph, self.state = nnx.split(module)
        self._jitted = jax.jit(self.apply, static_argnames="method")

    def apply(self, state: Any, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        """The network as a pure function of its weights."""
        return getattr(nnx.merge(self.graph, state), method)(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._jitted(self.state, *args, **kwargs)


class LatentNetwork(Network):
    """A network whose first arguments are z [B, Z] and y [B, K]."""

    @property
    def latent_dim(self) -> int:
        """Z."""
        return self._module.latent_dim

    @property
    def num_classes(self) -> int:
        """K."""
        return self._module.num_classes


class Generator(LatentNetwork):
    """G(z [B, Z], y [B, K]) -> images [B, R, R, 3] float32 in [-1, 1]; a BigGAN-deep takes a truncation too.

    Its truncation, that of z, is a number in (0, 1] or one for each sample, [B].
    """

    def __call__(self, z: jax.Array, y: jax.Array, truncation: jax.Array | float | None = None) -> jax.Array:
        if truncation is None:
            return super().__call__(z, y)
        if not self.takes_truncation:
            raise InputError("truncation", f"is no input of a {self.kind}", "scale z by it")
        # the value of a jax.Array may not be known yet
        known = [] if isinstance(truncation, jax.Array) else np.ravel(truncation)
        if not all(0 < number <= 1 for number in known):
            raise InputError("truncation", f"is {truncation}", "give numbers in (0, 1]")
        return super().__call__(z, y, jnp.asarray(truncation, jnp.float32))

    @property
    def takes_truncation(self) -> bool:
        """Whether its norms depend on the truncation of z."""
        return getattr(self._module, "takes_truncation", False)

    def after_latents(self, truncation: float) -> tuple[float, ...]:
        """What a call takes after z and y: the truncation, or nothing."""
        return (truncation,) if self.takes_truncation else ()

    @property
    def resolution(self) -> int:
        """R."""
        return self._module.resolution

    def z_maps(self) -> list[jax.Array]:
        """The linear maps by which z first enters, [Z, n] each."""
        return self._jitted(self.state, method="z_maps")

    def first_activations(self, z: jax.Array, y: jax.Array) -> jax.Array:
        """The output of the input layer, [B, n], before any norm."""
        return self._jitted(self.state, z, y, method="first_activations")


class Assessor(Network):
    """A(images [B, H, W, 3] in [-1, 1]) -> scores [B] in [0, 1], or any numbers from a regression."""

    @property
    def output(self) -> Output | None:
        """How class logits become scores; None for an image property."""
        return getattr(self._module, "output", None)

    @property
    def image_size(self) -> int | None:
        """Side in pixels to which it resizes images; None for an image property, which does not."""
        return getattr(self._module, "image_size", None)

    @property
    def has_features(self) -> bool:
        """Whether it is a network that pools features before its head; an image property is not."""
        return hasattr(self._module, "features")

    def features(self, images: jax.Array) -> jax.Array:
        """What the head sees, [B, F] float32: the means of the last map.

        Raises:
            InputError: an image property, which has none.
        """
        if not self.has_features:
            raise InputError("features", f"are not what {self.kind} has", "use an EfficientNet or a ResNet")
        return self._jitted(self.state, images, method="features")

    def logits(self, images: jax.Array) -> jax.Array:
        """The score before its squashing: class logits [B, n], or [B] for an image property."""
        return self._jitted(self.state, images, method="logits")

    def statistic(self, images: jax.Array) -> jax.Array:
        """What centre and slope act on, [B]: one logit, a margin between classes, or an image property."""
        return self._jitted(self.state, images, method="statistic")


class LatentTransformer(LatentNetwork):
    """T(z [B, Z], y [B, K], alpha, noise, direction) -> z' [B, Z], y' [B, K]; alpha is [B] or one number."""

    def __call__(
        self,
        z: jax.Array,
        y: jax.Array,
        alpha: jax.Array | float,
        noise: tuple[jax.Array | None, jax.Array | None] = (None, None),
        direction: jax.Array | int = 0,
    ) -> tuple[jax.Array, jax.Array]:
        # indexing under jit would clamp; the value of a jax.Array may not be known yet
        if not isinstance(direction, jax.Array) and not 0 <= direction < self.num_directions:
            what = f"is {direction}, and the transformer's are 0 to {self.num_directions - 1}"
            raise InputError("direction", what, "give one of them")
        return super().__call__(z, y, alpha, noise, direction)

    @property
    def num_directions(self) -> int:
        """How many directions of z there are to choose from."""
        return self._module.num_directions or 1

    @property
    def noise_dims(self) -> tuple[int, int]:
        """Entries of noise_z and noise_y; 0 where the kind takes none."""
        return self._module.noise_dims

    def sample_noise(self, key: jax.Array, batch: int) -> tuple[jax.Array | None, jax.Array | None]:
        """A pair (noise_z [batch, n], noise_y [batch, m]) from N(0, 1), None where the kind takes none."""
        return self._module.sample_noise(key, batch)


def identity_of(transformer: LatentTransformer | None, params: Any) -> str:
    """What tells one transformer from another: how it is defined, or its weights; empty without one.

    Args:
        transformer: None for gradient ascent, or where nothing moves.
        params: its weights, which a run may have trained since.
    """
    if transformer is None:
        return ""
    return transformer.source.get("definition") or weights.digest(jax.device_get(weights.named(params)))


HANDLES = {"generator": Generator, "assessor": Assessor, "transformer": LatentTransformer}


def load(name: str | os.PathLike, role: str) -> Any:
    """The network of a model folder, here or on gs://, or of "embedded:NAME".

    Raises:
        InputError: nothing of this role there, or damaged.
    """
    if str(name).startswith("embedded:"):
        from latentjax import embedded

        return HANDLES[role](*embedded.load(str(name).removeprefix("embedded:"), role))
    return HANDLES[role](*weights.load(name, role))


def load_generator(name: str | os.PathLike) -> Generator:
    """G from a model folder, "gs://BUCKET/FOLDER" or "embedded:painted-eyes".

    Example: ``images = load_generator("weights/biggan512")(z, y)``.

    Raises:
        InputError: nothing of this kind there, or damaged.
    """
    return load(name, "generator")


def load_assessor(
    name: str | os.PathLike,
    *,
    output: str | None = None,
    output_class: int | None = None,
    centre: float | None = None,
    slope: float | None = None,
) -> Assessor:
    """A from a model folder, here or on gs://, or an image property such as "embedded:colourfulness".

    Args:
        name: the folder, its address or embedded name.
        output, output_class: of an EfficientNet: what its score is, see `latentjax.assessors.outputs.Output`.
        centre, slope: of an image property, and of the outputs "regression" and "margin".

    What is given stands above model.json, whose centre and slope belong to its own output.

    Raises:
        InputError: nothing of this kind there, or damaged, or a setting that it cannot have.
    """
    given = {"output": output, "output_class": output_class, "centre": centre, "slope": slope}
    return scored(load(name, "assessor"), name, **{field: value for field, value in given.items() if value is not None})


def scored(assessor: Assessor, name: object, **settings: Any) -> Assessor:
    """The assessor under those settings of `load_assessor` that are given; `name` is for messages.

    Raises:
        InputError: a setting that it cannot have.
    """
    if assessor.output is None:
        if foreign := [field for field in settings if field.startswith("output")]:
            raise InputError(f"config.assessor.{foreign[0]}", f"is not for {name}, an image property", "leave it unset")
    elif settings.get("output", assessor.output.kind) != assessor.output.kind:
        settings = {"centre": None, "slope": None, **settings}
    return with_settings(assessor, **settings) if settings else assessor


def load_transformer(name: str | os.PathLike) -> LatentTransformer:
    """T from a run folder or a transformer folder, here or on gs://.

    Raises:
        InputError: nothing of this kind there, or damaged.
    """
    inner = remote.within(name, "transformer")
    of_run = remote.exists(f"{inner}/model.json") if remote.is_remote(name) else inner.is_dir()
    return load(inner if of_run else name, "transformer")


Held = TypeVar("Held", bound=Network)


def with_settings(network: Held, **settings: Any) -> Held:
    """The same network under other settings that leave its weights as they are, such as renorm or output.

    Raises:
        InputError: a setting that it cannot have.
    """
    record = {"kind": network.kind, "config": network.config | settings}
    module = weights.abstract(**record)
    nnx.update(module, network.state)
    return type(network)(module, {**record, "source": network.source, "weights_sha256": network.sha256})
