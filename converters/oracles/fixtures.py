"""Random weights that behave like trained ones, for tests and benchmarks without any published file."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from converters.oracles import biggan, biggan_deep, biggan_pytorch
from converters.oracles.biggan import BigGAN
from converters.oracles.biggan_deep import BigGANDeep, TableNorm
from converters.oracles.biggan_pytorch import BigGANPyTorch
from converters.oracles.dcgan import DCGAN
from converters.oracles.efficientnet import EfficientNet, assess
from converters.oracles.resnet import ResNet
from converters.oracles.transformer import Transformer

Generator = BigGAN | BigGANDeep | BigGANPyTorch | DCGAN
ATTENTIONS = (biggan.SelfAttention, biggan_deep.SelfAttention, biggan_pytorch.SelfAttention)
NORMS = (nn.BatchNorm2d, TableNorm, biggan_pytorch.LastNorm)
POWER_ITERATIONS = 3  # few: the stored u must be measurably off, or a test could not see it renewed


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Fill an oracle in place with random but well-conditioned weights.

    Weights have a standard deviation near 1 / sqrt(fan in), norms have gains around 1 and small biases, running
    statistics come from one forward pass of random inputs (the smallest variances raised), spectral norms' u from
    a few power iterations, and the attention's gamma is 0.7. A generator's images are then neither saturated nor
    flat.

    Args:
        module: a generator, EfficientNet, ResNet or Transformer of this folder, in any floating dtype.
        seed: the same seed, architecture and dtype give the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            _fill(part, generator)
        if isinstance(module, BigGAN | BigGANDeep):
            # An embedding of one class must be of the size of a chunk of z, or classes would not show.
            embedding = module.linear if isinstance(module, BigGAN) else module.embeddings
            embedding.weight.mul_(0.5 * math.sqrt(module.num_classes))
        if not isinstance(module, Transformer):
            _calibrate_norms(module, generator)
        if isinstance(module, Generator):
            _calibrate_contrast(module, generator)


def sample_inputs(
    module: Generator | Transformer, batch: int, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random z [batch, latent_dim] ~ N(0, 1) and one-hot y [batch, num_classes] in the module's dtype."""
    dtype = next(module.parameters()).dtype
    z = torch.randn(batch, module.latent_dim, generator=generator).to(dtype)
    if not module.num_classes:
        return z, z.new_zeros(batch, 0)
    labels = torch.randint(module.num_classes, (batch,), generator=generator)
    return z, F.one_hot(labels, module.num_classes).to(dtype)


@torch.no_grad()
def calibrate_head(classifier: EfficientNet, images: torch.Tensor) -> None:
    """Rescale a two-class head, so that a random assessor can be learned against.

    Afterwards the logit difference over these images has mean 0 and standard deviation 1.5.

    Args:
        classifier: with num_classes = 2, changed in place.
        images: [B, 3, R, R] in [-1, 1], as the generator makes them; B of some dozens at least.
    """
    logits = torch.cat([assess(classifier, part)[0] for part in images.split(16)])
    difference = logits[:, 1] - logits[:, 0]
    scale = 1.5 / difference.std(correction=0)
    shift = scale * difference.mean() / 2
    classifier._fc.weight.mul_(scale)
    classifier._fc.bias.mul_(scale).add_(torch.stack([shift, -shift]))


def _fill(part: nn.Module, generator: torch.Generator) -> None:
    """Draw a module's own parameters, without its children's."""

    def normal(tensor: torch.Tensor, std: float, mean: float = 0.0) -> None:
        tensor.copy_(mean + std * torch.randn(tensor.shape, generator=generator))

    for name, param in part.named_parameters(recurse=False):
        if isinstance(part, ATTENTIONS):
            param.fill_(0.7)
        elif isinstance(part, NORMS):
            normal(param, *((0.3, 0.0) if name == "bias" else (0.1, 1.0)))
        elif isinstance(part, nn.Embedding):
            normal(param, 0.5)
        elif isinstance(part, Transformer | nn.ParameterList):
            normal(param, 1.0)
        elif name == "bias":
            normal(param, 0.1)
        else:
            normal(param, 1 / math.sqrt(_fan_in(part, param)))
    buffers = dict(part.named_buffers(recurse=False))
    vectors = [buffers[name] for name in ("weight_u", "weight_v", "u0") if name in buffers]
    for vector in vectors:
        normal(vector, 1.0)
        vector.div_(vector.norm())
    for _ in range(POWER_ITERATIONS if vectors else 0):
        if isinstance(part, biggan.SpectralWeight):
            part.weight_u.copy_(part.iterate()[0])
        elif isinstance(part, biggan_pytorch.SpectralWeight):
            part.u0.copy_(part.iterate()[0])
        else:  # PyTorch's own
            matrix, (u, v) = dict(part.named_parameters())["weight_orig"].flatten(1), vectors
            v.copy_(F.normalize(matrix.T @ u, dim=0))
            u.copy_(F.normalize(matrix @ v, dim=0))


def _fan_in(part: nn.Module, weight: torch.Tensor) -> float:
    """How many inputs one output sums."""
    if isinstance(part, nn.ConvTranspose2d):
        if part.padding == (0, 0):  # the first layer, from a 1 x 1 map: one tap reaches an output
            return weight.shape[0]
        return weight.shape[0] * weight[0, 0].numel() / (part.stride[0] * part.stride[1])
    return weight[0].numel()


def _calibrate_norms(module: nn.Module, generator: torch.Generator) -> None:
    """Set running statistics to those of one batch of random inputs, each norm seeing the ones before it done."""
    hooks = [
        part.register_forward_pre_hook(functools.partial(_calibrate_stored, generator))
        for part in module.modules()
        if isinstance(part, TableNorm | biggan_pytorch.Norm)
    ]
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    if isinstance(module, Generator):
        module(*sample_inputs(module, 4, generator))
    elif isinstance(module, EfficientNet | ResNet):
        module(_blobs(8, generator).to(next(module.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
        if norm.running_var is not None:
            # Channels that hardly vary here would blow up, layer after layer, on inputs of another kind.
            norm.running_var.clamp_(min=0.5 * float(norm.running_var.mean()))


def _calibrate_stored(generator: torch.Generator, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Set a norm's statistics to those of its input; those of a table differ from row to row, and end with them."""
    mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), correction=0)
    variance.clamp_(min=0.5 * float(variance.mean()))
    if isinstance(norm, biggan_pytorch.Norm):
        norm.stored_mean.copy_(mean)
        norm.stored_var.copy_(variance)
    elif isinstance(norm, TableNorm):
        rows = norm.running_means.shape
        away = torch.linspace(1, 0, rows[0])[:, None] * torch.rand(rows, generator=generator)
        norm.running_means.copy_(mean + 0.3 * away * variance.sqrt())
        norm.running_vars.copy_(variance * (1 + 0.5 * away))


def _blobs(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Pictures [batch, 3, 224, 224] with structure at every scale, from one colour to noise."""
    pictures = torch.zeros(batch, 3, 224, 224)
    for size in (1, 4, 14, 56, 112, 224):
        blobs = torch.randn(batch, 3, size, size, generator=generator)
        pictures += 0.6 * F.interpolate(blobs, size=(224, 224), mode="bilinear")
    return pictures


def _calibrate_contrast(module: Generator, generator: torch.Generator) -> None:
    """Scale and centre what goes into the last tanh to a mean size of 0.35 over random inputs."""
    seen: list[torch.Tensor] = []
    names = {BigGAN: "colorize", BigGANDeep: "generator.conv_to_rgb", BigGANPyTorch: "output_layer.2", DCGAN: "last"}
    last = module.get_submodule(names[type(module)])

    def keep(part: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        seen.append(output)

    hook = last.register_forward_hook(keep)
    module(*sample_inputs(module, 4, generator))
    hook.remove()
    mean = seen[0].mean((0, 2, 3), keepdim=True)
    scale = 0.35 / (seen[0] - mean).abs().mean()
    if isinstance(module, DCGAN):
        module.last.weight.mul_(scale)
        return
    # Spectral norm undoes a scale of the convolution, so the norm and ReLU before it carry the scale.
    bias = next(param for name, param in last.named_parameters() if name.rpartition(".")[2] == "bias")
    bias.sub_(mean.flatten()).mul_(scale)
    norms = {BigGAN: "ScaledCrossReplicaBN", BigGANDeep: "generator.bn", BigGANPyTorch: "output_layer.0"}
    for param in module.get_submodule(norms[type(module)]).parameters():
        param.mul_(scale)
