"""The BigGAN port used by GANalyze: biggan-128.pth, biggan-256.pth, biggan-512.pth."""

import re

import numpy as np

from converters import spectral_norm
from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.errors import InputError

RESOLUTIONS = {5: 128, 6: 256, 7: 512}  # by number of blocks
EPSILON = 1e-4  # in the published normalisation of u and v
STORED = spectral_norm.Stored("weight_bar", "weight_u", unused="weight_v")

RULES = (
    Rule(r".*num_batches_tracked", None),
    Rule(r"linear\.weight", "embedding/kernel", linear),
    Rule(r"G_linear\.module\.weight_bar", "input/kernel", linear),
    Rule(r"G_linear\.module\.bias", "input/bias"),
    Rule(r"GBlock\.(\d+)\.conv([01])\.module\.weight_bar", r"blocks/\1/conv\2/kernel", conv),
    Rule(r"GBlock\.(\d+)\.conv([01])\.module\.bias", r"blocks/\1/conv\2/bias"),
    Rule(r"GBlock\.(\d+)\.conv_sc\.module\.weight_bar", r"blocks/\1/shortcut/kernel", conv),
    Rule(r"GBlock\.(\d+)\.conv_sc\.module\.bias", r"blocks/\1/shortcut/bias"),
    *(
        rule
        for name, norm in (("HyperBN", "norm0"), ("HyperBN_1", "norm1"))
        for rule in (
            Rule(rf"GBlock\.(\d+)\.{name}\.bn\.running_(mean|var)", rf"blocks/\1/{norm}/\2"),
            Rule(
                rf"GBlock\.(\d+)\.{name}\.gamma_embed\.module\.weight_bar",
                rf"blocks/\1/{norm}/gain/kernel",
                linear,
            ),
            Rule(
                rf"GBlock\.(\d+)\.{name}\.beta_embed\.module\.weight_bar",
                rf"blocks/\1/{norm}/bias/kernel",
                linear,
            ),
        )
    ),
    Rule(r"attention\.gamma", "attention/gamma"),
    Rule(r"attention\.(theta|phi|g)\.module\.weight_bar", r"attention/\1/kernel", conv),
    Rule(r"attention\.o_conv\.module\.weight_bar", "attention/o/kernel", conv),
    Rule(r"ScaledCrossReplicaBN\.weight", "last_norm/scale"),
    Rule(r"ScaledCrossReplicaBN\.bias", "last_norm/bias"),
    Rule(r"ScaledCrossReplicaBN\.running_(mean|var)", r"last_norm/\1"),
    Rule(r"colorize\.module\.weight_bar", "last_conv/kernel", conv),
    Rule(r"colorize\.module\.bias", "last_conv/bias"),
)


def recognises(state: State) -> bool:
    """Whether the keys are this port's."""
    return any(key.startswith("GBlock.") for key in state)


def recipe(state: State, where: object) -> Recipe:
    """Resolution, width and class count from the keys and shapes.

    Raises:
        InputError: a tensor that decides the architecture is missing, or the number of blocks is unknown.
    """
    blocks = {int(match[1]) for key in state if (match := re.match(r"GBlock\.(\d+)\.", key))}
    if len(blocks) not in RESOLUTIONS:
        known = "5 (128 pixels), 6 (256) or 7 (512)"
        raise InputError(where, f"has {len(blocks)} blocks, expected {known}", "give a published BigGAN")
    config = {
        "resolution": RESOLUTIONS[len(blocks)],
        "num_classes": dimension(state, "linear.weight", 1, where),
        "channels": dimension(state, "ScaledCrossReplicaBN.weight", 0, where),
        "embedding_dim": dimension(state, "linear.weight", 0, where),
    }
    if config["channels"] < 4:  # attention works with an eighth of 2 or 4 times as many
        raise InputError(where, f"has ScaledCrossReplicaBN.weight of shape [{config['channels']}]", "give a wider one")
    folded, problems = spectral_norm.fold(state, STORED, sigma_of)
    return Recipe("biggan", config, RULES, folded, problems)


def sigma_of(matrix: np.ndarray, u: np.ndarray) -> float:
    """The spectral norm as published.

    u and v are renewed by one power iteration from the stored u at every forward pass and never written back, so that
    sigma is a constant; the stored v is never used.
    """
    return spectral_norm.renewed_once(matrix, u, normalised)


def normalised(x: np.ndarray) -> np.ndarray:
    """The published l2 normalisation: epsilon joins the norm."""
    return x / (np.linalg.norm(x) + EPSILON)
