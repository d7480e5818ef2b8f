"""Learning rate and gamma as pure functions of the epoch or step: no Trainer, no optimiser, no state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from featherpose.errors import PoseError

Phase = Literal["frozen", "ramp", "free"]


def milestones_factor(
    at: float, milestones: Sequence[float], factors: float | Sequence[float]
) -> float:
    """What the learning rate is multiplied by at epoch or step `at`.

    Each milestone that has been reached multiplies it once more: by its own factor, or by the single one.
    """
    each = (
        [float(factors)] * len(milestones)
        if isinstance(factors, (int, float))
        else [float(f) for f in factors]
    )
    if len(each) != len(milestones):
        raise PoseError(
            f"schedule.factors has {len(each)} numbers for {len(milestones)} milestones: give one factor, or one each."
        )
    factor = 1.0
    for milestone, multiplier in zip(milestones, each, strict=True):
        if at >= milestone:
            factor *= multiplier
    return factor


def warmup_factor(at: float, warmup: float) -> float:
    """A line that reaches 1 after `warmup` epochs or steps; the first one already trains."""
    return min(1.0, (at + 1) / (warmup + 1)) if warmup > 0 else 1.0


def length(schedule: Mapping[str, Any]) -> int:
    """How long the run is, in the schedule's unit."""
    unit = schedule.get("unit", "epoch")
    found = schedule.get({"epoch": "epochs", "step": "steps"}.get(unit, ""))
    if found is None or found < 1:
        raise PoseError(
            f"schedule.unit={unit} needs schedule.{'steps' if unit == 'step' else 'epochs'} above 0."
        )
    return int(found)


def milestones_of(schedule: Mapping[str, Any]) -> list[float]:
    """The milestones in the schedule's unit; one between 0 and 1 is a share of the run."""
    given = [float(m) for m in schedule.get("milestones") or []]
    if any(b <= a for a, b in pairwise(given)):
        raise PoseError(f"schedule.milestones has to rise: {given}.")
    return [round(m * length(schedule)) if 0 < m < 1 else m for m in given]


def learning_rate_factor(at: int, schedule: Mapping[str, Any]) -> float:
    """The factor of a whole schedule (`conf/schedule`) at epoch or step `at`, whichever its unit is."""
    factor = milestones_factor(at, milestones_of(schedule), schedule.get("factors", 0.1))
    return factor * warmup_factor(at, schedule.get("warmup") or 0)


def scaled_learning_rate(schedule: Mapping[str, Any]) -> float:
    """The learning rate for this batch: in proportion to it where `reference_batch` says what the rate is for."""
    reference = schedule.get("reference_batch")
    return float(schedule["learning_rate"]) * (
        float(schedule["batch_size"]) / reference if reference else 1.0
    )


def phase(epoch: float, freeze: float, ramp: float) -> Phase:
    """Where a Non-Local module stands at `epoch`: out of the network, let in by a line, or on its own."""
    if epoch < freeze:
        return "frozen"
    return "ramp" if epoch < freeze + ramp else "free"


def gamma_at(epoch: float, freeze: float, ramp: float, target: float) -> float | None:
    """The gamma that the schedule sets at `epoch`; None once gamma is learned (it starts there from `target`)."""
    match phase(epoch, freeze, ramp):
        case "frozen":
            return 0.0
        case "ramp":
            return target * (epoch - freeze) / ramp
        case "free":
            return None


def gamma_phases(freeze: float, ramp: float, unit: str, epochs: float) -> tuple[float, float]:
    """Freeze and ramp in epochs, whether they are given as epochs or as shares of the run."""
    if unit not in ("epochs", "share"):
        raise PoseError(f"schedule.gamma.unit is epochs or share, not {unit!r}.")
    if freeze < 0 or ramp < 0:
        raise PoseError(f"schedule.gamma: freeze ({freeze}) and ramp ({ramp}) cannot be negative.")
    if unit == "epochs":
        return freeze, ramp
    if freeze + ramp > 1:
        raise PoseError(
            f"schedule.gamma: freeze ({freeze}) and ramp ({ramp}) are shares of the run; together at most 1."
        )
    return freeze * epochs, ramp * epochs
