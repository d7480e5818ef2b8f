"""Checkpoints that a kill cannot break: written beside, flushed to the disk, then put in place in one move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from featherpose.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer stages in $TMPDIR and copies over the old file where that is another filesystem."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        with replacing(path) as beside, beside.open("wb") as file:
            torch.save(checkpoint, file)
