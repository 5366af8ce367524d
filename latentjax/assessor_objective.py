"""What teaches an assessor: inputs with noise, losses of its logits, and the step (section 4.1 of the paper)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from latentjax import precision
from latentjax.assessors.efficientnet import Drops


class Recipe(NamedTuple):
    """How an assessor is taught; the fields of config.assessor_training.

    Attributes:
        output: "softmax", "sigmoid" (one logit, labels 0 and 1) or "regression".
        mean, std: of the network's input channels.
        class_weights: one for each label, in the loss; () for none.
        centre, deviation: of a regression's labels; the network learns (label - centre) / deviation.
        label_smoothing: share of a label's weight that is spread over all classes.
        noise: standard deviation of what is added to the normalised input.
        flip: left and right, at random.
        dropout, drop_connect: see `Drops`.
    """

    output: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_weights: tuple[float, ...] = ()
    centre: float = 0.0
    deviation: float = 1.0
    label_smoothing: float = 0.0
    noise: float = 0.0
    flip: bool = False
    dropout: float = 0.0
    drop_connect: float = 0.0


class AssessorState(NamedTuple):
    """What a step changes; everything else is a function of (seed, step)."""

    step: jax.Array
    params: Any
    statistics: Any  # of the norms
    opt_state: Any


class AssessorMetrics(NamedTuple):
    """Of one step; scalars."""

    loss: jax.Array
    grad_norm: jax.Array
    update_norm: jax.Array


def normalised(images: jax.Array, recipe: Recipe) -> jax.Array:
    """Images [B, S, S, 3] uint8 -> the network's input, float32."""
    mean, std = jnp.array(recipe.mean, jnp.float32), jnp.array(recipe.std, jnp.float32)
    return (images.astype(jnp.float32) / 255 - mean) / std


def augmented(key: jax.Array, inputs: jax.Array, recipe: Recipe) -> jax.Array:
    """Inputs [B, S, S, 3], some of them flipped, with noise."""
    key_flip, key_noise = jax.random.split(key)
    if recipe.flip:
        flipped = jax.random.bernoulli(key_flip, 0.5, inputs.shape[:1])
        inputs = jnp.where(flipped[:, None, None, None], inputs[:, :, ::-1], inputs)
    if recipe.noise:
        inputs += recipe.noise * jax.random.normal(key_noise, inputs.shape, inputs.dtype)
    return inputs


def classified(
    graph: Any, params: Any, statistics: Any, inputs: jax.Array, drops: Drops | None = None
) -> tuple[jax.Array, Any]:
    """Logits [B, n] of inputs [B, S, S, 3] by the batch's statistics, and what becomes of the stored ones.

    Args:
        graph: definition of the network, in training mode.
        params, statistics: its weights.
        inputs: see `normalised`.
        drops: what is left out at random.
    """
    # NNX lets variables be changed only where they were made
    module = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, statistics))
    return module.classify(inputs, drops), nnx.state(module, nnx.BatchStat)


def loss(logits: jax.Array, labels: jax.Array, recipe: Recipe) -> jax.Array:
    """The mean loss of logits [B, n] float32, weighted by class: cross entropy, or the squared error of a regression.

    Args:
        logits: n is the number of classes of a softmax, else 1.
        labels: [B], class indices, or the numbers to predict.
        recipe: of it count output, class_weights, centre, deviation and label_smoothing.
    """
    if recipe.output == "regression":
        return jnp.mean((logits[:, 0] - (labels - recipe.centre) / recipe.deviation) ** 2)
    if recipe.output == "sigmoid":
        targets = optax.smooth_labels(jax.nn.one_hot(labels, 2), recipe.label_smoothing)[:, 1]
        losses = optax.sigmoid_binary_cross_entropy(logits[:, 0], targets)
    else:
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1]), recipe.label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets)
    if not recipe.class_weights:
        return jnp.mean(losses)
    weights = jnp.array(recipe.class_weights, losses.dtype)[labels]
    return jnp.sum(weights * losses) / jnp.sum(weights)


def make_step(
    graph: Any, recipe: Recipe, chain: optax.GradientTransformation, seed: int, *, bfloat16: bool = False
) -> Callable[[AssessorState, Any], tuple[AssessorState, AssessorMetrics]]:
    """The training step as a pure function of the state and a batch {"image" [B, S, S, 3] uint8, "label" [B]}.

    Args:
        graph: definition of the network, in training mode.
        recipe: what is taught, and how.
        chain: the optimizer.
        seed: of noise, flips and drops, with the step.
        bfloat16: the network but its norms and head works in bfloat16; its weights stay float32.
    """

    def step(state: AssessorState, batch: Any) -> tuple[AssessorState, AssessorMetrics]:
        key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), state.step)
        key_input, key_drops = jax.random.split(key)
        inputs = augmented(key_input, normalised(batch["image"], recipe), recipe)
        drops = Drops(key_drops, recipe.dropout, recipe.drop_connect)

        def loss_of(params: Any) -> tuple[jax.Array, Any]:
            working = precision.in_bfloat16(params) if bfloat16 else params
            logits, statistics = classified(graph, working, state.statistics, inputs, drops)
            return loss(logits, batch["label"], recipe), statistics

        (value, statistics), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = chain.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = AssessorMetrics(value, optax.tree.norm(grads), optax.tree.norm(updates))
        return AssessorState(state.step + 1, params, statistics, opt_state), metrics

    return step
