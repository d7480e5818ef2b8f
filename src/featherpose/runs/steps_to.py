"""How many steps a run took to a given score: what RePose says of stacked networks, and curves show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featherpose.runs.folder import Run
from featherpose.runs.score import Score

_READ_BY = ("flip", "shift", "decoder", "boxes")  # of a protocol: what its curve depends on


def steps_to(run: Run, score: Score, target: float) -> int | None:
    """Up to the first validation in training that reached the target; None where none did.

    Also where training did not measure this score: on another set, or by another protocol.
    """
    own = run.own_score
    column = "val/score" if score.data == own.data else f"val/{score.data}/score"
    alike = all(score.protocol.get(key) == own.protocol.get(key) for key in _READ_BY)
    if not alike or not {column, "step"} <= set(run.metrics.columns):
        return None
    reached = run.metrics[run.metrics[column] >= target]
    return int(reached["step"].iloc[0]) + 1 if len(reached) else None  # steps count from 0


def mean_steps(found: Sequence[int | None]) -> float:
    """Over the runs that got there; NaN without any."""
    there = [steps for steps in found if steps is not None]
    return float(np.mean(there)) if there else float("nan")


def in_words(found: Sequence[int | None]) -> str:
    """`12,000`, over seeds `12,500 (2 of 3)`, or nothing."""
    there = [steps for steps in found if steps is not None]
    if not there:
        return ""
    some = f" ({len(there)} of {len(found)})" if len(there) < len(found) else ""
    return f"{mean_steps(there):,.0f}{some}"
