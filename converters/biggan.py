"""The BigGAN port used by GANalyze: biggan-128.pth, biggan-256.pth, biggan-512.pth."""

import re

import numpy as np

from converters.rules import WRONG_SHAPE, Recipe, Rule, State, conv, dimension, linear
from latentjax.errors import InputError

RESOLUTIONS = {5: 128, 6: 256, 7: 512}  # by number of blocks
EPSILON = 1e-4  # in the published normalisation of u and v

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
    folded, problems = fold_spectral_norm(state)
    return Recipe("biggan", config, RULES, folded, problems)


def fold_spectral_norm(state: State) -> tuple[State, dict[str, list[str]]]:
    """`weight_bar` / sigma in place of `weight_bar`, `weight_u` and `weight_v`; and keys by what is wrong with them.

    The published code renews u and v by one power iteration from the stored u at every forward pass and never
    writes them back, so that sigma is a constant; its stored v is never used.
    """
    folded: State = {}
    problems: dict[str, list[str]] = {}
    for key, array in state.items():
        prefix, _, name = key.rpartition(".")
        if name == "weight_bar":
            folded[key], found = folded_weight(state, prefix)
            for problem, culprit in found:
                problems.setdefault(problem, []).append(culprit)
        elif name not in ("weight_u", "weight_v") or f"{prefix}.weight_bar" not in state:
            folded[key] = array
    return folded, problems


def folded_weight(state: State, prefix: str) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """One effective weight, and (problem, key) where it cannot be had."""
    bar, u_key = state[f"{prefix}.weight_bar"], f"{prefix}.weight_u"
    missing = [("missing", key) for key in (u_key, f"{prefix}.weight_v") if key not in state]
    if missing or bar.ndim < 2:  # the rules tell of a wrong shape
        return bar, missing
    if state[u_key].shape != bar.shape[:1]:
        return bar, [(WRONG_SHAPE.format(list(state[u_key].shape)), u_key)]
    for key in (f"{prefix}.weight_bar", u_key):
        if not np.isfinite(state[key]).all():
            return np.zeros_like(bar), [("not finite", key)]
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = sigma_of(bar, state[u_key])
    if not 0 < sigma < np.inf:
        return bar, [("whose norm is zero or too large", f"{prefix}.weight_bar")]
    return bar / np.float32(sigma), []


def sigma_of(weight_bar: np.ndarray, u: np.ndarray) -> float:
    """The spectral norm as published: one power iteration from the stored u, in float64."""
    matrix = weight_bar.reshape(len(weight_bar), -1).astype(np.float64)
    v = normalised(matrix.T @ u.astype(np.float64))
    renewed = normalised(matrix @ v)
    return float(renewed @ (matrix @ v))


def normalised(x: np.ndarray) -> np.ndarray:
    """The published l2 normalisation: epsilon joins the norm."""
    return x / (np.linalg.norm(x) + EPSILON)
