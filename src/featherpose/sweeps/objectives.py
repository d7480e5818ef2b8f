"""What a search may ask for, and where run.json says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featherpose.errors import PoseError
from featherpose.runs.record import RunRecord


@dataclass(frozen=True)
class Objective:
    """Which way is better, and its value."""

    direction: Literal["maximize", "minimize"]
    value: Callable[[RunRecord], float | None]
    missing: str  # what to do where a finished run has none


OBJECTIVES = {
    "score": Objective(
        "maximize",
        lambda record: record.best.score if record.best else None,
        "a search needs evaluate_best=true and a validation",
    ),
    "params": Objective(
        "minimize", lambda record: record.network.parameters, "its network was not counted"
    ),
    "ms": Objective(
        "minimize",
        lambda record: record.extra.get("ms"),
        "it went on from a checkpoint that was made without search.measure=true",
    ),
    "macs": Objective(
        "minimize", lambda record: record.network.macs, "its network was not counted"
    ),
}


def values_of(record: RunRecord, objectives: Sequence[str], folder: Path) -> list[float]:
    """In the order in which they were asked for."""
    found = []
    for name in objectives:
        value = OBJECTIVES[name].value(record)
        if value is None:
            raise PoseError(f"{folder} finished without {name}: {OBJECTIVES[name].missing}.")
        found.append(float(value))
    return found
