"""What the lightweight multi-branch networks share: fusion, transitions and the head of Lite-HRNet and its kin.

Where HRNet has a dense 3x3 convolution between branches, these have a depthwise 3x3 and a 1x1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork

Block = Callable[[Sequence[int]], nn.Module]
"""Makes a block that takes and gives the features of all branches, from the branches' widths."""


def separable(inputs: int, outputs: int, stride: int = 1, act: bool = True) -> nn.Sequential:
    """A depthwise 3x3 and a 1x1, each with batch norm; the activation, if any, comes last."""
    return nn.Sequential(
        ConvNorm(inputs, inputs, 3, stride, groups=inputs),
        ConvNorm(inputs, outputs, 1, 1, nn.ReLU(inplace=True) if act else None),
    )


def link(widths: Sequence[int], source: int, target: int, grow_by: str) -> nn.Module:
    """From one branch to another: to a coarser one by halvings, to a finer one by a 1x1 convolution and growing."""
    here, there = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        grow = nn.Upsample(scale_factor=2 ** (source - target), mode=grow_by)
        return nn.Sequential(ConvNorm(here, there), grow)
    halvings = [separable(here, here, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, separable(here, there, 2, act=False))


class Fusion(nn.Module):
    """Every branch summed into every other, or into the `outputs` finest ones alone.

    Lite-HRNet's public code adds the finest branch's part twice, and in place; the paper's sum, once each, is what
    its printed 0.20G and 0.31G count (the doubled parts would make them 0.24G and 0.39G). Weights that were trained
    by that code need its sum: `doubled`; Dite-HRNet's code rectifies it in place as well: `rectified`. `grow_by` is
    how a coarser branch gets to a finer one's size: nearest, as Lite-HRNet has it, or bilinear as HRFormer.
    """

    def __init__(
        self,
        widths: Sequence[int],
        outputs: int | None = None,
        doubled: bool = False,
        grow_by: str = "nearest",
        rectified: bool = False,
    ):
        super().__init__()
        self.doubled = doubled
        self.rectified = rectified
        count = range(len(widths))
        self.targets = nn.ModuleList(
            nn.ModuleList(link(widths, s, t, grow_by) for s in count) for t in count[:outputs]
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs, outputs = list(xs), []
        for target, links in enumerate(self.targets.children()):
            total, *others = (link(x) for link, x in zip(links.children(), xs, strict=True))
            if self.doubled:
                total = 2 * total
            for other in others:
                total = total + other
            if self.doubled and target == 0:
                # in place: the coarser branches get the finest one's sum, not its input
                xs[0] = F.relu(total) if self.rectified else total
            outputs.append(F.relu(total))
        return outputs


def is_doubled(fusion: str) -> bool:
    if fusion not in ("doubled", "paper"):
        raise PoseError(f"model.fusion is doubled or paper, not {fusion!r}.")
    return fusion == "doubled"


class Transition(nn.Module):
    """The branches of the next stage: one more than before, half as fine."""

    def __init__(self, before: Sequence[int], after: Sequence[int]):
        super().__init__()
        kept = (
            nn.Identity() if b == a else separable(b, a)
            for b, a in zip(before, after[: len(before)], strict=True)
        )
        self.kept = nn.ModuleList(kept)
        self.new = separable(before[-1], after[-1], 2)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        return [
            *(keep(x) for keep, x in zip(self.kept.children(), xs, strict=True)),
            self.new(xs[-1]),
        ]


class IterativeHead(nn.Module):
    """From the coarsest branch up, each is added to the next finer one; gives the finest."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        narrower = [widths[0], *widths[:-1]]
        self.projects = nn.ModuleList(
            separable(w, n) for w, n in zip(widths, narrower, strict=True)
        )

    def forward(self, xs: list[Tensor]) -> Tensor:
        carried: Tensor | None = None
        for project, x in zip(reversed(list(self.projects.children())), reversed(xs), strict=True):
            if carried is not None:
                x = x + F.interpolate(
                    carried, size=x.shape[2:], mode="bilinear", align_corners=True
                )
            carried = project(x)
        assert carried is not None
        return carried


class Branches(PoseNetwork):
    """Stages of 2, 3 and 4 branches of `modules` fusions each, every one after two blocks, then the iterative head."""

    stride = 4
    natural_height = 256

    def __init__(
        self,
        joints: int,
        stem: nn.Module,
        stem_width: int,
        channels: int,
        modules: Sequence[int],
        block: Block,
        doubled: bool = False,
        rectified: bool = False,
    ):
        super().__init__()
        if len(modules) != 3 or min(modules) < 1:
            raise PoseError(
                f"model.modules takes three numbers of at least 1, not {list(modules)}."
            )
        self.joints = joints
        self.channels = channels
        self.stem = stem
        stages: list[nn.Module] = []
        before = [stem_width]
        for number in modules:
            widths = [channels * 2**i for i in range(len(before) + 1)]
            stages.append(Transition(before, widths))
            stages.extend(
                nn.Sequential(
                    block(widths),
                    block(widths),
                    Fusion(widths, doubled=doubled, rectified=rectified),
                )
                for _ in range(number)
            )
            before = widths
        self.stages = nn.Sequential(*stages)
        self.head = IterativeHead(before)
        self.heatmaps = nn.Conv2d(channels, joints, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_multiple(*images.shape[2:])
        return [self.heatmaps(self.head(self.stages([self.stem(images)])))]


def check_multiple(height: int, width: int, unit: int = 32, least: int = 64) -> None:
    if height % unit or width % unit or min(height, width) < least:
        raise PoseError(
            f"This network takes inputs whose height and width are multiples of {unit} and at least {least}, "
            f"not {height}x{width}; set data.input_size."
        )


class CrossResolutionWeighting(nn.Module):
    """One weight for each channel of every branch at each place of the coarsest, from all branches together."""

    def __init__(self, widths: Sequence[int], reduction: int = 8):
        super().__init__()
        total = sum(widths)
        self.widths = list(widths)
        # Lite-HRNet's block has batch norms here, HF-HRNet's too; both end in a sigmoid.
        self.reduce = ConvNorm(total, total // reduction, 1, 1, nn.ReLU(inplace=True))
        self.expand = ConvNorm(total // reduction, total, 1, 1, nn.Sigmoid())

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        last = len(xs) - 1
        pooled = [F.avg_pool2d(x, 2 ** (last - i)) if i < last else x for i, x in enumerate(xs)]
        weights = self.expand(self.reduce(torch.cat(pooled, 1))).split(self.widths, 1)
        return [
            x * F.interpolate(w, size=x.shape[2:], mode="nearest")
            for x, w in zip(xs, weights, strict=True)
        ]
