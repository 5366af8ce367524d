"""One training step of the paper in PyTorch (Kocasari et al., 2021, equations 1 and 2)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from converters.oracles.transformer import Transformer


def training_step(
    generator: nn.Module,
    assess: Callable[[torch.Tensor], torch.Tensor],
    transformer: nn.Module,
    optimizer: torch.optim.Optimizer,
    z: torch.Tensor,
    y: torch.Tensor,
    alpha: torch.Tensor,
    noise_z: torch.Tensor | None = None,
    noise_y: torch.Tensor | None = None,
    direction: int = 0,
    penalty: Callable[[], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Move the transformer one step towards s' = s + alpha; generator and assessor stay as they are.

    Args:
        generator: (z, y) -> images [B, 3, R, R] in [-1, 1].
        assess: images -> scores [B] in [0, 1].
        transformer: (z, y, alpha, noise_z, noise_y) -> (z', y').
        optimizer: over the transformer's parameters.
        z: latents [B, Z].
        y: class weights [B, classes].
        alpha: requested changes of the score [B].
        noise_z: noise for z's network [B, noise_dim], where it takes some.
        noise_y: noise for y's network [B, noise_dim_y], where it takes some.
        direction: which of several maps the step trains.
        penalty: added to the loss, such as `angle_loss`.

    Returns:
        ``score``, ``target`` and ``score_edited`` [B], and ``loss`` [], all before the update.
    """
    score = assess(generator(z, y)).detach()
    target = score + alpha
    edited_z, edited_y = transformer(z, y, alpha, noise_z, noise_y, direction)
    score_edited = assess(generator(edited_z, edited_y))
    loss = (score_edited - target).square().mean()
    if penalty is not None:
        loss = loss + penalty()
    params = list(transformer.parameters())
    # Asking for these gradients alone leaves the frozen networks' weight gradients uncomputed; directions that the
    # step does not follow get none.
    for param, grad in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
        param.grad = grad
    optimizer.step()
    return {"score": score, "target": target, "score_edited": score_edited.detach(), "loss": loss.detach()}


def angle_loss(
    transformer: Transformer, z: torch.Tensor, direction: int, *, published: bool = False, angle_loss_reg: float = 1.0
) -> torch.Tensor:
    """What the MultiDirectionZ kinds add to the loss: how parallel the step's direction is to the others.

    Args:
        transformer: of a MultiDirectionZ kind.
        z: latents [B, Z].
        direction: the one that the step trains.
        published: |sum of cos over the batch| / angle_loss_reg for each other direction, instead of the batch's mean
            of |cos|; either is averaged over the other directions.
        angle_loss_reg: divides the published form.
    """
    maps = list(transformer.directions)
    values = [each if isinstance(each, nn.Parameter) else each(z) for each in maps]
    total = z.new_zeros(())
    for other, value in enumerate(values):
        if other != direction:
            cos = F.cosine_similarity(values[direction], value, dim=1)
            total = total + (cos.sum().abs() / angle_loss_reg if published else cos.abs().mean())
    return total / (len(values) - 1)
