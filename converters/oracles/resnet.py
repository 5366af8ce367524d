"""ResNet-18 and -34 with the names of torchvision (He et al., 2016), under one linear layer or two."""

from collections.abc import Sequence

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to x [B, inputs, H, W]."""
        h = torch.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        return torch.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The classifier: images -> logits.

    Args:
        num_classes: number of logits.
        depths: blocks of each of the four stages.
        width: channels of the first stage; each stage doubles them.
        hidden: outputs of a linear layer before the last, with dropout before both, as in omniart-eye-classifier.
    """

    def __init__(
        self, num_classes: int, depths: Sequence[int] = (2, 2, 2, 2), width: int = 64, hidden: int | None = None
    ):
        super().__init__()
        self.num_classes = num_classes
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for i, depth in enumerate(depths):
            outputs = width * 2**i
            strides = [2 if i else 1] + [1] * (depth - 1)
            blocks = [BasicBlock(inputs if j == 0 else outputs, outputs, stride) for j, stride in enumerate(strides)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.stages = [f"layer{i + 1}" for i in range(len(depths))]
        self.fc = nn.Linear(inputs, num_classes)
        if hidden is not None:
            layers = (nn.Dropout(0.6), nn.Linear(inputs, hidden), nn.Dropout(0.6), nn.Linear(hidden, num_classes))
            self.fc = nn.Sequential(*layers)
        self.eval()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the head sees, [B, F], of normalised images [B, 3, H, W]."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, num_classes] of normalised images [B, 3, H, W]."""
        return self.fc(self.features(x))
