"""The published networks as fast as we can write them in PyTorch, the same functions in real arithmetic.

Spectral norms and batch norms are folded into plain layers, a condition's gain and bias come from one linear layer,
padding is the convolution's own, all maps are channels last, and nothing has a gradient but what leads to the latents.
`rewritten` adds what latentjax does to the blocks: the shortcut's 1x1 convolution before its upsampling, and the
convolution of the upsampled map as a transposed one.
"""

import torch
import torch.nn.functional as F
from torch import nn

from converters.oracles import biggan, efficientnet

Last = torch.channels_last


def frozen(module: nn.Module) -> nn.Module:
    """In evaluation mode, channels last, without gradients of its own."""
    return module.eval().requires_grad_(False).to(memory_format=Last)


def plain_conv(weight: torch.Tensor, bias: torch.Tensor | None, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the map's size, but for its stride."""
    out, inputs, size, _ = weight.shape
    conv = nn.Conv2d(inputs * groups, out, size, stride, (size - 1) // 2, groups=groups, bias=bias is not None)
    conv.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return conv


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch norm in evaluation does to a channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift + norm.bias if norm.affine else shift


class Modulation(nn.Module):
    """A conditional norm and its ReLU: x [B, C, H, W] times a gain plus a bias, both affine in the condition."""

    def __init__(self, norm: biggan.ConditionalNorm):
        super().__init__()
        scale, shift = scale_and_shift(norm.bn)
        gain, bias = norm.gamma_embed.module(), norm.beta_embed.module()
        weight = torch.cat([scale[:, None] * gain, shift[:, None] * gain + bias])
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.load_state_dict({"weight": weight, "bias": torch.cat([scale, shift])})

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        gain, bias = self.linear(condition)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(bias, x, gain).relu_()


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Nearest-neighbour x2."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def transposed(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """A 3x3 convolution of the doubled map, on the map itself: equal neighbours share taps."""
    weight = conv.weight
    for axis in (2, 3):
        k0, k1, k2 = weight.split(1, axis)
        weight = torch.cat([k0, k0 + k1, k1 + k2, k2], axis)
    out = nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 4, 2, 1)
    out.load_state_dict({"weight": weight.flip(2, 3).transpose(0, 1), "bias": conv.bias})
    return out


class Block(nn.Module):
    """A residual block that doubles the map; see the top of this file for `rewritten`."""

    def __init__(self, block: biggan.Block, side: int, rewritten: bool):
        super().__init__()
        self.norm0, self.norm1 = Modulation(block.HyperBN), Modulation(block.HyperBN_1)
        self.conv0, self.conv1, self.shortcut = (
            plain_conv(conv.module(), conv.module.bias) for conv in (block.conv0, block.conv1, block.conv_sc)
        )
        self.shortcut_first, self.transposed = rewritten, rewritten and side > 4  # at 4 x 4 it is slower
        if self.transposed:
            self.conv0 = transposed(self.conv0)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        h = self.norm0(x, condition)
        h = self.conv0(h if self.transposed else doubled(h))
        h = self.conv1(self.norm1(h, condition))
        return h + (doubled(self.shortcut(x)) if self.shortcut_first else self.shortcut(doubled(x)))


class Attention(nn.Module):
    """Self-attention with pooled keys and values."""

    def __init__(self, attention: biggan.SelfAttention):
        super().__init__()
        self.projections = plain_conv(torch.cat([part.module() for part in (attention.theta, attention.phi)]), None)
        self.values = plain_conv(attention.g.module(), None)
        self.out = plain_conv(attention.gamma * attention.o_conv.module(), None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within x [B, C, H, W]."""
        queries, keys = self.projections(x).chunk(2, 1)
        keys = F.max_pool2d(keys, 2).flatten(2)
        values = F.max_pool2d(self.values(x), 2).flatten(2)
        attention = torch.softmax(queries.flatten(2).transpose(1, 2) @ keys, dim=-1)
        read = (values @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        return self.out(read.contiguous(memory_format=Last)) + x


class Generator(nn.Module):
    """BigGAN (z, y) -> images [B, 3, R, R]."""

    def __init__(self, oracle: biggan.BigGAN, rewritten: bool = False):
        super().__init__()
        self.chunk, self.attention_before = oracle.chunk, oracle.attention_before
        self.embedding, first = oracle.linear, oracle.G_linear.module
        self.first = nn.Linear(self.chunk, first.weight_bar.shape[0])
        self.first.load_state_dict({"weight": first(), "bias": first.bias})
        self.blocks = nn.ModuleList(Block(block, 4 * 2**i, rewritten) for i, block in enumerate(oracle.GBlock))
        self.attention = Attention(oracle.attention)
        scale, shift = scale_and_shift(oracle.ScaledCrossReplicaBN)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", shift[:, None, None])
        self.colorize = plain_conv(oracle.colorize.module(), oracle.colorize.module.bias)
        frozen(self)

    def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Generate images."""
        first, *chunks = z.split(self.chunk, dim=1)
        embedding = self.embedding(y)
        # a view of [B, 4, 4, C]: channels last already
        x = self.first(first).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for i, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            if i == self.attention_before:
                x = self.attention(x)
            x = block(x, torch.cat([chunk, embedding], dim=1))
        scale, shift = self.scale.to(x.dtype), self.shift.to(x.dtype)  # or autocast would widen the largest map
        return torch.tanh(self.colorize(torch.addcmul(shift, x, scale).relu_()))


def folded(conv: efficientnet.PaddedConv, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution and the batch norm after it as one."""
    scale, shift = scale_and_shift(norm)
    return plain_conv(conv.weight * scale[:, None, None, None], shift, conv.stride[0], conv.groups)


class MBConv(nn.Module):
    """Inverted bottleneck with squeeze-and-excitation."""

    def __init__(self, block: efficientnet.MBConv):
        super().__init__()
        self.skips = block.skips
        self.expand = folded(block._expand_conv, block._bn0) if block.expands else None
        self.depthwise = folded(block._depthwise_conv, block._bn1)
        self.reduce, self.widen = (plain_conv(conv.weight, conv.bias) for conv in (block._se_reduce, block._se_expand))
        self.project = folded(block._project_conv, block._bn2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        h = F.silu(self.depthwise(x if self.expand is None else F.silu(self.expand(x))))
        h = self.project(torch.sigmoid(self.widen(F.silu(self.reduce(h.mean((2, 3), keepdim=True))))) * h)
        return h + x if self.skips else h


class Assessor(nn.Module):
    """EfficientNet with symmetric padding: images in [-1, 1], of any size -> scores [B]."""

    def __init__(self, oracle: efficientnet.EfficientNet, image_size: int = 224):
        super().__init__()
        self.image_size = image_size
        mean, std = (torch.tensor(values)[:, None, None] for values in (efficientnet.MEAN, efficientnet.STD))
        self.register_buffer("scale", 1 / std)
        self.register_buffer("shift", -mean / std)
        self.stem = folded(oracle._conv_stem, oracle._bn0)
        self.blocks = nn.Sequential(*(MBConv(block) for block in oracle._blocks))
        self.head = folded(oracle._conv_head, oracle._bn1)
        self.classifier = oracle._fc
        frozen(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Judge images [B, 3, R, R]."""
        pixels = ((images + 1) / 2).clamp(0, 1)
        if pixels.shape[2] != self.image_size:
            pixels = F.interpolate(pixels, size=(self.image_size, self.image_size), mode="bilinear")
        x = F.silu(self.stem(torch.addcmul(self.shift, pixels, self.scale)))
        x = F.silu(self.head(self.blocks(x)))
        return torch.softmax(self.classifier(x.mean((2, 3))).float(), dim=1)[:, 1]
