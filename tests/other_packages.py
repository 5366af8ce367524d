"""torchvision and timm, which do not import beside a CPU build of PyTorch until two operators are named."""

import contextlib
import functools
from typing import Any

import pytest
import torch


@functools.cache
def _named_operators() -> Any:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # the definitions live as long as it does


def network(name: str) -> torch.nn.Module:
    """ "torchvision:efficientnet_b0" or "timm:tf_efficientnet_b0", in eval mode, with its initial weights."""
    package, _, kind = name.partition(":")
    with contextlib.suppress(RuntimeError):  # torchvision's own operators are there
        _named_operators()
    if package == "torchvision":
        return getattr(pytest.importorskip("torchvision.models"), kind)().eval()
    return pytest.importorskip("timm").create_model(kind).eval()
