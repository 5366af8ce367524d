"""How layers are written: one setting picks the form of each, which is the same function in every form.

The dearest parts of the step are the convolutions of doubled maps and the depthwise ones. What is fast differs: XLA's
CPU backend runs grouped convolutions several times slower than the sum of shifted products and gains from matrix
products on small maps; the TPU's compiler wants no interleaving, and channels that fill its lanes.
BENCHMARKS.md measures them.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import jax

from latentjax.errors import InputError


class Forms(NamedTuple):
    """How each layer is written."""

    upsample: str = "broadcast"  # | repeat | dilated (a 2x2 convolution of four equal taps)
    upsample_conv: str = "plain"  # | transposed (see below)
    # dilated | phases (four 2x2 convolutions, interleaved) | phase (one with four times the outputs) | padded (phases
    # joined by padding; dilated on large maps)
    transposed: str = "dilated"
    transposed_gradient: str = "dilated"  # likewise, for its gradient
    shortcut: str = "before"  # the 1x1 convolution and the upsampling commute | after
    depthwise: str = "grouped"  # | shifted
    conv: str = "plain"  # | im2col, on maps of up to SMALL x SMALL
    few: str = "plain"  # | blocks: a convolution to few channels has those of BLOCK x BLOCK pixels as outputs
    resize: str = "matmul"  # | blocks: a strided convolution, when a map shrinks by a simple ratio
    attention: str = "chunks"  # of SCORES scores at most, recomputed for the gradient | whole


FORMS = {
    "plain": Forms(shortcut="after", attention="whole"),
    "cpu": Forms(
        upsample_conv="transposed",
        transposed="phase",
        transposed_gradient="phases",
        depthwise="shifted",
        conv="im2col",
    ),
    "gpu": Forms(),
    "tpu": Forms(upsample="dilated", upsample_conv="transposed", transposed="padded", few="blocks", resize="blocks"),
}
_active: list[Forms | None] = [None]


def active() -> Forms:
    """The forms in use: those chosen, or the default backend's."""
    return _active[-1] or FORMS.get(jax.default_backend(), FORMS["plain"])


def choose(name: str) -> None:
    """Layers traced from now on take these forms; what is compiled already stays as it is.

    Args:
        name: of `FORMS`, or "auto" for the default backend's.

    Raises:
        InputError: an unknown name.
    """
    if name not in ("auto", *FORMS):
        raise InputError("config.forms", f"{name!r} is unknown", f"use one of auto, {', '.join(FORMS)}")
    _active[-1] = FORMS.get(name)


@contextlib.contextmanager
def using(forms: str | Forms) -> Iterator[None]:
    """Layers traced within take these forms, named or given."""
    _active.append(None)
    try:
        if isinstance(forms, Forms):
            _active[-1] = forms
        else:
            choose(forms)
        yield
    finally:
        _active.pop()
