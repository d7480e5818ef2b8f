"""HRNet-W32 and LE-HRNet: branches at four resolutions that never lose the finest one.

Parts are named after HRNet's own. Convolutions start as N(0, 0.001) with zero biases, as HRNet's code does (neither
paper states it); batch norm keeps torch's eps 1e-5 and momentum 0.1, which are HRNet's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.lean import LConv, MultiscaleAttention
from featherpose.models.network import PoseNetwork


class Convolutions:
    """Which convolution stands where a 3x3 stood, and which residual block: what tells the networks apart."""

    def __init__(self, block: str, scope: str):
        if block not in ("basic", "lean", "leema") or scope not in ("branches", "all"):
            raise PoseError(
                f"model.block is basic, lean or leema and model.scope branches or all, not {block}, {scope}."
            )
        self.lean, self.attention = block != "basic", block == "leema"
        self.lean_everywhere = self.lean and scope == "all"

    def block(self, channels: int) -> nn.Module:
        return ResidualBlock(
            channels,
            LConv if self.lean else conv3,
            MultiscaleAttention(channels) if self.attention else nn.Identity(),
        )

    def conv(self, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        """The convolution outside the blocks."""
        return (LConv if self.lean_everywhere else conv3)(inputs, outputs, stride)

    def between(
        self, inputs: int, outputs: int, stride: int = 1, act: bool = True
    ) -> nn.Sequential:
        """The same with batch norm and ReLU."""
        conv = self.conv(inputs, outputs, stride)
        return nn.Sequential(
            conv, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if act else [])
        )


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """HRNet's basic block; with LConv it is Leanblock, with EMA before the addition LeEMA-Fusionblock."""

    def __init__(self, channels: int, conv: Callable[[int, int], nn.Module], attention: nn.Module):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels), nn.BatchNorm2d(channels)
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.attention(self.bn2(self.conv2(y))) + x, inplace=True)


class Bottleneck(nn.Module):
    """1x1 to 64 channels, 3x3, 1x1 to 256."""

    def __init__(self, inputs: int, middle: int = 64):
        super().__init__()
        outputs = 4 * middle
        self.conv1, self.bn1 = nn.Conv2d(inputs, middle, 1, bias=False), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = conv3(middle, middle), nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


class FusionModule(nn.Module):
    """Blocks on every branch, then every branch summed into every other."""

    def __init__(self, widths: Sequence[int], outputs: int, blocks: int, kind: Convolutions):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(kind.block(w) for _ in range(blocks))) for w in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._link(widths, source, target, kind) for source in range(len(widths)))
            for target in range(outputs)
        )

    @staticmethod
    def _link(widths: Sequence[int], source: int, target: int, kind: Convolutions) -> nn.Module:
        """From a finer branch by halvings, from a coarser one by a 1x1 convolution and doublings."""
        here, there = widths[source], widths[target]
        if source == target:
            return nn.Identity()
        if source > target:
            grow = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(nn.Conv2d(here, there, 1, bias=False), nn.BatchNorm2d(there), grow)
        halvings = [kind.between(here, here, 2) for _ in range(target - source - 1)]
        return nn.Sequential(*halvings, kind.between(here, there, 2, act=False))

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [F.relu(_sum(links, xs), inplace=True) for links in self.fuse_layers.children()]


def _sum(links: nn.Module, xs: list[Tensor]) -> Tensor:
    first, *others = (link(x) for link, x in zip(links.children(), xs, strict=True))
    for other in others:
        first = first + other
    return first


class HRNet(PoseNetwork):
    """`block` basic is HRNet; lean and leema are LE-HRNet's steps, within the branches or in the whole network.

    `modules` are the fusion modules of stages 2, 3 and 4, and `blocks` the blocks of each of their branches.
    """

    stride = 4
    natural_height = 256

    def __init__(
        self,
        joints: int,
        channels: int = 32,
        block: str = "basic",
        scope: str = "branches",
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ):
        super().__init__()
        kind = Convolutions(block, scope)
        self.channels_last_on_cpu = not kind.attention  # its sums and products go by whole planes
        unit = 4 if kind.lean else 1
        if kind.attention:
            unit = 32
        if channels < 1 or channels % unit:
            raise PoseError(
                f"With block={block} the channels must be a multiple of {unit}, not {channels}."
            )
        if len(modules) != 3 or min(*modules, blocks) < 1:
            raise PoseError(
                f"model.modules is three numbers and model.blocks one, all at least 1; not {modules}, {blocks}."
            )
        self.joints, self.channels = joints, channels
        w = [channels * 2**i for i in range(4)]
        self.conv1, self.bn1 = conv3(3, 64, 2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = kind.conv(64, 64, 2), nn.BatchNorm2d(64)
        early = 64 if kind.lean_everywhere else 256
        if kind.lean_everywhere:
            self.layer1 = nn.Sequential(*(kind.block(64) for _ in range(4)))
        else:
            self.layer1 = nn.Sequential(*(Bottleneck(64 if i == 0 else 256) for i in range(4)))
        self.transition1 = nn.ModuleList([kind.between(early, w[0]), kind.between(early, w[1], 2)])
        self.transition2 = kind.between(w[1], w[2], 2)
        self.transition3 = kind.between(w[2], w[3], 2)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(
                *(
                    FusionModule(w[:n], 1 if n == 4 and m == last - 1 else n, blocks, kind)
                    for m in range(last)
                )
            )
            for n, last in zip((2, 3, 4), modules, strict=True)
        )
        self.final_layer = nn.Conv2d(w[0], joints, 1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        self.check(*images.shape[2:])
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = self.layer1(F.relu(self.bn2(self.conv2(x)), inplace=True))
        xs = self.stage2([transition(x) for transition in self.transition1])
        xs = self.stage3([*xs, self.transition2(xs[-1])])
        xs = self.stage4([*xs, self.transition3(xs[-1])])
        return [self.final_layer(xs[0])]

    @staticmethod
    def check(height: int, width: int) -> None:
        if height % 32 or width % 32 or min(height, width) < 64:
            raise PoseError(
                "An HRNet takes inputs whose height and width are multiples of 32 and at least 64, "
                f"not {height}x{width}; set data.input_size."
            )


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, std=0.001)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
