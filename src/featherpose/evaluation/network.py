"""Networks over a dataset: from a checkpoint, from bare weights or from an ONNX file to everybody's keypoints."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.evaluation.predictions import Predictions
from featherpose.heatmaps import decode, flip_back, to_picture
from featherpose.inference.description import KEY, Description
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton
from featherpose.training.module import PoseModule
from featherpose.zoo.files import load_weights

DECIMALS = 3  # of coordinates in pixels: what is written is what is scored


class Network(typing.Protocol):
    """What can be scored: heatmaps of crops, and keypoints of heatmaps."""

    stride: int

    def predict_heatmaps(self, images: Tensor) -> list[Tensor]: ...

    def decode(self, outputs: list[Tensor], matrix: Tensor) -> tuple[Tensor, Tensor]: ...


def predict(
    network: Network, batches: Iterable[Mapping[str, Tensor]], device: str, quiet: bool = False
) -> Predictions:
    """Everybody's keypoints of every output. Only coordinates are kept, so memory does not grow with the pictures."""
    index, keypoints, confidence = [], [], []
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with torch.inference_mode(), Progress(*columns, transient=True, disable=quiet) as progress:
        for batch in progress.track(batches):
            outputs = network.predict_heatmaps(batch["image"].to(device, non_blocking=True))
            points, peaks = network.decode(outputs, batch["matrix"].to(device))
            index.append(batch["index"].numpy())
            keypoints.append(points.cpu().numpy())
            confidence.append(peaks.float().cpu().numpy())
    if not index:
        raise PoseError("There is nobody to predict on.")
    points = np.concatenate(keypoints, axis=1).astype(np.float64).round(DECIMALS)
    if not np.isfinite(points).all():
        raise PoseError(
            "The network gives NaN or infinite keypoints: its weights are damaged or do not fit."
        )
    return Predictions(
        np.concatenate(index), points, np.concatenate(confidence, axis=1).astype(np.float64)
    )


def from_checkpoint(path: str | Path) -> tuple[PoseModule, Path]:
    """The network of a checkpoint file, or of a run folder's best checkpoint."""
    path = Path(path)
    if path.is_dir():
        found = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
        existing = [each for each in found if each.is_file()]
        if not existing:
            raise PoseError(f"{path} has no checkpoints/best.ckpt: has this run finished an epoch?")
        path = existing[0]
    return PoseModule.from_checkpoint(path), path


def from_weights(path: str | Path, config: dict[str, Any]) -> PoseModule:
    """A network of the config's `model` with weights from a file."""
    loss = {
        "_target_": "featherpose.training.losses.HeatmapLoss"
    }  # a module has one; it is not used here
    module = PoseModule({**config, "loss": loss})
    load_weights(module.network, path)
    return module.eval()


class OnnxNetwork:
    """An ONNX file with the crops as input and heatmaps as output."""

    def __init__(
        self, path: str | Path, skeleton: Skeleton, protocol: Protocol, threads: int = 0
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise PoseError("onnx= needs onnxruntime: pip install 'featherpose[onnx]'.") from error
        if not Path(path).is_file():
            raise PoseError(f"There is no ONNX file {path}.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds of errors
            raise PoseError(
                f"{path} is not an ONNX file that onnxruntime can run: {error}"
            ) from error
        entry = self.session.get_inputs()[0]
        self.name, self.raw = entry.name, "uint8" in entry.type
        batch, _, height, width = entry.shape
        self.batch = batch if isinstance(batch, int) else None
        if not isinstance(height, int) or not isinstance(width, int):
            raise PoseError(
                f"{path} leaves its input size open: export it with fixed height and width."
            )
        self.input_size = (height, width)
        outputs = self.session.get_outputs()
        maps = [i for i, output in enumerate(outputs) if len(output.shape) == 4]
        if not maps:
            raise PoseError(
                f"{path} gives no heatmaps, so no protocol can decode them: export it with heatmaps."
            )
        self.outputs = [outputs[i].name for i in maps]
        joints = outputs[maps[-1]].shape[1]
        if joints != len(skeleton):
            raise PoseError(
                f"{path} gives {joints} heatmaps, but the data's skeleton has {len(skeleton)} joints."
            )
        self.stride = height // outputs[maps[-1]].shape[2]
        self.skeleton, self.protocol, self.flip = skeleton, protocol, protocol.flip
        text = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is not None:
            self._follow(Description.from_json(text, str(path)))

    def _follow(self, description: Description) -> None:
        """What the file says of itself: its skeleton, and whether the flip test is in its graph already."""
        self.skeleton = description.skeleton
        if not description.flip_inside:
            return
        asked = self.protocol
        shift = description.protocol.shifts(self.stride)
        if not asked.flip or asked.shifts(self.stride) != shift:
            raise PoseError(
                f"The flip test is inside this ONNX file (shift: {shift}), so the protocol "
                f"{asked.name} cannot be measured with it: choose one that has the same, or export without it."
            )
        self.flip = False

    def predict_heatmaps(self, images: Tensor) -> list[Tensor]:
        plain = self._run(images)
        if not self.flip:
            return plain
        mirrored = self._run(images.flip(3))
        order, shift = self.skeleton.flip_order, self.protocol.shifts(self.stride)
        return [
            (one + flip_back(other, order, shift)) / 2
            for one, other in zip(plain, mirrored, strict=True)
        ]

    def _run(self, images: Tensor) -> list[Tensor]:
        inputs = (images if self.raw else normalise(images)).contiguous().numpy()
        step = self.batch or len(inputs)
        parts = []
        for start in range(0, len(inputs), step):
            part = inputs[start : start + step]
            missing = step - len(part)
            filled = (
                np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            )
            found = self.session.run(self.outputs, {self.name: filled})
            parts.append([torch.from_numpy(np.asarray(each)[: len(part)]) for each in found])
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    def decode(self, outputs: list[Tensor], matrix: Tensor) -> tuple[Tensor, Tensor]:
        points, confidence = zip(
            *(decode(output, self.protocol.decoder) for output in outputs), strict=True
        )
        return to_picture(torch.stack(points), matrix, self.stride), torch.stack(confidence)
