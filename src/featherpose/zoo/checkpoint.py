"""A checkpoint as it lies on disk: the network's weights, and what they were made by. No code of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.models.network import PoseNetwork
from featherpose.protocol import Protocol
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.targets import build_listed

# under which a checkpoint keeps its description: Lightning's own name for how a module was made
KEY = "hyper_parameters"
UNTIL_790EEF5 = "featherpose"
PREFIX = "network."  # of the weights' names


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says; `network` builds what it is of.

    description holds config nodes as they were recorded: model, loss, schedule, and the data it was trained on.
    """

    path: Path
    weights: dict[str, Tensor]  # the network's, under its own names
    skeleton: Skeleton
    input_size: tuple[int, int]  # height, width
    protocol: Protocol
    description: Mapping[str, Any]
    epoch: int = 0
    steps: int = 0
    position: dict[str, Any] | None = None  # of a run to go on with: see `callbacks.resume`

    @property
    def data(self) -> Mapping[str, Any]:
        """How to read what it was trained on; empty where that is not known."""
        return self.description.get("data") or {}

    def network(self, trust: bool = False) -> PoseNetwork:
        """The network with its weights, on the CPU and in evaluation mode.

        Args:
            trust: also build a network that is not featherpose's own: the file may then run any code.
        """
        network: PoseNetwork = build_listed(self.description["model"], str(self.path), trust)
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise PoseError(f"{self.path} does not fit its own network: {_first(error)}") from error
        return network.eval()


def find_checkpoint(path: str | Path) -> Path:
    """The file itself, or a run folder's best checkpoint, or its last one before there is a best."""
    path = Path(path)
    if not path.is_dir():
        return path
    found = [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    existing = [each for each in found if each.is_file()]
    if not existing:
        raise PoseError(f"{path} has no checkpoints/best.ckpt: has this run finished an epoch?")
    return existing[0]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a file or a run folder, also one made before descriptions were kept."""
    path = find_checkpoint(path)
    saved = read_safely(path)
    described = description_of(saved)
    if described is None or not isinstance(saved.get("state_dict"), Mapping):
        raise PoseError(
            f"{path} does not say which network it is of; for bare or published weights use weights={path} and model=…"
        )
    try:
        height, width = described["input_size"]
        return Checkpoint(
            path=path,
            weights=network_weights(saved["state_dict"]),
            skeleton=skeleton_of(described["skeleton"]),
            input_size=(int(height), int(width)),
            protocol=Protocol.of(described["protocol"], str(path)),
            description=described,
            epoch=int(saved.get("epoch", 0)),
            steps=int(saved.get("global_step", 0)),
            position=saved.get("position"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoseError(
            f"What {path} says of its network is damaged ({type(error).__name__}: {error})."
        ) from error


def read_safely(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint file, read without running any code that it might carry."""
    path = Path(path)
    if not path.is_file():
        raise PoseError(f"There is no checkpoint {path}.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own words advise to run what is in the file
        raise PoseError(
            f"{path} is not a checkpoint that can be read safely: it is none of torch's, is cut short, "
            f"or holds more than numbers ({type(error).__name__})."
        ) from error
    if not isinstance(saved, dict):
        raise PoseError(f"{path} is no checkpoint: it holds a {type(saved).__name__}.")
    return saved


def description_of(saved: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a checkpoint says of itself; until commit 5f8f7bd that was the whole config of the run."""
    found = saved.get(UNTIL_790EEF5, saved.get(KEY))
    if not isinstance(found, Mapping):
        return None
    if isinstance(found.get("config"), Mapping):
        return describe(found["config"])
    return found if "skeleton" in found else None


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's config that a checkpoint keeps."""
    data = config.get("data") or {}
    parts = {name: config.get(name) or {} for name in ("model", "loss", "protocol", "schedule")}
    shape = {"skeleton": data.get("skeleton"), "input_size": data.get("input_size")}
    return {**parts, **shape, "data": data}


def network_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's own entries of a state dict.

    Until 5f8f7bd there was a second copy under `compiled.`, which after a compiled run says `_orig_mod.` within.
    """
    return {
        name.removeprefix(PREFIX).removeprefix("_orig_mod."): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(PREFIX)
    }


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:4])
