"""The stacked hourglass (Newell, Yang, Deng, ECCV 2016, arXiv 1603.06937): where LAP and LAPX come from."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.hourglass import Return
from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork
from featherpose.models.peers.branches import check_multiple


class Residual(nn.Module):
    """Pre-activated bottleneck: 1x1 to half the width, 3x3, 1x1 back, convolutions with biases."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        middle = outputs // 2
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, middle, 1),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, 3, padding=1),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 1),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class Level(nn.Module):
    """One size of the hourglass, with all smaller ones inside."""

    def __init__(self, channels: int, depth: int):
        super().__init__()
        self.skip, self.down, self.up = (Residual(channels, channels) for _ in range(3))
        self.inner: nn.Module = (
            Level(channels, depth - 1) if depth > 1 else Residual(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(y, scale_factor=2, mode="nearest")


class StackedHourglass(PoseNetwork):
    """Eight hourglasses of depth 4 and 256 channels as published; each stage's heatmaps are supervised.

    Args:
        early: `paper` keeps half of the channels until the stem's last residual; `wide` grows to all of them one
            residual earlier, as the PyTorch versions do whose weights are public (bearpaw, anibali).
    """

    stride = 4
    natural_height = 256

    def __init__(
        self,
        joints: int,
        stages: int = 8,
        channels: int = 256,
        depth: int = 4,
        early: str = "paper",
    ):
        super().__init__()
        if early not in ("paper", "wide"):
            raise PoseError(f"model.early is paper or wide, not {early!r}.")
        if stages < 1 or depth < 1 or channels % 4:
            raise PoseError(
                "A stacked hourglass takes at least one stage and depth, and channels in fours, "
                f"not {stages, depth, channels}."
            )
        self.joints = joints
        self.depth = depth
        half = channels // 2
        middle = half if early == "paper" else channels
        self.stem = nn.Sequential(
            ConvNorm(3, 64, 7, 2, nn.ReLU(inplace=True)),
            Residual(64, half),
            nn.MaxPool2d(2),
            Residual(half, middle),
            Residual(middle, channels),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                Level(channels, depth),
                Residual(channels, channels),
                ConvNorm(channels, channels, 1, 1, nn.ReLU()),
            )
            for _ in range(stages)
        )
        self.heatmaps = nn.ModuleList(nn.Conv2d(channels, joints, 1) for _ in range(stages))
        self.returns = nn.ModuleList(Return(channels, joints) for _ in range(stages - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        check_multiple(*images.shape[2:], unit=4 * 2**self.depth)
        x = self.stem(images)
        outputs: list[Tensor] = []
        for i, (stage, head) in enumerate(zip(self.stages, self.heatmaps, strict=True)):
            features = stage(x)
            outputs.append(head(features))
            if i < len(self.returns):
                x = x + self.returns[i](features, outputs[-1])
        return outputs
