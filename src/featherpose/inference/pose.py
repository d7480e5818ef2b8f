"""Poses in one line: `Pose("best.ckpt")("picture.jpg")`."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featherpose import crop
from featherpose.data.dataset import planes
from featherpose.draw import draw_pose
from featherpose.errors import PoseError
from featherpose.evaluation.network import from_checkpoint, from_weights
from featherpose.heatmaps import decode, flip_back
from featherpose.image import read
from featherpose.inference.backends import OnnxRuntime, OpenVINO, numbers
from featherpose.inference.boxes import whole_picture
from featherpose.inference.description import Description
from featherpose.inference.streams import Frame
from featherpose.protocol import Protocol
from featherpose.training.module import PoseModule

CLEAR = (
    0.2  # joints below this confidence do not count for a person's score, as in HRNet's rescoring
)


@dataclass(frozen=True)
class FoundPose:
    """One person's pose in picture pixels from 0."""

    keypoints: np.ndarray  # (K, 2)
    confidence: np.ndarray  # (K,) the heatmaps' peaks, about 0 to 1
    box: np.ndarray  # (4,) x, y, width, height: where it was looked for
    score: float  # mean confidence of the clear joints, times the box's own score
    identity: int | None = None  # the same number for the same person throughout a video


class Estimator(typing.Protocol):
    """What gives keypoints (B, K, 2) in crop pixels and confidences (B, K) of uint8 crops (B, 3, H, W)."""

    description: Description

    def __call__(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray]: ...


class TorchEstimator:
    """A checkpoint's network, by its own protocol."""

    def __init__(
        self, module: PoseModule, device: str = "auto", protocol: Protocol | None = None
    ) -> None:
        self.device = (
            device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        )
        self.module = module.eval().to(self.device)
        self.module.protocol = protocol or module.protocol
        self.description = Description(
            module.skeleton, module.input_size, module.stride, self.module.protocol
        )

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray]:
        heatmaps = self.module.predict_heatmaps(crops.to(self.device))[-1]
        points, confidence = decode(heatmaps.float(), self.module.protocol.decoder)
        return (points * self.module.stride).cpu().numpy(), confidence.cpu().numpy()


class FileEstimator:
    """An exported file, in ONNX Runtime or OpenVINO."""

    def __init__(self, runtime: OnnxRuntime | OpenVINO, protocol: Protocol | None = None) -> None:
        self.runtime, self.description = runtime, runtime.description
        self.protocol = protocol or self.description.protocol
        inside = self.description.decoder_inside
        self.decodes = inside is not None and inside == self.protocol.decoder and not self._flips()

    def _flips(self) -> bool:
        return self.protocol.flip and not self.description.flip_inside

    def __call__(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray]:
        found = self._run(crops)
        if self.decodes:
            return found["keypoints"], found["confidence"]
        heatmaps = torch.from_numpy(found["heatmaps"])
        if self._flips():
            mirrored = torch.from_numpy(self._run(crops.flip(3))["heatmaps"])
            order = self.description.skeleton.flip_order
            heatmaps = (
                heatmaps + flip_back(mirrored, order, self.protocol.shifts(self.description.stride))
            ) / 2
        points, confidence = decode(heatmaps, self.protocol.decoder)
        return (points * self.description.stride).numpy(), confidence.numpy()

    def _run(self, crops: Tensor) -> dict[str, np.ndarray]:
        images = numbers(crops, self.description)
        size = self.runtime.batch
        if size is None or size == len(images):
            return self.runtime.run(images)
        missing = -len(images) % size  # a file of a fixed batch: fill the last one up
        filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = [self.runtime.run(part) for part in np.split(filled, len(filled) // size)]
        return {
            name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]
        }


class Pose:
    """A network ready to be called with pictures.

    Args:
        source: a checkpoint, a run folder (its best checkpoint), an exported .onnx or .xml file, or a PoseModule.
        device: `auto`, `cpu` or `cuda`, for checkpoints.
        runtime: `onnxruntime` or `openvino`, for .onnx files.
        threads: of those; 0 for one per core.
        protocol: replaces single entries of the source's own, e.g. `{"flip": True, "decoder": "dark"}`.
        batch_size: so many people at a time at most.
    """

    def __init__(
        self,
        source: str | Path | PoseModule,
        device: str = "auto",
        runtime: str = "onnxruntime",
        threads: int = 0,
        protocol: Mapping[str, Any] | None = None,
        batch_size: int = 32,
    ) -> None:
        self.estimator = _open(source, device, runtime, threads, protocol)
        self.description = self.estimator.description
        self.skeleton = self.description.skeleton
        self.batch_size = batch_size

    @classmethod
    def from_weights(
        cls,
        path: str | Path,
        model: Mapping[str, Any],
        data: Mapping[str, Any],
        protocol: Mapping[str, Any],
        **how: Any,
    ) -> Pose:
        """Published weights hold numbers only: the config says which network, skeleton and input size they are of."""
        return cls(module_of_weights(path, model, data, protocol), **how)

    def __call__(
        self, picture: str | Path | np.ndarray, boxes: Sequence | np.ndarray | None = None
    ) -> list[FoundPose]:
        """Poses of the people in `boxes` (N, 4: x, y, width, height), or of one person who fills the picture."""
        image = read(picture, obey_exif=True) if isinstance(picture, (str, Path)) else picture
        if not (
            isinstance(image, np.ndarray)
            and image.dtype == np.uint8
            and image.ndim == 3
            and image.shape[2] == 3
        ):
            raise PoseError("A picture is a file's name or a uint8 RGB array (height, width, 3).")
        if boxes is None:
            found, scores = whole_picture(Frame("", 0, image))
        else:
            found = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
            scores = np.ones(len(found))
        return self.many([(image, found, scores)])[0]

    def many(
        self, work: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> list[list[FoundPose]]:
        """Poses in several pictures (picture, boxes, the boxes' scores), all their people in common batches."""
        size_wh = (self.description.input_size[1], self.description.input_size[0])
        matrices, crops = [], []
        for picture, boxes, _ in work:
            for box in boxes:
                matrix = crop.crop_matrix(*crop.centre_and_scale(box), size_wh)
                matrices.append(matrix)
                crops.append(torch.from_numpy(planes(crop.cut(picture, matrix, size_wh))))
        starts = range(0, len(crops), self.batch_size)
        parts = [
            self.estimator(torch.stack(crops[start : start + self.batch_size])) for start in starts
        ]
        points = [each for part, _ in parts for each in part]
        confidence = [each for _, part in parts for each in part]
        number, found = 0, []
        for _, boxes, scores in work:
            people = []
            for box, score in zip(boxes, scores, strict=True):
                keypoints = crop.apply(crop.invert(matrices[number]), points[number])
                people.append(_found(keypoints, confidence[number], box, float(score)))
                number += 1
            found.append(people)
        return found

    def draw(
        self, picture: np.ndarray, people: Sequence[FoundPose], threshold: float = CLEAR
    ) -> np.ndarray:
        """The picture with the poses on it, without the joints whose confidence is below the threshold."""
        for person in people:
            picture = draw_pose(
                picture, person.keypoints, 2 * (person.confidence >= threshold), self.skeleton
            )
        return picture


def module_of_weights(
    path: str | Path, model: Mapping[str, Any], data: Mapping[str, Any], protocol: Mapping[str, Any]
) -> PoseModule:
    """A network of the config with weights from a file; where `data` leaves the input size open, its natural one."""
    module = from_weights(path, {"model": model, "data": data, "protocol": protocol})
    if data.get("input_size") is None:
        height = int(module.network.natural_height)  # ty: ignore[invalid-argument-type]
        module.config["data"] = {
            **data,
            "input_size": [height, round(height * data.get("aspect", 1.0))],
        }
    return module


def _found(
    keypoints: np.ndarray, confidence: np.ndarray, box: np.ndarray, score: float
) -> FoundPose:
    clear = confidence[confidence > CLEAR]
    confidence = confidence.astype(np.float64)
    return FoundPose(
        keypoints, confidence, np.asarray(box), score * float(clear.mean() if len(clear) else 0.0)
    )


def _open(
    source: str | Path | PoseModule,
    device: str,
    runtime: str,
    threads: int,
    protocol: Mapping[str, Any] | None,
) -> Estimator:
    if runtime not in ("onnxruntime", "openvino"):
        raise PoseError(f"There is no runtime={runtime}; known: onnxruntime, openvino.")
    suffix = "" if isinstance(source, PoseModule) else Path(source).suffix.lower()
    if suffix in (".onnx", ".xml"):
        kind = OpenVINO if suffix == ".xml" or runtime == "openvino" else OnnxRuntime
        opened = kind(source, threads)  # ty: ignore[invalid-argument-type]
        return FileEstimator(opened, opened.description.protocol.with_changes(protocol or {}))
    module = source if isinstance(source, PoseModule) else from_checkpoint(source)[0]
    return TorchEstimator(module, device, module.protocol.with_changes(protocol or {}))
