"""From a run's config, or from a checkpoint, to the module; PoseModule itself knows neither."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.errors import PoseError
from featherpose.models.network import PoseNetwork, natural_height_of
from featherpose.protocol import Protocol
from featherpose.settings import switch
from featherpose.skeletons import skeleton_of
from featherpose.targets import build, build_listed
from featherpose.training.losses import HeatmapLoss
from featherpose.training.module import PoseModule
from featherpose.training.schedules import Schedule
from featherpose.zoo.checkpoint import Checkpoint, describe, load_checkpoint

# In a checkpoint: where datasets lie, whichever machine it is read on
DATA_FOLDER = "${paths.data}"
# Of the data's settings, what belongs to a training run or a machine and not to what was read
NOT_KEPT = ("augment", "batch_size", "workers", "cache", "cache_folder", "one_batch")


def build_training(config: Mapping[str, Any]) -> tuple[PoseModule, PoseDataModule]:
    """Module and data of a resolved config, fitted to each other: data follows the network's stride and size."""
    if Protocol.of(config["protocol"]).boxes == "detections":
        raise PoseError(
            "Training validates on annotated boxes, so protocol.boxes=detections cannot be followed: leave it, and "
            "score the finished run with evaluate checkpoint=RUN protocol.boxes=detections data.detections=FILE.json."
        )
    network: PoseNetwork = build(config["model"])
    data: PoseDataModule = build(
        config["data"],
        stride=network.stride,
        natural_height=natural_height_of(network),
        seed=config["seed"],
    )
    return build_module(config, network, data.input_size), data


def build_module(
    config: Mapping[str, Any], network: PoseNetwork, input_size: tuple[int, int]
) -> PoseModule:
    """The module of a resolved config around a network that was built from it."""
    described = portable(describe(config), (config.get("paths") or {}).get("data"))
    described["input_size"] = list(input_size)
    return PoseModule(
        network,
        build(config["loss"]),
        skeleton_of(config["data"]["skeleton"]),
        Protocol.of(config["protocol"]),
        build(config["schedule"]["optimiser"]),
        Schedule.of(config["schedule"]),
        channels_last=_channels_last(config.get("channels_last"), network),
        compile=config.get("compile", False),
        input_size=input_size,
        description=described,
    )


def _channels_last(asked: bool | None, network: nn.Module) -> bool:
    """As asked; else on a GPU, whose tensor cores need it, and where the network trains faster so."""
    if asked is not None:
        return switch("channels_last", asked)
    return torch.cuda.is_available() or getattr(network, "channels_last_on_cpu", True)


def from_checkpoint(source: str | Path | Checkpoint, trust: bool = False) -> PoseModule:
    """Network, loss and protocol of a checkpoint, on the CPU and in evaluation mode."""
    saved = source if isinstance(source, Checkpoint) else load_checkpoint(source)
    loss = saved.description.get("loss")
    return PoseModule(
        saved.network(trust),
        build_listed(loss, str(saved.path), trust) if loss else HeatmapLoss(),
        saved.skeleton,
        saved.protocol,
        input_size=saved.input_size,
        description=saved.description,
    ).eval()


def data_of_checkpoint(
    saved: Checkpoint, folder: str | Path, trust: bool = False, **settings: Any
) -> PoseDataModule:
    """What a checkpoint's network was trained on.

    Args:
        saved: the checkpoint. The config of the run folder that it lies in says most; else it does itself.
        folder: where datasets lie on this machine, for a checkpoint that came from another one.
        trust: also build what is not featherpose's own.
        settings: replace those that were recorded.
    """
    config = saved.path.parent.parent / "config.yaml"
    origin, node = str(saved.path), placed(saved.data, folder)
    if config.is_file():
        origin, node = str(config), read_config(config).get("data") or node
    if not node:
        raise PoseError(f"{origin} does not say what it was trained on: add data=DATASET.")
    settings = {"augment": None, "cache": None, **settings}
    return build_listed(node, origin, trust, input_size=list(saved.input_size), **settings)


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml; plain values, without any interpolation."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise PoseError(f"{path} cannot be read: {type(error).__name__}.") from error
    return found if isinstance(found, dict) else {}


def portable(node: Any, folder: str | None) -> Any:
    """The data's settings without what is true on this machine only."""
    if isinstance(node, Mapping):
        kept = {key: value for key, value in node.items() if key not in NOT_KEPT}
        return {key: portable(value, folder) for key, value in kept.items()}
    if isinstance(node, (list, tuple)):
        return [portable(each, folder) for each in node]
    if isinstance(node, str) and Path(node).is_absolute():
        inside = folder is not None and Path(node).is_relative_to(folder)
        return f"{DATA_FOLDER}/{Path(node).relative_to(str(folder)).as_posix()}" if inside else None
    return node


def placed(node: Any, folder: str | Path) -> Any:
    """The settings that `portable` gave, with this machine's folder of datasets."""
    if isinstance(node, Mapping):
        return {key: placed(value, folder) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [placed(each, folder) for each in node]
    if isinstance(node, str) and node.startswith(DATA_FOLDER):
        return str(folder) + node.removeprefix(DATA_FOLDER)
    return node
