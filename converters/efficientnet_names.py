"""What other packages call the parts of an EfficientNet, in the names of efficientnet_pytorch."""

import re

from converters.rules import State
from latentjax.assessors.efficientnet import Plan, blocks_of

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
BIASED = ("_se_reduce", "_se_expand", "_fc")
# by style: a key that tells it, the number of a block in its keys, the convolution of the head
STYLES = {
    "efficientnet_pytorch": ("_conv_stem.weight", r"_blocks\.(\d+)\.", "_conv_head.weight"),
    "torchvision": ("features.0.0.weight", r"features\.(\d+\.\d+)\.block\.", "features.8.0.weight"),
    "timm": ("conv_stem.weight", r"blocks\.(\d+\.\d+)\.", "conv_head.weight"),
}
# their own parts of the stem, of the head and of the classifier
ENDS = {
    "torchvision": {
        "features.0.0": "_conv_stem",
        "features.0.1": "_bn0",
        "features.8.0": "_conv_head",
        "features.8.1": "_bn1",
        "classifier.1": "_fc",
    },
    "timm": {
        "conv_stem": "_conv_stem",
        "bn1": "_bn0",
        "conv_head": "_conv_head",
        "bn2": "_bn1",
        "classifier": "_fc",
    },
}
TIMM_FIRST = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "se.conv_reduce": "_se_reduce",
    "se.conv_expand": "_se_expand",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
}
TIMM_LATER = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "se.conv_reduce": "_se_reduce",
    "se.conv_expand": "_se_expand",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
TORCHVISION_LATER = {
    "block.0.0": "_expand_conv",
    "block.0.1": "_bn0",
    "block.1.0": "_depthwise_conv",
    "block.1.1": "_bn1",
    "block.2.fc1": "_se_reduce",
    "block.2.fc2": "_se_expand",
    "block.3.0": "_project_conv",
    "block.3.1": "_bn2",
}
# without the expansion, everything moves up by one
TORCHVISION_FIRST = {
    re.sub(r"^block\.(\d)", lambda match: f"block.{int(match[1]) - 1}", theirs): ours
    for theirs, ours in TORCHVISION_LATER.items()
    if not theirs.startswith("block.0")
}


def style_of(state: State) -> str | None:
    """Whose names these keys are; None for nobody's."""
    for style, (stem, block, _) in STYLES.items():
        if stem in state and any(re.match(block, key) for key in state):
            return style
    return None


def table(style: str, variant: str) -> dict[str, str]:
    """Their key of every tensor of a variant to efficientnet_pytorch's; empty for its own style."""
    if style not in ENDS:
        return {}
    parts = dict(ENDS[style])
    stage, within, last = 0, 0, None
    for i, plan in enumerate(blocks_of(variant)):
        stage, within = (stage, within + 1) if plan.stage == last else (stage + (last is not None), 0)
        last = plan.stage
        for theirs, ours in block_parts(style, plan).items():
            prefix = f"features.{stage + 1}.{within}" if style == "torchvision" else f"blocks.{stage}.{within}"
            parts[f"{prefix}.{theirs}"] = f"_blocks.{i}.{ours}"
    return {f"{theirs}.{name}": f"{ours}.{name}" for theirs, ours in parts.items() for name in tensors_of(ours)}


def tensors_of(part: str) -> tuple[str, ...]:
    """The tensors of a part, by efficientnet_pytorch's name of it."""
    name = part.rpartition(".")[2]
    return NORM if name.startswith("_bn") else ("weight", "bias") if name in BIASED else ("weight",)


def block_parts(style: str, plan: Plan) -> dict[str, str]:
    """Their parts of one block to efficientnet_pytorch's."""
    if plan.stage.expansion == 1:
        return TIMM_FIRST if style == "timm" else TORCHVISION_FIRST
    return TIMM_LATER if style == "timm" else TORCHVISION_LATER
