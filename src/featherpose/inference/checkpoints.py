"""Networks in torch: the backend of checkpoints and of bare weights, and how these are read."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from featherpose.errors import PoseError
from featherpose.inference.description import Description
from featherpose.inference.outputs import Heatmaps, Output
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton
from featherpose.zoo.files import load_weights

if TYPE_CHECKING:
    from featherpose.training.module import PoseModule


class Trained(typing.Protocol):
    """A network with what it was made for: a PoseModule, or what a checkpoint's reader gives."""

    network: nn.Module
    skeleton: Skeleton
    stride: int
    protocol: Protocol

    @property
    def input_size(self) -> tuple[int, int]: ...


class TorchBackend:
    """A network in torch, on the CPU or a GPU."""

    def __init__(self, trained: Trained, device: str = "auto") -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.network = trained.network.eval().to(self.device)
        self.channels_last = bool(getattr(trained, "channels_last", True))
        self.description = Description(
            trained.skeleton, trained.input_size, trained.stride, trained.protocol
        )

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> list[Output]:
        images = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        outputs = self.network(normalise(images, self.channels_last))
        stride = self.description.stride
        return [Heatmaps(each.float().cpu().numpy(), stride) for each in outputs]


def from_checkpoint(path: str | Path) -> tuple[PoseModule, Path]:
    """The network of a checkpoint file, or of a run folder's best checkpoint; and which file it is of."""
    path = Path(path)
    if path.is_dir():
        found = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
        existing = [each for each in found if each.is_file()]
        if not existing:
            raise PoseError(f"{path} has no checkpoints/best.ckpt: has this run finished an epoch?")
        path = existing[0]
    return _module_class().from_checkpoint(path), path


def from_weights(
    path: str | Path, model: Mapping[str, Any], data: Mapping[str, Any], protocol: Mapping[str, Any]
) -> PoseModule:
    """A network of the config with weights from a file; where `data` leaves the input size open, its natural one."""
    config = {"model": model, "data": data, "protocol": protocol}
    loss = {"_target_": "featherpose.training.losses.HeatmapLoss"}  # has to be there, is not used
    module = _module_class()({**config, "loss": loss})
    load_weights(module.network, path)
    if data.get("input_size") is None:
        height = int(module.network.natural_height)  # ty: ignore[invalid-argument-type]
        size = [height, round(height * data.get("aspect", 1.0))]
        module.config["data"] = {**data, "input_size": size}
    return module.eval()


def _module_class() -> type[PoseModule]:
    """Loads Lightning, and only when a checkpoint is read."""
    from featherpose.training.module import PoseModule

    return PoseModule
