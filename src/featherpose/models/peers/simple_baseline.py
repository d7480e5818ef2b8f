"""SimpleBaseline (Xiao, Wu, Wei, ECCV 2018, arXiv 1804.06208): a classifier and three transposed convolutions.

Backbones: ResNet-50 with the stride in the bottleneck's 3x3, and MobileNetV2 (Sandler et al., CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork
from featherpose.models.peers.branches import check_multiple


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width."""

    def __init__(self, inputs: int, channels: int, stride: int = 1):
        super().__init__()
        outputs = 4 * channels
        self.body = nn.Sequential(
            ConvNorm(inputs, channels, 1, 1, nn.ReLU(inplace=True)),
            ConvNorm(channels, channels, 3, stride, nn.ReLU(inplace=True)),
            ConvNorm(channels, outputs),
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class ResNet(nn.Sequential):
    """Images to features at 1/32 of their size."""

    def __init__(self, blocks: Sequence[int] = (3, 4, 6, 3)):
        layers: list[nn.Module] = [
            ConvNorm(3, 64, 7, 2, nn.ReLU(inplace=True)),
            nn.MaxPool2d(3, 2, 1),
        ]
        inputs = 64
        for stage, number in enumerate(blocks):
            width = 64 * 2**stage
            for i in range(number):
                layers.append(Bottleneck(inputs, width, 2 if i == 0 and stage else 1))
                inputs = 4 * width
        super().__init__(*layers)
        self.channels = inputs


class InvertedResidual(nn.Module):
    """1x1 up to `expand` times the width, depthwise 3x3, 1x1 down without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int):
        super().__init__()
        middle = inputs * expand
        up = [ConvNorm(inputs, middle, 1, 1, nn.ReLU6(inplace=True))] if expand > 1 else []
        depthwise = ConvNorm(middle, middle, 3, stride, nn.ReLU6(inplace=True), groups=middle)
        self.body = nn.Sequential(*up, depthwise, ConvNorm(middle, outputs))
        self.outputs = outputs
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


# Sandler et al., Table 2: expansion, channels, blocks, stride
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Sequential):
    """Images to features at 1/32 of their size, with the classifier's last convolution to 1280 channels."""

    channels = 1280

    def __init__(self) -> None:
        layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2, nn.ReLU6(inplace=True))]
        inputs = 32
        for expand, width, number, stride in MOBILENET_V2:
            for i in range(number):
                layers.append(InvertedResidual(inputs, width, stride if i == 0 else 1, expand))
                inputs = width
        super().__init__(*layers, ConvNorm(inputs, self.channels, 1, 1, nn.ReLU6(inplace=True)))


class SimpleBaseline(PoseNetwork):
    """`backbone` is resnet50 or mobilenet_v2."""

    stride = 4
    natural_height = 256

    def __init__(self, joints: int, backbone: str = "resnet50", head: int = 256):
        super().__init__()
        match backbone:
            case "resnet50":
                body: ResNet | MobileNetV2 = ResNet()
            case "mobilenet_v2":
                body = MobileNetV2()
            case _:
                raise PoseError(f"model.backbone is resnet50 or mobilenet_v2, not {backbone}.")
        self.joints = joints
        self.backbone = body
        inputs = [body.channels, head, head]
        self.upsample = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(i, head, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(head),
                    nn.ReLU(inplace=True),
                )
                for i in inputs
            )
        )
        self.heatmaps = nn.Conv2d(head, joints, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_multiple(*images.shape[2:])
        return [self.heatmaps(self.upsample(self.backbone(images)))]
