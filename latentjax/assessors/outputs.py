"""What an assessor's score is: from the logits of a network's head to one number an image."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latentjax.errors import InputError
from latentjax.layers import at_least_float32

OUTPUTS = ("softmax", "sigmoid", "regression", "margin")
SCALED = ("regression", "margin")  # those with a centre and a slope
LIMIT = 1e30  # of both, so that float32 holds them and what they multiply


@dataclasses.dataclass(frozen=True)
class Output:
    """Scores [B] of logits x [B, n], for one of the n classes, c.

        softmax      exp(x_c) / sum_k exp(x_k)                     how probable class c is
        sigmoid      sigmoid(x_c)                                  likewise, by itself: one logit, or several labels
        regression   slope (x_c - centre)                          the raw number; it may leave [0, 1]
        margin       sigmoid(slope (m - centre)),                  more like c than like any other class
                     m = x_c - max_{k != c} x_k

    Args:
        kind: one of `OUTPUTS`.
        num_classes: n.
        output_class: c; None: the only class, or class 1 of the 2 of a softmax or margin.
        centre, slope: of a regression or margin; None: 0 and 1.

    Raises:
        InputError: an unknown kind or one that needs more classes, a class that is not there, a centre or slope
            where there is none, or that is not finite, or a slope of 0.
    """

    kind: str
    num_classes: int
    output_class: int | None = None
    centre: float | None = None
    slope: float | None = None

    def __post_init__(self) -> None:
        c, n = self.output_class, self.num_classes
        if self.kind not in OUTPUTS:
            todo = f"use one of {', '.join(OUTPUTS)}"
            raise InputError("config.assessor.output", f"{self.kind!r} is unknown", todo)
        if n < 2 and self.kind in ("softmax", "margin"):
            what = f"{self.kind} compares classes, and the assessor has {n}"
            raise InputError("config.assessor.output", what, "use sigmoid or regression")
        # True indexes like a mask
        if c is not None and (not isinstance(c, int) or isinstance(c, bool) or not 0 <= c < n):
            what = f"is {c!r}, and the assessor's classes are 0 to {n - 1}"
            raise InputError("config.assessor.output_class", what, "give one of them")
        for name in ("centre", "slope"):
            if getattr(self, name) is not None and self.kind not in SCALED:
                what = f"is for the outputs {' and '.join(SCALED)}, and this one is {self.kind}"
                raise InputError(f"config.assessor.{name}", what, "leave it unset, or set config.assessor.output")
        _ = self.scale

    @property
    def scale(self) -> tuple[float, float]:
        """Centre and slope, with their defaults."""
        return scale_of(self.centre, self.slope, (0.0, 1.0))

    @property
    def scored_class(self) -> int:
        """c, with its default.

        Raises:
            InputError: it is not set, and nothing tells which class is meant.
        """
        if self.output_class is not None:
            return self.output_class
        if self.num_classes == 1:
            return 0
        if self.num_classes == 2 and self.kind in ("softmax", "margin"):
            return 1
        what = f"is not set, and the assessor has {self.num_classes} classes"
        raise InputError("config.assessor.output_class", what, f"say which one is scored, 0 to {self.num_classes - 1}")

    def statistic(self, logits: jax.Array) -> jax.Array:
        """What centre and slope act on, float32: m of a margin, else x_c.

        Raises:
            InputError: no class is set.
        """
        x, c = at_least_float32(logits), self.scored_class
        return x[:, c] - jnp.delete(x, c, axis=1).max(1) if self.kind == "margin" else x[:, c]

    def __call__(self, logits: jax.Array) -> jax.Array:
        """Logits [B, n] -> scores [B], float32.

        Raises:
            InputError: no class is set.
        """
        if self.kind == "softmax":
            return jax.nn.softmax(at_least_float32(logits))[:, self.scored_class]
        centre, slope = self.scale
        scaled = slope * (self.statistic(logits) - centre)
        return scaled if self.kind == "regression" else jax.nn.sigmoid(scaled)


def scale_of(centre: Any, slope: Any, defaults: tuple[float, float]) -> tuple[float, float]:
    """Centre and slope; those of `defaults` where they are None.

    Raises:
        InputError: no number, or none that is finite, or a slope of 0.
    """
    values = [default if value is None else value for value, default in zip((centre, slope), defaults, strict=True)]
    for name, value in zip(("centre", "slope"), values, strict=True):
        finite = isinstance(value, int | float | np.floating) and abs(value) < LIMIT
        if not finite or (name == "slope" and not value):
            todo = "give finite numbers, and a slope other than 0"
            raise InputError(f"config.assessor.{name}", f"is {value!r}", todo)
    return float(values[0]), float(values[1])
