"""Distillation: a network learns from another one's heatmaps beside the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.training.compiling import Compiled, backend_of
from featherpose.training.losses import HeatmapLoss
from featherpose.zoo.checkpoint import load_checkpoint
from featherpose.zoo.weight_files import file_of, load_weights, sha256_of


class Teacher:
    """A frozen network that says its heatmaps of the student's crops.

    It is no module, and copies of what holds it share it: the student's checkpoint, optimiser and moving average know
    nothing of it.

    Args:
        network: gives a list of outputs, of which the last counts.
        skeleton: its joints.
        joints: the student's, by name.
        compiler: torch.compile's backend; None: the network as it is.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        joints: Sequence[str],
        compiler: str | None = None,
    ) -> None:
        common = [joint for joint in joints if joint in skeleton.joints]
        if not common:
            raise PoseError(
                f"The teacher's skeleton {skeleton.name} has none of the data's joints."
            )
        self.network = network.eval().requires_grad_(False)
        self.forward = Compiled(self.network, compiler) if compiler else self.network
        self.taught = torch.tensor([joint in common for joint in joints])  # (K,)
        # Where each of the student's joints stands in the teacher's heatmaps; anywhere, if it is not taught
        self.order = torch.tensor([skeleton.index(j) if j in common else 0 for j in joints])

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, h, w) of normalised crops, and each one's peak (B, K), 0 to 1: 0 where it is not taught."""
        if self.order.device != images.device or self._kind() != images.dtype:
            self.network.to(images)
            self.order = self.order.to(images.device)
            self.taught = self.taught.to(images.device)
        maps = self.forward(images)[-1].float()
        if tuple(maps.shape[2:]) != size:
            raise PoseError(
                f"The teacher's heatmaps are {maps.shape[2]}x{maps.shape[3]}, but the student's are "
                f"{size[0]}x{size[1]}: take a teacher with the same stride."
            )
        maps = maps[:, self.order]
        return maps, maps.amax(dim=(2, 3)).clamp(0, 1) * self.taught

    def _kind(self) -> torch.dtype:
        return next(self.network.parameters()).dtype


class DistilLoss:
    """The labels' loss, mixed with the same loss to a teacher's heatmaps, on every supervised output.

    Args:
        teacher: a run folder, a checkpoint, or a file of weights. It is read when training starts, so a checkpoint of
            the student needs no teacher.
        skeleton: the student's.
        labels: the loss of the labels; its equation and its weights of the outputs are the teacher's term's too.
        share: of the teacher's term, 0 to 1; the labels' has the rest.
        power: each joint's error is weighted by the teacher's confidence to this power.
        floor: confidences below it weigh 0.
        teacher_model: makes the network of a file that holds numbers alone.
        teacher_skeleton: and these are its joints.
        compile: the teacher too, as in `PoseModule`.
    """

    terms = ("labels", "teacher", "teacher_share")

    def __init__(
        self,
        teacher: str | Path | None,
        skeleton: str | Mapping[str, Any],
        labels: HeatmapLoss,
        share: float = 0.5,
        power: float = 1.0,
        floor: float = 0.0,
        teacher_model: Callable[[], nn.Module] | None = None,
        teacher_skeleton: str | Mapping[str, Any] = "coco",
        compile: bool | str = False,
    ) -> None:
        if not 0 <= share <= 1:
            raise PoseError(f"loss.share is the teacher's part of the loss, 0 to 1, not {share}.")
        self.source = teacher
        self.skeleton = skeleton_of(skeleton)
        self.labels = labels
        self.share = share
        self.power = power
        self.floor = floor
        self.teacher_model = teacher_model
        self.teacher_skeleton = teacher_skeleton
        self.compiler = backend_of(compile)
        self.teacher: Teacher | None = None

    def prepare(self) -> dict[str, str]:
        """Read the teacher; gives what a run's record keeps of it."""
        if self.source is None:
            raise PoseError("loss=distil needs a teacher: add loss.teacher=RUN or FILE.")
        network, skeleton = read_teacher(self.source, self.teacher_model, self.teacher_skeleton)
        self.teacher = Teacher(network, skeleton, self.skeleton.joints, self.compiler)
        return {"source": str(self.source), "sha256": sha256_of(file_of(self.source))}

    def __call__(
        self,
        outputs: Sequence[Tensor],
        joints: Tensor,
        visible: Tensor,
        stride: int,
        images: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The total and, detached, each output's loss; while it trains also both terms and the teacher's part.

        Without images, as in validation, it is the labels' loss alone.
        """
        labelled, each = self.labels(outputs, joints, visible, stride)
        if images is None:
            return labelled, each
        if self.teacher is None:
            self.prepare()
        assert self.teacher is not None
        height, width = outputs[-1].shape[2:]
        target, peaks = self.teacher(images, (height, width))
        weight = torch.where(peaks >= self.floor, peaks.pow(self.power), 0.0)
        weight = weight * self.teacher.taught
        taught = torch.stack([self.labels.single(o.float(), target, weight) for o in outputs])
        first, second = (1 - self.share) * labelled, self.share * self.labels.combine(taught)
        total = first + second
        each = (1 - self.share) * each + self.share * taught.detach()
        parts = torch.stack([first, second, second / total.clamp(min=1e-12)]).detach()
        return total, torch.cat([each, parts])


def read_teacher(
    source: str | Path,
    model: Callable[[], nn.Module] | None,
    skeleton: str | Mapping[str, Any],
) -> tuple[nn.Module, Skeleton]:
    """A teacher and its joints: a checkpoint says both, a file of numbers needs to be told."""
    path = file_of(source)
    if path.suffix == ".ckpt":
        saved = load_checkpoint(path)
        return saved.network(), saved.skeleton
    if model is None:
        raise PoseError(
            f"{path} holds numbers only: say which network they are of with loss.teacher_model."
        )
    network = model()
    load_weights(network, path)
    return network, skeleton_of(skeleton)
