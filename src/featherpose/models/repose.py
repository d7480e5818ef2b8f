"""RePose: features of single keypoints, updated along the body's kinematics at a coarse size, then refined.

No public code is known; where the text leaves a choice, the reading is the one that gives the published sizes
(docs/networks.md). Initialisation and batch norm are not stated either: Glorot uniform with zero biases, the default
of the framework whose way of counting the paper's sizes follow, and update weights of 1 (a plain residual). Batch norm
keeps torch's momentum 0.1, with which running statistics are of use after tens of steps and not hundreds.
A block is convolution, ReLU, batch norm: maps that end in ReLU start half active, as their inputs are normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.kinematics import KinematicGraph, graph_of, skeleton_for
from featherpose.models.network import PoseNetwork
from featherpose.skeletons import skeleton_of

WIDTH = 64  # of the shared features
FEATURES = 32  # of one keypoint


class Block(nn.Sequential):
    """Convolution with bias, ReLU and, but for heatmaps, batch norm; `sets` are keypoints kept apart by grouping."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        sets: int = 1,
        norm: bool = True,
    ):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=sets)
        bound = sqrt(6 / ((inputs + outputs) // sets * kernel**2))
        nn.init.uniform_(conv.weight, -bound, bound)
        nn.init.zeros_(conv.bias if conv.bias is not None else conv.weight)
        # In place is safe: neither the convolution's backward nor ReLU's needs what stood there before.
        super().__init__(conv, nn.ReLU(inplace=True), *([nn.BatchNorm2d(outputs)] if norm else []))


def blocks(inputs: int, outputs: int, number: int = 4, sets: int = 1) -> nn.Sequential:
    """The paper's (3, 1, outputs) repeated."""
    return nn.Sequential(
        *(Block(inputs if i == 0 else outputs, outputs, sets=sets) for i in range(number))
    )


class KeypointHeatmaps(nn.Module):
    """One heatmap from each keypoint's features, and the features that gave them."""

    def __init__(self, joints: int):
        super().__init__()
        self.features = blocks(FEATURES * joints, FEATURES * joints, sets=joints)
        self.heatmaps = Block(FEATURES * joints, joints, sets=joints, norm=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return features, self.heatmaps(features)


class KeypointUpdate(nn.Module):
    """New features of one keypoint from its own and its neighbours'."""

    def __init__(self, neighbours: int, number: int, how: str):
        super().__init__()
        self.project = Block(FEATURES * (1 + neighbours), FEATURES, 1)
        self.blocks = blocks(FEATURES, FEATURES, number)
        self.weight = nn.Parameter(torch.ones(())) if how == "trainable" else None
        self.replace = how == "replace"

    def forward(self, own: Tensor, neighbours: list[Tensor]) -> Tensor:
        new = self.blocks(self.project(torch.cat([own, *neighbours], 1)))
        if self.replace:
            return new
        return own + (new if self.weight is None else self.weight.to(new.dtype) * new)

    def own_operations(self, output: Tensor) -> int:
        """Equation 2's multiplication and addition, for `models.count`."""
        return 0 if self.replace else output.numel() * (1 if self.weight is None else 2)


class KinematicUpdates(nn.Module):
    """Every keypoint in turn, in the graph's order and then backwards; the passes share no weights."""

    def __init__(self, graph: KinematicGraph, number: int, how: str):
        super().__init__()
        self.graph = graph
        self.passes = nn.ModuleList(
            nn.ModuleList(KeypointUpdate(len(graph.neighbours(k)), number, how) for k in order)
            for order in (graph.order, graph.order[::-1])
        )

    def forward(self, x: Tensor) -> Tensor:
        features = list(x.chunk(len(self.graph.order), 1))
        for updates, order in zip(
            self.passes, (self.graph.order, self.graph.order[::-1]), strict=True
        ):
            for update, k in zip(updates.children(), order, strict=True):
                features[k] = update(features[k], [features[j] for j in self.graph.neighbours(k)])
        return torch.cat(features, 1)


def sequential_updates(joints: int, as_large_as: int) -> nn.Sequential:
    """The paper's control: plain blocks one after another with about the same number of parameters.

    All keypoints' features pass through 64 shared channels; their number of blocks is what comes nearest.
    """
    ends = [Block(FEATURES * joints, WIDTH, 1), Block(WIDTH, FEATURES * joints, 1)]
    room = as_large_as - sum(parameters(end) for end in ends)
    return nn.Sequential(
        ends[0],
        blocks(WIDTH, WIDTH, max(1, round(room / parameters(Block(WIDTH, WIDTH))))),
        ends[1],
    )


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class Refinement(nn.Module):
    """One doubling: what comes from below, what the encoder kept of this size, and heatmaps."""

    def __init__(self, joints: int):
        super().__init__()
        self.project = Block(2 * WIDTH, WIDTH, 1)
        self.features = blocks(WIDTH, WIDTH)
        self.heatmaps = Block(WIDTH, joints, norm=False)

    def forward(self, x: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(self.project(torch.cat((resize(x, skip), skip), 1)))
        return features, self.heatmaps(features)


def resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class Stage(nn.Module):
    """One RePose; a later stage also reads the features of the stage before it, at every size, and its heatmaps."""

    def __init__(
        self,
        graph: KinematicGraph,
        levels: int,
        number: int,
        how: str,
        updates: str,
        heatmaps: str,
        first: bool,
        handover: bool = False,
    ):
        super().__init__()
        joints = len(graph.order)
        before = 0 if first else WIDTH
        self.handover = Block(WIDTH, WIDTH, 1) if handover and not first else None
        self.start = blocks(3 if first else WIDTH + joints, WIDTH)
        self.down = nn.ModuleList(Block(WIDTH + before, WIDTH, 5, 2) for _ in range(levels))
        self.decouple = nn.Sequential(
            Block(WIDTH, FEATURES * joints, 1),
            blocks(FEATURES * joints, FEATURES * joints, sets=joints),
        )
        self.before = KeypointHeatmaps(joints)
        self.update: nn.Module = KinematicUpdates(graph, number, how)
        if updates == "sequential":
            self.update = sequential_updates(joints, parameters(self.update))
        self.after = KeypointHeatmaps(joints) if heatmaps == "independent" else None
        self.merge = blocks(FEATURES * joints, WIDTH)
        self.joint = Block(WIDTH, joints, norm=False) if heatmaps == "joint" else None
        self.up = nn.ModuleList(Refinement(joints) for _ in range(levels))

    def forward(self, x: Tensor, earlier: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Heatmaps from the first to the last, and features from the finest size to that of the updates."""
        skips = [self.start(x)]
        for i, down in enumerate(self.down):
            skips.append(down(torch.cat((skips[-1], earlier[i]), 1) if earlier else skips[-1]))
        coarsest = skips.pop()
        if self.handover is not None:
            coarsest = coarsest + self.handover(earlier[-1])
        features = self.decouple(coarsest)
        heatmaps = [self.before(features)[1]]
        features = self.update(features)
        if self.after is not None:
            features, maps = self.after(features)
            heatmaps.append(maps)
        x = self.merge(features)
        if self.joint is not None:
            heatmaps.append(self.joint(x))
        refined: list[Tensor] = [x]
        for up in self.up:
            x, maps = up(x, skips.pop())
            heatmaps.append(maps)
            refined.insert(0, x)
        return heatmaps, refined


class RePose(PoseNetwork):
    """Five sets of heatmaps a stage, all at the input's size: before and after the updates, then each refinement."""

    stride = 1
    natural_height = 128

    def __init__(
        self,
        joints: int,
        stages: int = 1,
        levels: int = 3,
        update_blocks: int = 4,
        update: str = "trainable",
        updates: str = "kinematic",
        order: str = "hips_first",
        heatmaps: str = "independent",
        handover: str = "plain",
        skeleton: str | Mapping | None = None,
    ):
        super().__init__()
        for key, value, known in (
            ("update", update, ("trainable", "add", "replace")),
            ("updates", updates, ("kinematic", "sequential")),
            ("heatmaps", heatmaps, ("independent", "joint")),
            ("handover", handover, ("plain", "block")),
        ):
            if value not in known:
                raise PoseError(f"model.{key} is one of {', '.join(known)}, not {value!r}.")
        body = skeleton_for(joints) if skeleton is None else skeleton_of(skeleton)
        if len(body) != joints:
            raise PoseError(f"model.skeleton has {len(body)} joints, but model.joints is {joints}.")
        self.joints = joints
        self.levels = levels
        self.graph = graph_of(body, order)
        self.stages = nn.ModuleList(
            Stage(
                self.graph,
                levels,
                update_blocks,
                update,
                updates,
                heatmaps,
                i == 0,
                handover == "block",
            )
            for i in range(stages)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        self.check(*images.shape[2:])
        outputs: list[Tensor] = []
        x, features = images, []
        for stage in self.stages:
            heatmaps, features = stage(x, features)
            outputs += [resize(maps, images) for maps in heatmaps]
            x = torch.cat((features[0], heatmaps[-1]), 1)
        return outputs

    def output_names(self, count: int) -> list[str]:
        """As the paper's Fig. 1 has them: before the updates, after them, and refined until the final ones."""
        names = ["before the updates", "after the updates"]
        names += [f"refined {i}" for i in range(1, self.levels)] + ["final"]
        if len(self.stages) == 1:
            return names
        return [f"stage {i}, {name}" for i in range(1, len(self.stages) + 1) for name in names]

    def check(self, height: int, width: int) -> None:
        unit = 2**self.levels
        if height % unit or width % unit or min(height, width) < 2 * unit:
            raise PoseError(
                f"RePose with {self.levels} levels takes inputs whose height and width are multiples of {unit} and at "
                f"least {2 * unit}, not {height}x{width}; set data.input_size."
            )
