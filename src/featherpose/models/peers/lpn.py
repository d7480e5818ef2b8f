"""LPN (Zhang, Tang, Wu 2019, arXiv 1911.10346): a ResNet of depthwise bottlenecks with global context."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork
from featherpose.models.peers.branches import check_multiple

WIDTHS, STRIDES = (
    (64, 128, 256, 512),
    (1, 2, 2, 1),
)  # the last stage keeps its size: 1/16, so two upsamplings suffice


class GlobalContext(nn.Module):
    """Adds to every place one vector: the attention-weighted mean of all places through a small perceptron."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        middle = max(channels // reduction, 16)
        self.attend = nn.Conv2d(channels, 1, 1)
        self.reduce = nn.Linear(channels, middle)
        self.norm = nn.LayerNorm(middle)
        self.expand = nn.Linear(middle, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.attend(x).flatten(2).softmax(-1).to(x.dtype)
        context = (x.flatten(2) @ weights.transpose(1, 2)).squeeze(2)
        added = self.expand(F.relu(self.norm(self.reduce(context)).to(x.dtype)))
        return x + added[:, :, None, None]


class LightweightBottleneck(nn.Module):
    """ResNet's bottleneck without its fourfold widening and with a depthwise 3x3."""

    def __init__(self, inputs: int, channels: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(inputs, channels, 1, 1, nn.ReLU(inplace=True)),
            ConvNorm(channels, channels, 3, stride, nn.ReLU(inplace=True), groups=channels),
            ConvNorm(channels, channels),
            GlobalContext(channels),
        )
        same = inputs == channels and stride == 1
        self.skip = nn.Identity() if same else ConvNorm(inputs, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


def upsample(inputs: int, outputs: int) -> nn.Sequential:
    """A depthwise transposed convolution (as many groups as divide both widths) and a 1x1."""
    grow = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, groups=outputs, bias=False)
    return nn.Sequential(
        grow,
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        ConvNorm(outputs, outputs, 1, 1, nn.ReLU(inplace=True)),
    )


class LPN(PoseNetwork):
    """`blocks` (3, 4, 6, 3) is LPN-50, (3, 4, 23, 3) LPN-101, (3, 8, 36, 3) LPN-152."""

    stride = 4
    natural_height = 256

    def __init__(self, joints: int, blocks: Sequence[int] = (3, 4, 6, 3), head: int = 256):
        super().__init__()
        self.joints = joints
        self.stem = nn.Sequential(
            ConvNorm(3, 64, 7, 2, nn.ReLU(inplace=True)), nn.MaxPool2d(3, 2, 1)
        )
        layers: list[nn.Module] = []
        inputs = 64
        for width, stride, number in zip(WIDTHS, STRIDES, blocks, strict=True):
            for i in range(number):
                layers.append(LightweightBottleneck(inputs, width, stride if i == 0 else 1))
                inputs = width
        self.layers = nn.Sequential(*layers)
        self.upsample = nn.Sequential(upsample(inputs, head), upsample(head, head))
        self.heatmaps = nn.Conv2d(head, joints, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_multiple(*images.shape[2:], unit=16)
        return [self.heatmaps(self.upsample(self.layers(self.stem(images))))]
