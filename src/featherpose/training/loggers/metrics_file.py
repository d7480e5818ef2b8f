"""`metrics.csv` of a run folder, as a Lightning logger."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from featherpose.files import write_atomically


class MetricsFile(Logger):
    """`metrics.csv`: one row per epoch, columns as they come; a resumed run goes on below its own rows."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, float]] = {}
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.rows[int(float(row["epoch"]))] = {
                        k: float(v) for k, v in row.items() if v not in ("", None)
                    }

    @property
    def name(self) -> str:
        return "metrics.csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:
            return
        epoch = int(metrics["epoch"])
        row = self.rows.setdefault(epoch, {})
        row.update(
            {name: float(value) for name, value in metrics.items()}, epoch=epoch, step=step or 0
        )
        self.save()

    @rank_zero_only
    def save(self) -> None:
        names = dict.fromkeys(["epoch", "step"])
        for row in self.rows.values():
            names.update(dict.fromkeys(row))
        lines = [",".join(names)]
        lines += [
            ",".join(_number(row.get(name)) for name in names)
            for _, row in sorted(self.rows.items())
        ]
        write_atomically(self.path, "\n".join(lines) + "\n")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return (
        str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    )
