"""What every logger is told about the run that it shows."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from featherpose.runs.record import RunRecord

_FACTS = ("git", "network", "data", "versions", "host", "device", "command")


@dataclass(frozen=True)
class Identity:
    """A run's folder, its name, the sweep it belongs to, its tags, its resolved config and what run.json says."""

    folder: Path
    name: str
    group: str | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    record: RunRecord = field(default_factory=RunRecord)

    @classmethod
    def of_folder(
        cls,
        folder: Path,
        name: str,
        group: str | None,
        tags: tuple[str, ...],
        config: dict[str, Any],
    ) -> Identity:
        """Prefers the folder's own config.yaml (fitted to the network) and run.json where they exist already."""
        written = folder / "config.yaml"
        if written.is_file():
            config = yaml.safe_load(written.read_text(encoding="utf-8")) or config
        return cls(folder, name, group, tags, config, RunRecord.read(folder) or RunRecord())

    @property
    def parameters(self) -> dict[str, Any]:
        """The resolved config, with the commit, the network's size and the data's counts under `run`."""
        facts = asdict(self.record)
        return {**self.config, "run": {key: facts[key] for key in _FACTS}}


def on_first_rank() -> bool:
    """The run's files and dashboards are written by one process only, also before Lightning has named the ranks."""
    first = all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))
    return first and getattr(rank_zero_only, "rank", 0) in (None, 0)
