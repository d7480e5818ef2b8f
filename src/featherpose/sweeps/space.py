"""The space of a search in Hydra's own words: `choice(...)`, `range(...)`, `interval(...)`, `tag(log, ...)`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from featherpose.errors import UsageError

Point = dict[str, str]  # a value for each key, as an override writes it


class Proposes(Protocol):
    """The part of an Optuna trial that a space needs."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any: ...
    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...
    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float: ...


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    key: str
    values: tuple[str, ...]

    def suggest(self, trial: Proposes) -> str:
        return self.written(trial.suggest_categorical(self.key, self.values))

    def written(self, value: Any) -> str:
        return str(value)

    def read(self, text: str) -> str:
        """A value that somebody names; ValueError where it does not belong here."""
        if text not in self.values:
            raise ValueError(f"one of {', '.join(self.values)}")
        return text

    @property
    def example(self) -> str:
        return self.values[0]

    def grid(self) -> Sequence[str]:
        return self.values


@dataclass(frozen=True)
class Numbers:
    """Numbers between two ends, both of them included."""

    key: str
    low: float
    high: float
    step: float | None = None  # None: any number between
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Proposes) -> str:
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return self.written(trial.suggest_int(self.key, low, high, step=step, log=self.log))
        found = trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)
        return self.written(found)

    def written(self, value: Any) -> str:
        """Four digits are enough to train with, and can be copied."""
        if self.whole:
            return str(int(value))
        return repr(min(max(float(f"{value:.4g}"), self.low), self.high))

    def read(self, text: str) -> float:
        value = int(text) if self.whole else float(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"between {self.low:g} and {self.high:g}")
        return value

    @property
    def example(self) -> str:
        return self.written(self.low)

    def grid(self) -> Sequence[str]:
        step = self.step or (1 if self.whole else None)
        if step is None or self.log:
            raise UsageError(
                f"sampler=grid takes choice(...) and range(...); {self.key} is an interval."
            )
        count = round((self.high - self.low) / step) + 1
        return [self.written(self.low + step * i) for i in range(count)]


Axis = Choice | Numbers
Condition = tuple[str, tuple[str, ...]]  # a key, and the values of it that fulfil the condition


@dataclass(frozen=True)
class Space:
    """Axes in the order in which they are decided: a condition asks of what was decided before."""

    axes: tuple[Axis, ...]
    fixed: tuple[str, ...] = ()  # overrides that all jobs have
    when: Mapping[str, Condition] = field(default_factory=dict)

    def suggest(self, trial: Proposes) -> Point:
        point: Point = {}
        for axis in self.axes:
            if self._asked(axis, point):
                point[axis.key] = axis.suggest(trial)
        return point

    def point_of(self, params: Mapping[str, Any]) -> Point:
        """What a trial was asked to train, of what Optuna keeps of it."""
        return {
            axis.key: axis.written(params[axis.key]) for axis in self.axes if axis.key in params
        }

    def overrides(self, point: Point) -> list[str]:
        return [*self.fixed, *(f"{key}={value}" for key, value in point.items())]

    @property
    def example(self) -> list[str]:
        """Overrides with a value for every axis: does the program know these keys?"""
        return self.overrides({axis.key: axis.example for axis in self.axes})

    def grid(self) -> list[Point]:
        points: list[Point] = [{}]
        for axis in self.axes:
            points = [
                each
                for point in points
                for each in (
                    [{**point, axis.key: value} for value in axis.grid()]
                    if self._asked(axis, point)
                    else [point]
                )
            ]
        return points

    def read(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point that somebody names, as Optuna takes it."""
        known = {axis.key: axis for axis in self.axes}
        found: dict[str, Any] = {}
        for key, value in point.items():
            if key not in known:
                raise UsageError(
                    f"hydra.sweeper.first names {key}, which the space has not; it has {', '.join(known)}."
                )
            try:
                found[key] = known[key].read(as_written(value))
            except ValueError as error:
                raise UsageError(
                    f"hydra.sweeper.first has {key}={value}, which has to be {error}."
                ) from error
        return found

    def _asked(self, axis: Axis, point: Point) -> bool:
        key, values = self.when.get(axis.key, ("", ()))
        return not key or point.get(key) in values


def space_of(
    words: Sequence[str],
    params: Mapping[str, Any],
    when: Mapping[str, str],
    loader: ConfigLoader | None = None,
) -> Space:
    """What is typed wins over `hydra.sweeper.params`; what is no set of values is the same for all jobs."""
    parser = OverridesParser.create(loader)
    typed = parser.parse_overrides(list(words))
    keys = {each.get_key_element() for each in typed}
    configured = [f"{key}={value}" for key, value in params.items() if key not in keys]
    axes: dict[str, Axis] = {}
    fixed: list[str] = []
    for override in [*_parsed(parser, configured), *typed]:
        if override.is_sweep_override():
            axes[override.get_key_element()] = axis_of(override)
        else:
            fixed.append(str(override.input_line))
    if not axes:
        raise UsageError(
            "This search has no space: give a key some values, e.g. 'model.stages=choice(2,3,4)' or "
            "'schedule.base_lr=tag(log,interval(1e-4,1e-2))'."
        )
    conditions = {key: _condition(key, text, axes) for key, text in when.items()}
    return Space(tuple(_in_order(axes, conditions)), tuple(fixed), conditions)


def _parsed(parser: OverridesParser, words: Sequence[str]) -> list[Override]:
    try:
        return parser.parse_overrides(list(words))
    except HydraException as error:
        raise UsageError(
            f"hydra.sweeper.params cannot be read: {str(error).splitlines()[0]}"
        ) from error


def as_written(value: Any) -> str:
    """As an override has it: true, false and null in small letters."""
    text = "null" if value is None else str(value)
    return text.lower() if text in ("True", "False") else text


def axis_of(override: Override) -> Axis:
    key, value = override.get_key_element(), override.value()
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        low, high = value.start, value.end
        whole = isinstance(low, int) and isinstance(high, int)
        axis = Numbers(key, low, high, log=log, whole=whole)
    elif isinstance(value, RangeSweep) and not value.shuffle:
        numbers = list(value.range())
        if not numbers:
            raise UsageError(f"{override.input_line} holds no value: range ends before its stop.")
        low, high = min(numbers), max(numbers)
        whole = all(float(each).is_integer() for each in (low, high, value.step))
        axis = Numbers(key, low, high, abs(value.step), log, whole)
    else:
        values = tuple(dict.fromkeys(map(as_written, override.sweep_string_iterator())))
        if not values:
            raise UsageError(f"{override.input_line} fits nothing. --help lists the choices.")
        return Choice(key, values)
    if axis.low > axis.high or (log and axis.low <= 0):
        needs = "a low end above 0" if log else "the lower end first"
        raise UsageError(f"{override.input_line} needs {needs}.")
    if log and axis.step not in (None, 1):
        raise UsageError(f"{override.input_line}: tag(log, ...) goes with interval(...) or step 1.")
    return axis


def _condition(key: str, text: str, axes: Mapping[str, Axis]) -> Condition:
    other, _, values = str(text).partition("=")
    for name in (key, other):
        if name not in axes:
            raise UsageError(
                f"hydra.sweeper.when asks of {name}, which the space has not; it has {', '.join(axes)}."
            )
    axis = axes[other]
    wanted = tuple(each.strip() for each in values.split(",") if each.strip())
    wrong = [each for each in wanted if isinstance(axis, Choice) and each not in axis.values]
    if not wanted or wrong or not isinstance(axis, Choice):
        has = ", ".join(axis.values) if isinstance(axis, Choice) else "no choice(...)"
        raise UsageError(
            f"hydra.sweeper.when has {key}: {text!r}, which names no value of {other} ({has})."
        )
    return other, wanted


def _in_order(axes: Mapping[str, Axis], when: Mapping[str, Condition]) -> Iterator[Axis]:
    waiting = dict(axes)
    while waiting:
        ready = [key for key in waiting if key not in when or when[key][0] not in waiting]
        if not ready:
            raise UsageError(
                f"hydra.sweeper.when goes in a circle: {', '.join(sorted(waiting))} wait for each other."
            )
        for key in ready:
            yield waiting.pop(key)
