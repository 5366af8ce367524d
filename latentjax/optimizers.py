"""What turns gradients into updates: RAdam or Adam, clipped, with warmup and decay."""

import optax

from latentjax.config import ConfigDict
from latentjax.radam import radam


def optimizer(train: ConfigDict) -> optax.GradientTransformation:
    """The optax chain that the config describes."""
    rate = train.learning_rate
    if train.schedule == "cosine":
        decay = max(1, train.num_steps - train.warmup_steps)
        schedule = optax.cosine_decay_schedule(rate, decay)
    else:
        schedule = optax.constant_schedule(rate)
    if train.warmup_steps:
        warmup = optax.linear_schedule(0.0, rate, train.warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [train.warmup_steps])
    if train.optimizer == "radam":
        return radam(schedule, weight_decay=train.weight_decay, clip_norm=train.clip_norm or None)
    clip = [optax.clip_by_global_norm(train.clip_norm)] if train.clip_norm else []
    return optax.chain(*clip, optax.adamw(schedule, weight_decay=train.weight_decay))
