"""Checkpoints that a kill cannot break: written beside, flushed to the disk, then put in place in one move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from featherpose.errors import PoseError
from featherpose.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer stages in $TMPDIR and copies over the old file where that is another filesystem."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replacing(path) as beside, beside.open("wb") as file:
            torch.save(checkpoint, file)


# What only going on with a run needs; an optimiser's moments alone are twice the weights
FOR_RESUMING = (
    "optimizer_states",
    "lr_schedulers",
    "callbacks",
    "loops",
    "position",
    "current_model_state",  # of a run with a moving average, whose weights are `state_dict`
    "averaging_state",
)


def write_light(source: str | Path, target: str | Path, **instead: Any) -> None:
    """A checkpoint without what only a resume needs: a quarter of the size, and everything else works with it.

    `instead` takes the place of what it holds, e.g. other weights.
    """
    try:
        checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise PoseError(f"{source} is no checkpoint that can be read: {error}.") from error
    light = {key: value for key, value in checkpoint.items() if key not in FOR_RESUMING}
    light |= instead
    with replacing(target) as beside, beside.open("wb") as file:
        torch.save(light, file)
