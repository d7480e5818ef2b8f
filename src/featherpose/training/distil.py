"""Distillation: a network learns from another one's heatmaps beside the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.settings import number, switch
from featherpose.skeletons import skeleton_of
from featherpose.training.compiling import backend_of
from featherpose.training.losses import HeatmapLoss, Losses, Outputs
from featherpose.training.simcc import SimCCLoss
from featherpose.training.taught_once import TaughtOnce, taught_once
from featherpose.training.teachers import Teacher, read_teacher
from featherpose.zoo.weight_files import file_of, sha256_of

if TYPE_CHECKING:
    from featherpose.data.datamodule import PoseDataModule


class DistilLoss:
    """The labels' loss, mixed with the same loss to a teacher's heatmaps, on every supervised output.

    Args:
        teacher: a run folder, a checkpoint, an exported file (.onnx, .tflite, .ncnn.param, OpenVINO's .xml), a file of
            weights, or a name of the zoo. It is read when training starts, so a checkpoint of the student needs no
            teacher.
        skeleton: the student's.
        labels: the loss of the labels; its equation and its weights of the outputs are the teacher's term's too.
        share: of the teacher's term, 0 to 1; the labels' has the rest.
        power: each joint's error is weighted by the teacher's confidence to this power.
        floor: confidences below it weigh 0.
        cache: ask the teacher once, of plain crops, and keep its heatmaps on disk; else of every crop as it is fed.
        teacher_model: makes the network of a file that holds numbers alone.
        teacher_skeleton: the joints of a file that does not say them, nor a FILE.json beside it.
        runtime: of an exported file: `onnxruntime`, `openvino`, or `torch` for its numbers in `teacher_model`.
        compile: the teacher too, as in `PoseModule`.
    """

    terms = ("labels", "teacher", "teacher_share")
    sees_crops = True  # while it trains it is given the images and the batch that they are of

    def __init__(
        self,
        teacher: str | Path | None,
        skeleton: str | Mapping[str, Any],
        labels: HeatmapLoss | SimCCLoss,
        share: float = 0.5,
        power: float = 1.0,
        floor: float = 0.0,
        cache: bool = False,
        teacher_model: Callable[[], nn.Module] | None = None,
        teacher_skeleton: str | Mapping[str, Any] = "coco",
        runtime: str | None = None,
        compile: bool | str = False,
    ) -> None:
        if not 0 <= share <= 1:
            raise PoseError(f"loss.share is the teacher's part of the loss, 0 to 1, not {share}.")
        self.source = teacher
        self.skeleton = skeleton_of(skeleton)
        self.labels = labels
        self.share = share
        self.power = number("loss.power", power, least=0)
        self.floor = number("loss.floor", floor, least=0)
        self.cache = switch("loss.cache", cache)
        self.teacher_model = teacher_model
        self.teacher_skeleton = teacher_skeleton
        self.runtime = runtime
        self.compiler = backend_of(compile)
        self.teacher: Teacher | None = None
        self.kept: TaughtOnce | None = None

    def prepare(self, data: PoseDataModule | None = None) -> dict[str, str]:
        """Read the teacher, and with `cache` ask it about all training people; gives what a run's record keeps."""
        if self.source is None:
            raise PoseError("loss=distil needs a teacher: add loss.teacher=RUN or FILE.")
        self.teacher = read_teacher(
            self.source,
            self.skeleton.joints,
            self.teacher_model,
            self.teacher_skeleton,
            self.runtime,
            self.compiler,
        )
        facts = {"source": str(self.source), "sha256": sha256_of(file_of(self.source))}
        if self.cache and data is not None:
            self.kept = taught_once(self.teacher, facts["sha256"], data)
            facts["cache"] = str(self.kept.path)
        return facts

    def __call__(
        self,
        outputs: Outputs,
        joints: Tensor,
        visible: Tensor,
        stride: int,
        images: Tensor | None = None,
        batch: Mapping[str, Tensor] | None = None,
    ) -> Losses:
        """The total and, detached, each output's loss; while it trains also both terms and the teacher's part.

        Without images, as in validation, it is the labels' loss alone.
        """
        labelled, each = self.labels(outputs, joints, visible, stride)
        if images is None:
            return labelled, each
        maps, peaks = self.ask(images, batch, stride)
        weight = torch.where(peaks >= self.floor, peaks.pow(self.power), 0.0) * (peaks > 0)
        taught = self.labels.taught(outputs, maps, weight, stride)
        first, second = (1 - self.share) * labelled, self.share * self.labels.combine(taught)
        total = first + second
        each = (1 - self.share) * each + self.share * taught.detach()
        parts = torch.stack([first, second, second / total.clamp(min=1e-12)]).detach()
        return total, torch.cat([each, parts])

    @torch.no_grad()
    def ask(
        self, images: Tensor, batch: Mapping[str, Tensor] | None, stride: int
    ) -> tuple[Tensor, Tensor]:
        """The teacher's heatmaps (B, K, h, w) of these crops on the student's grid, and their peaks (B, K)."""
        if self.teacher is None:
            self.prepare()
        assert self.teacher is not None
        size = images.shape[2] // stride, images.shape[3] // stride
        if self.kept is not None and batch is not None:
            return self.kept(batch["index"], batch["matrix"], size, stride)
        return self.teacher(images, size)
