"""Who teaches: a network in torch or an exported file, brought to the student's joints and to its heatmaps' grid.

What is known of a person in one frame is brought into another one by one matrix: from a teacher's crop into the
student's, where their sizes differ, and from a plain crop that is kept on disk into an augmented one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.heatmaps import encode
from featherpose.inference.backends import SUFFIXES, FileBackend
from featherpose.inference.outputs import Heatmaps
from featherpose.pixels import DEVIATION, MEAN
from featherpose.settings import choice
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.training.compiling import Compiled
from featherpose.zoo.checkpoint import load_checkpoint
from featherpose.zoo.weight_files import file_of, load_weights

RUNTIMES = ("onnxruntime", "openvino", "torch")
SIGMA, STRIDE = 2.0, 4  # of the heatmaps that are drawn for teachers who give vectors


class NetworkAnswers:
    """What a network in torch says of normalised images: its last output's heatmaps, on the images' device."""

    def __init__(self, network: nn.Module, compiler: str | None = None) -> None:
        self.network = network.eval().requires_grad_(False)
        self.forward = Compiled(self.network, compiler) if compiler else self.network

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        weight = next(self.network.parameters())
        if weight.device != images.device or weight.dtype != images.dtype:
            self.network.to(images)
        outputs = self.forward(images)
        if outputs[-1].ndim == 4:
            return outputs[-1].float()
        x, y = outputs
        return drawn(x.argmax(-1), y.argmax(-1), torch.minimum(x.amax(-1), y.amax(-1)), x, images)


class FileAnswers:
    """What an exported file says of normalised images. It runs on the CPU, wherever the student learns."""

    def __init__(self, backend: FileBackend) -> None:
        self.backend = backend

    def __call__(self, images: Tensor) -> Tensor:
        output = self.backend(pixels(images).cpu().numpy())[-1]
        if isinstance(output, Heatmaps):
            return torch.from_numpy(output.values).float().to(images.device)
        x, y = torch.from_numpy(output.x), torch.from_numpy(output.y)
        sure = torch.minimum(x.amax(-1), y.amax(-1))
        return drawn(x.argmax(-1), y.argmax(-1), sure, x, images).to(images.device)


def drawn(x: Tensor, y: Tensor, sure: Tensor, vectors: Tensor, images: Tensor) -> Tensor:
    """Gaussians at the places (B, K) that two vectors a joint are highest at, as high as the teacher is sure."""
    height, width = images.shape[2:]
    bins = vectors.shape[-1] / width
    points = torch.stack([x, y], dim=-1) / bins / STRIDE
    size = height // STRIDE, width // STRIDE
    maps, _ = encode(points, torch.ones_like(sure), size, SIGMA, quantised=False, truncate=None)
    return maps * sure.clamp(0, 1)[..., None, None]


def pixels(images: Tensor) -> Tensor:
    """Normalised images back as the uint8 crops that they were."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=images.device).view(1, 3, 1, 1)
    return ((images.float() * deviation + mean) * 255).round_().clamp_(0, 255).byte()


class Teacher:
    """Heatmaps of the student's joints on the student's grid, from somebody who sees the same crops.

    It is no module, and copies of what holds it share it: the student's checkpoint, optimiser and moving average know
    nothing of it.

    Args:
        answers: heatmaps (B, Kt, h, w) of normalised images, or a network that gives a list of them.
        skeleton: its joints.
        joints: the student's, by name.
        input_size: height and width that it sees; crops of another size are warped. None: any, as they are.
        compiler: torch.compile's backend for a network; None: the network as it is.
        seen: the pixels' mean and deviation that it takes, where these are not everybody's.
    """

    def __init__(
        self,
        answers: Callable[[Tensor], Tensor] | nn.Module,
        skeleton: Skeleton,
        joints: Sequence[str],
        input_size: tuple[int, int] | None = None,
        compiler: str | None = None,
        seen: tuple[tuple[float, ...], ...] = (MEAN, DEVIATION),
    ) -> None:
        common = [joint for joint in joints if joint in skeleton.joints]
        if not common:
            raise PoseError(
                f"The teacher's skeleton {skeleton.name} has none of the data's joints."
            )
        if isinstance(answers, nn.Module):
            answers = NetworkAnswers(answers, compiler)
        self.answers = answers
        self.input_size = input_size
        self.seen = seen
        self.taught = torch.tensor([joint in common for joint in joints])  # (K,)
        # Where each of the student's joints stands in the teacher's heatmaps; anywhere, if it is not taught
        self.order = torch.tensor([skeleton.index(j) if j in common else 0 for j in joints])

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    def __call__(self, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, h, w) of normalised crops, and each one's peak (B, K), 0 to 1: 0 where it is not taught."""
        own = self.input_size or tuple(images.shape[2:])
        fitted = frame(tuple(images.shape[2:]), own)
        seen = images
        if own != tuple(images.shape[2:]):
            seen = warp_pictures(images, fitted, own)
        maps, step = self.say(seen)
        peaks = maps.amax(dim=(2, 3)).clamp(0, 1) * self.taught.to(maps.device)
        if own == tuple(images.shape[2:]) and tuple(maps.shape[2:]) == size:
            return maps, peaks
        # from the student's heatmaps to its crop, to the teacher's crop, to the teacher's heatmaps
        matrix = scaled(inverse(fitted), into=1 / step, before=images.shape[2] / size[0])
        return warp(maps, matrix, size), peaks

    def say(self, images: Tensor) -> tuple[Tensor, float]:
        """Its heatmaps (B, K, h, w) of images of its own size, in the student's joints, and their stride."""
        maps = self.answers(images)
        down, across = images.shape[2] / maps.shape[2], images.shape[3] / maps.shape[3]
        if down != across:
            raise PoseError(
                f"The teacher makes heatmaps of {maps.shape[2]}x{maps.shape[3]} from crops of "
                f"{images.shape[2]}x{images.shape[3]}: they are not of one stride, so they fit no other grid."
            )
        return maps[:, self.order.to(maps.device)], down


def frame(student: tuple[int, ...], teacher: tuple[int, ...]) -> Tensor:
    """(2, 3) from the teacher's crop pixels to the student's: as large as fits, in the middle, in the same ratio."""
    zoom = min(teacher[0] / student[0], teacher[1] / student[1])
    across, down = (teacher[1] - zoom * student[1]) / 2, (teacher[0] - zoom * student[0]) / 2
    rows = [[1 / zoom, 0.0, -across / zoom], [0.0, 1 / zoom, -down / zoom]]
    return torch.tensor(rows, dtype=torch.float64)


def inverse(matrix: Tensor) -> Tensor:
    """Of (..., 2, 3)."""
    back = torch.linalg.inv(matrix[..., :2])
    return torch.cat([back, -(back @ matrix[..., 2:])], dim=-1)


def chained(after: Tensor, before: Tensor) -> Tensor:
    """The (..., 2, 3) matrix of one after the other."""
    linear = after[..., :2] @ before[..., :2]
    return torch.cat([linear, after[..., :2] @ before[..., 2:] + after[..., 2:]], dim=-1)


def scaled(matrix: Tensor, into: float, before: float) -> Tensor:
    """Between other pixels on both sides: of points that are `before` times as large, and afterwards `into` times."""
    return torch.cat([matrix[..., :2] * before, matrix[..., 2:]], dim=-1) * into


def warp(values: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, *size): each pixel is what `values` (B, C, h, w) have where the matrix (..., 2, 3) leads; 0 outside.

    Bilinear, and an integer is a pixel's centre, as in `featherpose.crop`.
    """
    height, width = values.shape[2:]
    y, x = (torch.arange(side, dtype=torch.float64, device=values.device) for side in size)
    here = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)  # (h, w, 2)
    matrix = matrix.to(values.device).expand(len(values), 2, 3)
    there = here @ matrix[:, None, :, :2].mT + matrix[:, None, None, :, 2]
    # grid_sample counts from -1 to 1 between the outer pixels' outer edges
    sides = torch.tensor([width, height], dtype=torch.float64, device=values.device)
    grid = ((2 * there + 1) / sides - 1).to(values.dtype)
    return F.grid_sample(values, grid, padding_mode="zeros", align_corners=False)


def warp_pictures(images: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
    """Normalised images warped, with black outside."""
    mean, deviation = (torch.tensor(each, device=images.device) for each in (MEAN, DEVIATION))
    black = (-mean / deviation).view(1, 3, 1, 1).to(images.dtype)
    return warp(images - black, matrix, size) + black


def read_teacher(
    source: str | Path,
    joints: Sequence[str],
    model: Callable[[], nn.Module] | None = None,
    skeleton: str | Mapping[str, Any] = "coco",
    runtime: str | None = None,
    compiler: str | None = None,
) -> Teacher:
    """A teacher of these joints.

    A checkpoint and an exported file of ours say what they are; another exported file needs its `skeleton` where no
    FILE.json beside it has one, a file of numbers its `model` as well.

    Args:
        runtime: of an exported file; `torch` reads its numbers into `model`, which then runs wherever the student does.
    """
    path = file_of(source)
    if runtime is not None:
        choice("loss.runtime", runtime, RUNTIMES)
    if path.suffix.lower() in SUFFIXES and runtime != "torch":
        backend = FileBackend(path, runtime or "onnxruntime", skeleton=skeleton_of(skeleton))
        said = backend.description
        pixels_of = (said.mean, said.deviation)
        return Teacher(FileAnswers(backend), said.skeleton, joints, said.input_size, seen=pixels_of)
    if path.suffix == ".ckpt":
        saved = load_checkpoint(path)
        return Teacher(saved.network(), saved.skeleton, joints, saved.input_size, compiler)
    if model is None:
        raise PoseError(
            f"{path} holds numbers only: say which network they are of with loss.teacher_model."
        )
    network = model()
    load_weights(network, path)
    size = getattr(network, "input_size", None)
    return Teacher(network, skeleton_of(skeleton), joints, size, compiler)
