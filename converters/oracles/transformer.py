"""The maps of latents, (z, y) -> (z', y'), under their published names (Kocasari et al., 2021, section 3).

"Transformer" is GANalyze's word for such a map; no attention is meant.
"""

import re
from typing import NamedTuple

import torch
from torch import nn

from latentjax.errors import InputError


class Published(NamedTuple):
    """A kind of the published code: what moves z and y, and the state-dict prefixes of either."""

    z: str
    y: str
    z_names: tuple[str, ...]
    y_names: tuple[str, ...] = ()


_Y = ("NN_output_y",)
PUBLISHED = {
    "OneDirectionZ": Published("vector", "none", ("w",)),
    "OneDirectionZAdaptiveY": Published("vector", "linear(y)", ("w",), _Y),
    "OneDirectionZAdaptiveY_zy": Published("vector", "linear(z, y)", ("w",), _Y),
    "AdaptiveDirectionZ": Published("linear(z)", "none", ("NN_output",)),
    "AdaptiveDirectionZ_zy": Published("linear(z, y)", "none", ("NN_output",)),
    "AdaptiveDirectionZ_nonlinear": Published("two_layer(z)", "none", ("NN_output", "NN_output2")),
    "ClassDependent": Published("linear(y)", "none", ("NN_output",)),
    "AdaptiveDirectionZAdaptiveDirectionY": Published("linear(z, noise)", "linear(y, noise)", ("NN_output_z",), _Y),
    "AdaptiveDirectionZAdaptiveDirectionY_zy": Published(
        "linear(z, noise)", "linear(z, y, noise)", ("NN_output_z",), _Y
    ),
    "AdaptiveDirectionZ_zy_AdaptiveDirectionY": Published("linear(z, y)", "linear(y)", ("NN_output",), _Y),
    "AdaptiveDirectionZ_zy_AdaptiveDirectionY_zy": Published("linear(z, y)", "linear(z, y)", ("NN_output",), _Y),
    "AdaptiveDirectionZAdaptiveDirectionY_nonlinear": Published("two_layer(z)", "two_layer(y)", ("NN_output_z",), _Y),
    "AdaptiveDirectionZAdaptiveDirectionY_noise_nonlinear": Published(
        "two_layer(z, noise)", "two_layer(y, noise)", ("NN_output_z",), _Y
    ),
    "MultiDirectionZ": Published("vector", "none", ("directions",)),
    "MultiDirectionZ_linear": Published("linear(z)", "none", ("directions",)),
    "MultiDirectionZ_nonlinear": Published("two_layer(z)", "none", ("directions",)),
}


class Spec(NamedTuple):
    """A parsed specification: "none", "vector", "linear" or "two_layer", and what it reads, in order."""

    form: str
    inputs: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Read "none", "vector", "linear(z, y)", "two_layer(y, noise)" and the like."""
        if text in ("none", "vector"):
            return cls(text, ())
        found = re.fullmatch(r"(linear|two_layer)\(((?:z|y|noise)(?:, ?(?:z|y|noise))*)\)", text)
        if not found:
            raise InputError(
                "transformer", f"unknown map {text!r}", 'use "none", "vector", "linear(z, noise)" or the like'
            )
        return cls(found[1], tuple(re.split(", ?", found[2])))

    def with_noise(self, noise_dim: int) -> "Spec":
        """The same; noise of size 0 is no input."""
        return self._replace(inputs=tuple(name for name in self.inputs if noise_dim or name != "noise"))


def _vector(outputs: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(1, outputs))


def _network(form: str, inputs: int, outputs: int) -> nn.Module:
    if form == "linear":
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))


class Transformer(nn.Module):
    """z' = z + alpha D_z, y' = y + alpha D_y / class_reg, and z' rescaled to the norm of z.

    Args:
        latent_dim: length of z.
        num_classes: length of y.
        z: what D_z is: "none", "vector", "linear(...)" or "two_layer(...)" of z, y and noise, concatenated in
            the order given.
        y: the same for D_y.
        noise_dim: width of z's noise, where its map takes noise; 0 for none.
        noise_dim_y: width of y's noise; None for int(noise_dim * num_classes / latent_dim).
        class_reg: divides the change of y.
        renorm: z' gets the norm of z over the whole "batch" (published), of each "sample", or "none".
        kind: a published kind, a key of ``PUBLISHED``; it overrides ``z`` and ``y`` and names the parameters.
        num_directions: number of maps in the MultiDirectionZ kinds.

    Raises:
        InputError: for an unknown map, kind or renorm.
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
        renorm: str = "batch",
        kind: str | None = None,
        num_directions: int = 3,
    ):
        super().__init__()
        if renorm not in ("batch", "sample", "none"):
            raise InputError("renorm", f"unknown value {renorm!r}", 'use "batch", "sample" or "none"')
        if kind is not None and kind not in PUBLISHED:
            raise InputError("kind", f"unknown kind {kind!r}", f"use one of {', '.join(PUBLISHED)}")
        unnamed = Published(z, y, ("w",) if z == "vector" else ("NN_output_z",), ("w_y",) if y == "vector" else _Y)
        plan = PUBLISHED[kind] if kind else unnamed
        self.latent_dim, self.num_classes = latent_dim, num_classes
        self.class_reg, self.renorm, self.kind = class_reg, renorm, kind
        if noise_dim_y is None:
            noise_dim_y = int(noise_dim * num_classes / latent_dim)
        self.z_spec, self.y_spec = Spec.parse(plan.z).with_noise(noise_dim), Spec.parse(plan.y).with_noise(noise_dim_y)
        self.z_names, self.y_names = plan.z_names, plan.y_names
        self.noise_dim = noise_dim if "noise" in self.z_spec.inputs else 0
        self.noise_dim_y = noise_dim_y if "noise" in self.y_spec.inputs else 0
        self._add(self.z_spec, self.z_names, latent_dim, noise_dim, num_directions)
        self._add(self.y_spec, self.y_names, num_classes, noise_dim_y, num_directions)

    def _add(self, spec: Spec, names: tuple[str, ...], outputs: int, noise: int, num_directions: int) -> None:
        """Register the map of one side under its published names."""
        if spec.form == "none":
            return
        widths = {"z": self.latent_dim, "y": self.num_classes, "noise": noise}
        inputs = sum(widths[name] for name in spec.inputs)
        several = range(num_directions)
        if names == ("directions",) and spec.form == "vector":
            self.directions = nn.ParameterList(_vector(outputs) for _ in several)
        elif names == ("directions",):
            self.directions = nn.ModuleList(_network(spec.form, inputs, outputs) for _ in several)
        elif spec.form == "vector":
            setattr(self, names[0], _vector(outputs))
        elif len(names) == 2:
            setattr(self, names[0], nn.Linear(inputs, outputs))
            setattr(self, names[1], nn.Linear(outputs, outputs))
        else:
            setattr(self, names[0], _network(spec.form, inputs, outputs))

    def _direction(
        self, spec: Spec, names: tuple[str, ...], values: dict[str, torch.Tensor | None], direction: int
    ) -> torch.Tensor:
        """D of one side, [B, outputs] or [1, outputs]."""
        found = getattr(self, names[0])
        if names == ("directions",):
            found = found[direction]
        if spec.form == "vector":
            return found
        parts = [values[name] for name in spec.inputs]
        if any(part is None for part in parts):
            raise InputError("noise", f"missing for a map of {', '.join(spec.inputs)}", "give noise [B, noise_dim]")
        output = found(torch.cat([part for part in parts if part is not None], dim=1))
        return getattr(self, names[1])(output.relu()) if len(names) == 2 else output

    def forward(
        self,
        z: torch.Tensor,
        y: torch.Tensor,
        alpha: torch.Tensor,
        noise_z: torch.Tensor | None = None,
        noise_y: torch.Tensor | None = None,
        direction: int = 0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Move latents by alpha.

        Args:
            z: latents [B, latent_dim].
            y: class weights [B, num_classes].
            alpha: requested change of the score [B].
            noise_z: [B, noise_dim] where z's map takes noise.
            noise_y: [B, noise_dim_y] where y's map takes noise.
            direction: which of K maps (MultiDirectionZ kinds).

        Returns:
            z' and y', of the shapes of z and y.

        Raises:
            InputError: where noise is needed and missing.
        """
        step, moved_z, moved_y = alpha[:, None], z, y
        if self.z_spec.form != "none":
            values = {"z": z, "y": y, "noise": noise_z}
            moved_z = z + step * self._direction(self.z_spec, self.z_names, values, direction)
        if self.y_spec.form != "none":
            values = {"z": z, "y": y, "noise": noise_y}
            change = self._direction(self.y_spec, self.y_names, values, direction)
            moved_y = y + step * change / self.class_reg
        if self.renorm == "batch":
            moved_z = z.norm() * moved_z / moved_z.norm()
        elif self.renorm == "sample":
            moved_z = z.norm(dim=1, keepdim=True) * moved_z / moved_z.norm(dim=1, keepdim=True)
        return moved_z, moved_y
