"""RAdam as the published training runs it (Liu et al., 2020, with two differences)."""

import math
from collections.abc import Iterable

import torch


class RAdam(torch.optim.Optimizer):
    """Rectified Adam: momentum alone while the rectifier is undefined, rectified Adam from then on.

    It differs from torch's own in where epsilon goes, to the root of the UNcorrected second moment, and in weight
    decay, which is decoupled: p -= lr * weight_decay * p.

    Args:
        params: tensors to train, or groups of them.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the root of the uncorrected second moment.
        weight_decay: the decoupled decay; 0 for none.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter that has a gradient; closures are not taken."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: torch.Tensor, grad: torch.Tensor, group: dict) -> None:
        state = self.state[p]
        if not state:
            state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        state["step"] += 1
        step, m, v = state["step"], state["m"], state["v"]
        beta1, beta2 = group["betas"]
        m.mul_(beta1).add_(grad, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        p.sub_(p, alpha=group["lr"] * group["weight_decay"])
        size = group["lr"] / (1 - beta1**step)
        rectifier = _rectifier(step, beta2)
        if rectifier is None:
            p.add_(m, alpha=-size)
        else:
            p.addcdiv_(m, v.sqrt().add_(group["eps"]), value=-size * rectifier * math.sqrt(1 - beta2**step))


def _rectifier(step: int, beta2: float) -> float | None:
    """r_t of equation (12) of the paper, None while rho_t < 5 (the paper says <= 4)."""
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / (1 - beta2**step)
    if rho < 5:
        return None
    return math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
