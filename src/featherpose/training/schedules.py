"""Learning rate and gamma as pure functions of the epoch or step: no Trainer, no optimiser, no state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

from featherpose.errors import PoseError
from featherpose.settings import choice, number, numbers, switch, whole
from featherpose.training.rate import TorchRate

Phase = Literal["frozen", "ramp", "free"]
UNITS = {"epoch": "epochs", "step": "steps"}  # and the setting that says how long the run is
FOREVER = -1


@dataclass(frozen=True)
class Gamma:
    """The phases of Non-Local modules (LAPX, section 3.3).

    target: gamma where the ramp ends.
    freeze: how long the modules are kept out.
    ramp: how long gamma takes from 0 to the target.
    unit: of freeze and ramp: `epochs`, or `share` where both are shares of the whole run.
    """

    target: float
    freeze: float = 0.0
    ramp: float = 0.0
    unit: str = "epochs"

    def __post_init__(self) -> None:
        choice("schedule.gamma.unit", self.unit, ("epochs", "share"))
        for key in ("target", "freeze", "ramp"):
            number(f"schedule.gamma.{key}", getattr(self, key), least=0)
        if self.unit == "share" and self.freeze + self.ramp > 1:
            raise PoseError(
                f"schedule.gamma: freeze ({self.freeze}) and ramp ({self.ramp}) are shares of the run; "
                "together at most 1."
            )

    @classmethod
    def of(cls, given: Any) -> Gamma:
        if not isinstance(given, Mapping) or given.get("target") is None:
            raise PoseError("schedule.gamma is null, or says target, freeze, ramp and unit.")
        known = [each.name for each in fields(cls)]
        return cls(**{key: value for key, value in given.items() if key in known})

    def in_epochs(self, epochs: float) -> tuple[float, float]:
        """Freeze and ramp of a run of so many epochs."""
        scale = epochs if self.unit == "share" else 1
        return self.freeze * scale, self.ramp * scale


@dataclass(frozen=True)
class Schedule:
    """How long a run is, and what its learning rate does (conf/schedule).

    learning_rate: at the start, for `reference_batch` people a step where that is given, else for any batch.
    batch_size: people a step, of all devices together.
    unit: of milestones and warm-up, and by which the run is counted: `epoch` or `step`.
    epochs, steps: how long the run is, whichever comes first; -1 leaves it to the other, and to the clock if both are.
    milestones: where the rate changes; below 1 a share of the run.
    factors: what each multiplies it by: one number for all, or one each.
    warmup: how long the rate rises by a line.
    rate: one of torch's schedulers, as `_target_` and its numbers, in place of milestones; a number that is null is
        the run's length.
    no_decay: no weight decay on norms, biases, gates and gamma.
    part_rates: what the rate of a part is multiplied by, as {trunk: 0.1}.
    validate_every: epochs.
    """

    learning_rate: float
    batch_size: int = 32
    unit: str = "epoch"
    epochs: int = FOREVER
    steps: int = FOREVER
    reference_batch: float | None = None
    milestones: Sequence[float] = ()
    factors: float | Sequence[float] = 0.1
    warmup: float = 0.0
    validate_every: int = 1
    gamma: Gamma | None = None
    rate: Mapping[str, Any] | None = None
    no_decay: bool = False
    part_rates: Mapping[str, float] = field(default_factory=dict)
    each_factor: tuple[float, ...] = field(init=False, repr=False)
    shape: TorchRate | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        choice("schedule.unit", self.unit, tuple(UNITS))
        number("schedule.learning_rate", self.learning_rate, above=0)
        number("schedule.warmup", self.warmup, least=0)
        switch("schedule.no_decay", self.no_decay)
        if self.reference_batch is not None:
            number("schedule.reference_batch", self.reference_batch, above=0)
        numbers("schedule.milestones", self.milestones, above=0)
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise PoseError(f"schedule.milestones has to rise: {list(self.milestones)}.")
        object.__setattr__(self, "each_factor", self._each_factor())
        for key in ("batch_size", "validate_every", "epochs", "steps"):
            value = getattr(self, key)
            if key in ("batch_size", "validate_every") or value != FOREVER:
                # kept as an integer: 1e5 steps are 100000
                object.__setattr__(self, key, whole(f"schedule.{key}", value, least=1))
        asked = [key for key, value in (self.rate or {}).items() if value is None]
        relative = [
            *("schedule.milestones has shares of the run" for m in self.milestones if m < 1),
            *(f"schedule.rate.{key} is the run's length" for key in asked),
        ]
        if relative and math.isinf(self.length) and not self.endless:
            raise PoseError(
                f"{relative[0]}, whose {UNITS[self.unit]} are not said: "
                f"set schedule.{UNITS[self.unit]}, or schedule.unit."
            )
        if self.rate is not None:
            length = 1 if self.endless else self.length  # by the clock, which has a rate of its own
            rate = {**self.rate, **dict.fromkeys(asked, length)}
            number("schedule.rate.T_max", rate.get("T_max", 1), above=0)
            object.__setattr__(self, "shape", TorchRate(rate, self.first_rate))

    def _each_factor(self) -> tuple[float, ...]:
        count = len(self.milestones)
        if not isinstance(self.factors, Sequence) or isinstance(self.factors, str):
            return (number("schedule.factors", self.factors, above=0),) * count
        if len(self.factors) != count:
            raise PoseError(
                f"schedule.factors has {len(self.factors)} numbers for {count} milestones: "
                "give one factor, or one each."
            )
        return tuple(numbers("schedule.factors", self.factors, above=0))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Schedule:
        """The schedule of a resolved config, which holds more than its fields."""
        known = {each.name for each in fields(cls) if each.init}
        # null is the field's own value
        chosen = {key: value for key, value in given.items() if key in known and value is not None}
        if "gamma" in chosen:
            chosen["gamma"] = Gamma.of(chosen["gamma"])
        if "learning_rate" not in chosen:
            raise PoseError("schedule.learning_rate is missing: say it, e.g. 0.001.")
        return cls(**chosen)

    @property
    def endless(self) -> bool:
        """Whether only the clock ends the run."""
        return self.epochs == FOREVER and self.steps == FOREVER

    @property
    def length(self) -> float:
        """How long the run is, in the schedule's unit; infinite where that is not said."""
        own = getattr(self, UNITS[self.unit])
        return math.inf if own == FOREVER else own

    @property
    def first_rate(self) -> float:
        """The learning rate for this batch, before any milestone."""
        scale = self.batch_size / self.reference_batch if self.reference_batch else 1.0
        return self.learning_rate * scale

    def factor(self, at: int) -> float:
        """What the first rate is multiplied by at epoch or step `at`, whichever the unit is."""
        if self.shape is not None:
            reached = self.shape.factor(at)
        else:
            reached = milestones_factor(at, self._milestones(), self.each_factor)
        return reached * warmup_factor(at, self.warmup)

    def _milestones(self) -> list[float]:
        """In the schedule's unit; one between 0 and 1 is a share of the run."""
        if self.endless:
            return [math.inf if m < 1 else m for m in self.milestones]
        return [round(m * self.length) if m < 1 else m for m in self.milestones]

    def beyond_the_end(self) -> str | None:
        """One sentence where the run is too short for its milestones or its warm-up, as where a paper's is cut."""
        passed = () if self.rate else self.milestones
        late = [f"milestone {m:g}" for m in passed if m >= max(1, self.length)]
        end = (self.rate or {}).get("T_max")
        if end is not None and end > self.length:
            late.append(f"the end of schedule.rate, {end:g},")
        if self.warmup >= self.length:
            late.append(f"the end of the warm-up, {self.warmup:g},")
        if not late:
            return None
        unit = self.unit if self.length == 1 else UNITS[self.unit]
        verb = "is" if len(late) == 1 else "are"
        return (
            f"This run ends after {self.length:,} {unit}, before {', '.join(late)} {verb} reached; "
            "milestones below 1 are shares of the run."
        )


def milestones_factor(at: float, milestones: Sequence[float], factors: Sequence[float]) -> float:
    """Each milestone that has been reached multiplies the learning rate once more, by its own factor."""
    factor = 1.0
    for milestone, multiplier in zip(milestones, factors, strict=True):
        if at >= milestone:
            factor *= multiplier
    return factor


def warmup_factor(at: float, warmup: float) -> float:
    """A line that reaches 1 after `warmup` epochs or steps; the first one already trains."""
    return min(1.0, (at + 1) / (warmup + 1)) if warmup > 0 else 1.0


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
