"""run.json says whether the network was compiled: a compiler shows in the first step that it cannot work."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from featherpose.runs.recording import Recording
from featherpose.training.module import PoseModule


class WhetherCompiled(Callback):
    """Notes `compile: false` in the record as soon as training goes on without the compiler.

    Args:
        record: of the run, which says `compile: true` so far.
    """

    def __init__(self, record: Recording) -> None:
        self.record = record

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PoseModule)
        failed = pl_module.compiled is not None and pl_module.compiled.failed
        if failed and self.record.record.compile:
            self.record.update(compile=False)
