"""Lightning's ModelCheckpoint without the machine's paths in what it saves: a run's folder may be moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import callbacks

HERE = "."  # the folder of checkpoints, as a checkpoint says it
PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Says paths relative to its folder; Lightning forgets the best score where the folder's name has changed.

    It has the name of Lightning's, by which a checkpoint finds its state: also one that was made before.
    """

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return moved(state, str(self.dirpath), HERE) if self.dirpath else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = state_dict.get("dirpath")
        if self.dirpath and before:
            state_dict = moved(state_dict, before, str(self.dirpath))
        super().load_state_dict(state_dict)


def moved(state: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    """The state with every path below one folder said below another."""

    def path(name: str) -> str:
        return str(Path(after, os.path.relpath(name, before))) if name else name

    return {
        **state,
        **{key: path(state.get(key, "")) for key in PATHS},
        "dirpath": after,
        "best_k_models": {path(k): score for k, score in state.get("best_k_models", {}).items()},
    }
