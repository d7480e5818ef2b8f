"""Networks in torch: the backend of checkpoints and of bare weights, and how these are read."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featherpose.inference.description import Description
from featherpose.inference.outputs import Heatmaps, Output, Vectors
from featherpose.models.network import PoseNetwork, check_joints, lay_out, natural_height_of
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.targets import build
from featherpose.zoo.checkpoint import Checkpoint, load_checkpoint
from featherpose.zoo.known import known, path_of_name
from featherpose.zoo.weight_files import load_weights


class Trained(typing.Protocol):
    """A network with what it was made for: a PoseModule, or what a checkpoint's reader gives."""

    @property
    def network(self) -> PoseNetwork: ...

    @property
    def skeleton(self) -> Skeleton: ...

    @property
    def stride(self) -> int: ...

    @property
    def protocol(self) -> Protocol: ...

    @property
    def input_size(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class Loaded:
    """The same, read from a file."""

    network: PoseNetwork
    skeleton: Skeleton
    stride: int
    protocol: Protocol
    input_size: tuple[int, int]  # height, width


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
        arrays = [each.float().cpu().numpy() for each in outputs]
        if len(arrays) == 2 and arrays[0].ndim == 3:  # along x and along y (B, K, bins), no maps
            return [Vectors(*arrays, arrays[0].shape[2] // self.description.input_size[1])]
        return [Heatmaps(each, self.description.stride) for each in arrays]


def from_checkpoint(source: str | Path | Checkpoint, trust: bool = False) -> Loaded:
    """The network of a checkpoint file, of a run folder's best checkpoint, or of a name of the zoo.

    Args:
        source: the file, the folder or the name, or what was read of it.
        trust: also build a network that is not featherpose's own; the file may then run any code.
    """
    if isinstance(source, str) and not Path(source).exists() and (path := path_of_name(source)):
        entry = known()[source]
        return from_weights(path, entry.network, entry.data, Protocol())
    saved = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    return _loaded(saved.network(trust), saved.skeleton, saved.protocol, saved.input_size)


def from_weights(
    path: str | Path,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    protocol: Mapping[str, Any] | Protocol,
) -> Loaded:
    """A network of the config with weights from a file; where `data` leaves the input size open, its natural one."""
    network: PoseNetwork = build(model)
    load_weights(network, path)
    natural = natural_height_of(network)
    height, width = data.get("input_size") or (natural, natural * data.get("aspect", 1.0))
    skeleton, size = skeleton_of(data["skeleton"]), (int(height), round(width))
    return _loaded(network.eval(), skeleton, Protocol.of(protocol), size)


def _loaded(
    network: PoseNetwork, skeleton: Skeleton, protocol: Protocol, size: tuple[int, int]
) -> Loaded:
    check_joints(network, skeleton.name, len(skeleton))
    lay_out(network, torch.channels_last)
    return Loaded(network, skeleton, network.stride, protocol, size)
