"""BigGAN-PyTorch, the authors' own: G.pth and G_ema.pth of hierarchical generators with a shared embedding."""

import re

import numpy as np

from converters import spectral_norm
from converters.rules import Recipe, Rule, State, conv, dimension, linear, listed
from latentjax.errors import InputError
from latentjax.generators.biggan import ARCHITECTURES

RESOLUTIONS = {5: 128, 6: 256}  # by number of blocks
NORM_EPSILON = 1e-5
EPSILON = 1e-6  # in the launch scripts' normalisation of u and v
STORED = spectral_norm.Stored("weight", "u0", unused="sv0")
EMBEDDING = "shared.weight"
STATISTICS = ("stored", r"bn\.stored", r"bn\.running")  # by which of its norms was used
BLOCK = r"blocks\.(?P<i>\d+)\.0"
WRONG = "give G_ema.pth or G.pth"


def recognises(state: State) -> bool:
    """Whether the keys are this code's, a discriminator's too."""
    return any(re.match(r"blocks\.\d+\.\d+\.(conv1|theta)\.", key) for key in state)


def recipe(state: State, where: object) -> Recipe:
    """Resolution, width, latents and class count from the keys and shapes.

    Raises:
        InputError: none of its keys, a discriminator, a generator without hierarchical latents or shared embedding, or
            of another number of blocks; or a tensor that decides the architecture is missing.
    """
    if not recognises(state):
        raise InputError(where, f"has no tensor of BigGAN-PyTorch's blocks ({listed(list(state))})", WRONG)
    if not any(key.startswith("output_layer.") for key in state):
        raise InputError(where, "is a discriminator, which latentjax does not need", WRONG)
    if EMBEDDING not in state:
        raise InputError(where, f"has no {EMBEDDING}: its classes have no shared embedding", WRONG)
    blocks = {int(match["i"]) for key in state if (match := re.match(BLOCK, key))}
    if len(blocks) not in RESOLUTIONS:
        what = f"has {len(blocks)} blocks, expected 5 (128 pixels) or 6 (256)"
        raise InputError(where, what, "give a published BigGAN")
    attention = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.1\.", key))}
    if len(attention) != 1 or not attention < set(range(len(blocks) - 1)):
        raise InputError(where, f"has self-attention after the blocks {sorted(attention)}, expected one", WRONG)
    resolution = RESOLUTIONS[len(blocks)]
    channels = dimension(state, "output_layer.0.gain", 0, where)
    if channels < 4:  # attention works with an eighth of 2 or 4 times as many
        raise InputError(where, f"has output_layer.0.gain of shape [{channels}]", "give a wider one")
    embedding, chunk = dimension(state, EMBEDDING, 1, where), dimension(state, "linear.weight", 1, where)
    if dimension(state, "blocks.0.0.bn1.gain.weight", 1, where) != embedding + chunk:
        raise InputError(where, "does not share its latent among the blocks (it is not hierarchical)", WRONG)
    config = {
        "resolution": resolution,
        "num_classes": dimension(state, EMBEDDING, 0, where),
        "channels": channels,
        "embedding_dim": embedding,
        "latent_dim": chunk * (len(blocks) + 1),
        "attention_before": min(attention) + 1,
        "epsilon": NORM_EPSILON,
    }
    problems: spectral_norm.Problems = {}
    if any(key.endswith(".u0") for key in state):
        state, problems = spectral_norm.fold(state, STORED, sigma_of, {EMBEDDING})
    rules = rules_for(embedding, channels * ARCHITECTURES[resolution].widths[0], min(attention))
    return Recipe("biggan", config, rules, state, problems)


def rules_for(embedding: int, width: int, attention: int) -> tuple[Rule, ...]:
    """The table.

    Args:
        embedding: width of the class embedding, which comes first in the condition here and last in ours.
        width: channels at 4 x 4 pixels, which come first in the linear layer's outputs here and last in ours.
        attention: the block that self-attention comes after.
    """

    def condition(array: np.ndarray) -> np.ndarray:
        return np.roll(array.T, -embedding, axis=0)

    def pixels(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array.reshape(width, 16, -1), 0, 1).reshape(array.shape)

    return (
        Rule(r".*(num_batches_tracked|accumulation_counter)", None),
        Rule(re.escape(EMBEDDING), "embedding/kernel"),
        Rule(r"linear\.weight", "input/kernel", lambda array: linear(pixels(array))),
        Rule(r"linear\.bias", "input/bias", pixels),
        *(
            rule
            for name, norm in (("bn1", "norm0"), ("bn2", "norm1"))
            for rule in (
                Rule(rf"{BLOCK}\.{name}\.(gain|bias)\.weight", rf"blocks/\g<i>/{norm}/\2/kernel", condition),
                *(
                    Rule(rf"{BLOCK}\.{name}\.{statistic}_(mean|var)", rf"blocks/\g<i>/{norm}/\2")
                    for statistic in STATISTICS
                ),
            )
        ),
        *(
            rule
            for name, ours in (("conv1", "conv0"), ("conv2", "conv1"), ("conv_sc", "shortcut"))
            for rule in (
                Rule(rf"{BLOCK}\.{name}\.weight", rf"blocks/\g<i>/{ours}/kernel", conv),
                Rule(rf"{BLOCK}\.{name}\.bias", rf"blocks/\g<i>/{ours}/bias"),
            )
        ),
        Rule(rf"blocks\.{attention}\.1\.gamma", "attention/gamma", np.ravel),
        Rule(rf"blocks\.{attention}\.1\.(theta|phi|g|o)\.weight", r"attention/\1/kernel", conv),
        Rule(r"output_layer\.0\.gain", "last_norm/scale"),
        Rule(r"output_layer\.0\.bias", "last_norm/bias"),
        *(Rule(rf"output_layer\.0\.{statistic}_(mean|var)", r"last_norm/\1") for statistic in STATISTICS),
        Rule(r"output_layer\.2\.weight", "last_conv/kernel", conv),
        Rule(r"output_layer\.2\.bias", "last_conv/bias"),
    )


def sigma_of(matrix: np.ndarray, u: np.ndarray) -> float:
    """The spectral norm as published: one power iteration from the stored u, never written back outside training."""
    return spectral_norm.renewed_once(matrix, u, lambda x: x / max(float(np.linalg.norm(x)), EPSILON))
