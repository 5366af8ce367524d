"""The BigGAN port used by GANalyze: biggan-128.pth, biggan-256.pth, biggan-512.pth."""

import re

import numpy as np

from converters.rules import Recipe, Rule, State, conv, dimension, linear
from latentjax.errors import InputError

RESOLUTIONS = {5: 128, 6: 256, 7: 512}  # by number of blocks
EPSILON = 1e-4  # in the published normalisation of u and v

RULES = (
    Rule(r".*num_batches_tracked", None),
    Rule(r"linear\.weight", "embedding/kernel", linear),
    Rule(r"G_linear\.module\.weight", "input/kernel", linear),
    Rule(r"G_linear\.module\.bias", "input/bias"),
    Rule(r"GBlock\.(\d+)\.conv([01])\.module\.weight", r"blocks/\1/conv\2/kernel", conv),
    Rule(r"GBlock\.(\d+)\.conv([01])\.module\.bias", r"blocks/\1/conv\2/bias"),
    Rule(r"GBlock\.(\d+)\.conv_sc\.module\.weight", r"blocks/\1/shortcut/kernel", conv),
    Rule(r"GBlock\.(\d+)\.conv_sc\.module\.bias", r"blocks/\1/shortcut/bias"),
    *(
        rule
        for name, norm in (("HyperBN", "norm0"), ("HyperBN_1", "norm1"))
        for rule in (
            Rule(rf"GBlock\.(\d+)\.{name}\.bn\.running_(mean|var)", rf"blocks/\1/{norm}/\2"),
            Rule(
                rf"GBlock\.(\d+)\.{name}\.gamma_embed\.module\.weight",
                rf"blocks/\1/{norm}/gain/kernel",
                linear,
            ),
            Rule(
                rf"GBlock\.(\d+)\.{name}\.beta_embed\.module\.weight",
                rf"blocks/\1/{norm}/bias/kernel",
                linear,
            ),
        )
    ),
    Rule(r"attention\.gamma", "attention/gamma"),
    Rule(r"attention\.(theta|phi|g)\.module\.weight", r"attention/\1/kernel", conv),
    Rule(r"attention\.o_conv\.module\.weight", "attention/o/kernel", conv),
    Rule(r"ScaledCrossReplicaBN\.weight", "last_norm/scale"),
    Rule(r"ScaledCrossReplicaBN\.bias", "last_norm/bias"),
    Rule(r"ScaledCrossReplicaBN\.running_(mean|var)", r"last_norm/\1"),
    Rule(r"colorize\.module\.weight", "last_conv/kernel", conv),
    Rule(r"colorize\.module\.bias", "last_conv/bias"),
)


def recognises(state: State) -> bool:
    """Whether the keys are this port's."""
    return any(key.startswith("GBlock.") for key in state) and "colorize.module.weight_bar" in state


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
    folded, missing = fold_spectral_norm(state)
    return Recipe("biggan", config, RULES, folded, missing)


def fold_spectral_norm(state: State) -> tuple[State, list[str]]:
    """`X.weight` = `X.weight_bar` / sigma in place of weight_bar, weight_u and weight_v; and the keys it lacks.

    The published code renews u and v by one power iteration from the stored u at every forward pass and never
    writes them back, so that sigma is a constant; its stored v is never used.
    """
    folded, missing = {}, []
    for key, array in state.items():
        prefix, _, name = key.rpartition(".")
        if name == "weight_bar":
            needs = [f"{prefix}.weight_u", f"{prefix}.weight_v"]
            missing += [need for need in needs if need not in state]
            u = state.get(needs[0], np.zeros(0))
            if array.ndim < 2 or u.shape != array.shape[:1]:
                folded |= {key: array for key in needs if key in state}
                continue
            folded[f"{prefix}.weight"] = array / np.float32(sigma_of(array, u))
        elif name not in ("weight_u", "weight_v") or f"{prefix}.weight_bar" not in state:
            folded[key] = array
    return folded, missing


def sigma_of(weight_bar: np.ndarray, u: np.ndarray) -> float:
    """The spectral norm as published: one power iteration from the stored u, in float64."""
    matrix = weight_bar.reshape(len(weight_bar), -1).astype(np.float64)
    v = normalised(matrix.T @ u)
    renewed = normalised(matrix @ v)
    return float(renewed @ (matrix @ v))


def normalised(x: np.ndarray) -> np.ndarray:
    """The published l2 normalisation: epsilon joins the norm."""
    return x / (np.linalg.norm(x) + EPSILON)
