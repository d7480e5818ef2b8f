"""`metrics.csv` and `steps.csv` of a run folder, as a Lightning logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from featherpose.runs import metrics_csv


class PlainFile(Logger):
    """Rows of a file in the run's folder, which needs no versions and whose config.yaml holds the settings."""

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""


class MetricsFile(PlainFile):
    """`metrics.csv`: one row per epoch, columns as they come; a resumed run goes on below its own rows.

    What is logged without an epoch is a row of `steps.csv`.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows = {int(row["epoch"]): row for row in metrics_csv.read(self.path)}
        self.steps = metrics_csv.Steps(Path(folder) / "steps.csv")

    @property
    def name(self) -> str:
        return "metrics.csv"

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:
            self.steps.add({"step": step or 0} | metrics)
            return
        epoch = int(metrics["epoch"])
        row = self.rows.setdefault(epoch, {})
        row.update(
            {name: float(value) for name, value in metrics.items()}, epoch=epoch, step=step or 0
        )
        self.save()

    @rank_zero_only
    def save(self) -> None:
        metrics_csv.write(self.path, (row for _, row in sorted(self.rows.items())))
