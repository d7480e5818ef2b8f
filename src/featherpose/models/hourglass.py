"""Stacked hourglasses of depthwise separable blocks: LAP, LAPX and the rows between them.

Initialisation is torch's own (uniform, fan-in): the papers state none, and a batch norm stands before every
convolution of a block, so the scale of the weights hardly matters. `alpha` and `gamma` start at 0. Batch norm keeps
torch's momentum 0.1 and eps 1e-5, which the authors' published weights were trained and evaluated with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.budget import channels_for
from featherpose.models.layers import ACTIVATIONS, ConvNorm, DepthwiseBlock, attention
from featherpose.models.network import PoseNetwork
from featherpose.settings import choice, number

AT_ENDS = "_at_ends"
Block = Callable[..., nn.Module]
"""Makes a block from its input and output channels, and `soft_gate` where it may have one."""


class Stem(nn.Module):
    """Images to features at a quarter of their size."""

    def __init__(
        self,
        channels: int,
        attention_name: str | None,
        block: Block,
        kernel: int = 7,
        activation: str = "elu",
    ):
        super().__init__()
        self.conv = ConvNorm(3, channels // 4, kernel, 2, ACTIVATIONS[activation](inplace=True))
        self.block1 = block(channels // 4, channels // 2)
        self.block2 = block(channels // 2, channels)
        self.block3 = block(channels, channels)
        self.attention = attention(attention_name, channels)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(self.block1(self.conv(images)), 2)
        return self.attention(self.block3(self.block2(x)))


class Level(nn.Module):
    """One size of an hourglass: what passes by, what goes down, and what comes back up."""

    def __init__(self, here: int, below: int, inner: nn.Module, block: Block):
        super().__init__()
        self.skip = block(here, here)
        self.down = block(here, below)
        self.inner = inner
        self.up = block(below, here)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(x)
        y = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        # To the skip's own size, not x2: a 384x288 input has a level 9 wide, of which pooling leaves 4.
        return skip + F.interpolate(y, size=skip.shape[2:], mode="nearest")


class Stage(nn.Module):
    """An hourglass with its neck at the smallest size, the features after it, and the heatmaps they give."""

    def __init__(
        self,
        channels: int,
        joints: int,
        depth: int,
        soft_gate: bool,
        neck: str | None,
        attention_name: str | None,
        block: Block,
        activation: str = "elu",
    ):
        super().__init__()
        gated = partial(block, soft_gate=soft_gate)
        inner: nn.Module = nn.Sequential(gated(channels, channels), attention(neck, channels))
        for _ in range(depth):
            inner = Level(channels, channels, inner, gated)
        self.hourglass = inner
        self.block = block(channels, channels)
        self.features = ConvNorm(channels, channels, 1, 1, ACTIVATIONS[activation](inplace=True))
        self.attention = attention(attention_name, channels)
        self.heatmaps = nn.Conv2d(channels, joints, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.attention(self.features(self.block(self.hourglass(x))))
        return features, self.heatmaps(features)


class Return(nn.Module):
    """What one stage hands to the next, beside that stage's input."""

    def __init__(self, channels: int, joints: int):
        super().__init__()
        self.features = nn.Conv2d(channels, channels, 1)
        self.heatmaps = nn.Conv2d(joints, channels, 1)

    def forward(self, features: Tensor, heatmaps: Tensor) -> Tensor:
        return self.features(features) + self.heatmaps(heatmaps)


class Stacked(PoseNetwork):
    """How stages follow each other: each is supervised, and hands features and heatmaps to the next."""

    stride = 4
    natural_height = 256
    depth: int  # halvings within one stage
    stem: nn.Module
    stages: nn.ModuleList
    returns: nn.ModuleList  # one fewer than stages

    def forward(self, images: Tensor) -> list[Tensor]:
        self.check(*images.shape[2:])
        x = self.stem(images)
        outputs: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            features, heatmaps = stage(x)
            outputs.append(heatmaps)
            if i < len(self.returns):
                x = x + self.returns[i](features, heatmaps)
        return outputs

    def check(self, height: int, width: int) -> None:
        smallest = self.stride * 2**self.depth
        if height % self.stride or width % self.stride or height < smallest or width < smallest:
            raise PoseError(
                f"An hourglass of depth {self.depth} takes inputs whose height and width are multiples of "
                f"{self.stride} and at least {smallest}, not {height}x{width}; set data.input_size."
            )


class Hourglass(Stacked):
    """Stacked hourglasses; `channels=None` takes the width that keeps the paper's parameter budget.

    `neck` is one module name for every stage, a list with one per stage, or "eca_nonlocal_at_ends": ECA-NonLocal in
    the first and the last stage and ECA between, since the paper found Non-Local unstable in the middle. (So does
    "_at_ends" behind any name.)

    What the paper did not try, for searches: another `activation` (relu, relu6, hard_swish) wherever it has ELU, blocks
    whose inner width is another part of their outputs (`expansion`), another `kernel` of their depthwise convolutions.
    """

    def __init__(
        self,
        joints: int,
        stages: int = 3,
        channels: int | None = None,
        depth: int = 4,
        soft_gate: bool = False,
        stem_attention: str | None = None,
        stage_attention: str | None = None,
        neck: str | Sequence[str | None] | None = None,
        block: Block = DepthwiseBlock,
        activation: str = "elu",
        expansion: float = 0.5,
        kernel: int = 3,
    ):
        super().__init__()
        choice("model.activation", activation, tuple(ACTIVATIONS))
        number("model.expansion", expansion, least=0.125, most=4)
        if kernel not in (1, 3, 5, 7, 9):
            raise PoseError(f"model.kernel is 1, 3, 5, 7 or 9, not {kernel}.")
        if block is DepthwiseBlock:
            block = partial(block, activation=activation, expansion=expansion, kernel=kernel)
        if stages < 1 or depth < 1 or joints < 1:
            raise PoseError(
                f"An hourglass needs stages, depth and joints of at least 1, not {stages, depth, joints}."
            )
        self.joints = joints
        self.depth = depth
        self.channels = channels = channels or channels_for(stages)
        if channels % 4 or channels < 16:
            raise PoseError(
                f"The hourglass's channels must be a multiple of 4 and at least 16, not {channels}."
            )
        self.stem = Stem(channels, stem_attention, block, activation=activation)
        self.stages = nn.ModuleList(
            Stage(channels, joints, depth, soft_gate, name, stage_attention, block, activation)
            for name in necks(neck, stages)
        )
        self.returns = nn.ModuleList(Return(channels, joints) for _ in range(stages - 1))


def necks(neck: str | Sequence[str | None] | None, stages: int) -> list[str | None]:
    """The neck module's name for each stage."""
    if isinstance(neck, str) and neck.endswith(AT_ENDS):
        outer = neck.removesuffix(AT_ENDS)
        return [outer if i in (0, stages - 1) else "eca" for i in range(stages)]
    if neck is None or isinstance(neck, str):
        return [neck] * stages
    if len(neck) != stages:
        raise PoseError(
            f"model.neck lists {len(neck)} modules for {stages} stages; give one per stage."
        )
    return list(neck)
