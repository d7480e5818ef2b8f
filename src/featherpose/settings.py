"""What a setting may be: each is checked once, where it becomes a type, and refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from featherpose.errors import PoseError, UsageError


def whole(key: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number; 1e5 is one, 1.5, true and "three" are not."""
    if not _is_number(value) or value != int(value) or not _within(value, least, most):
        raise PoseError(
            f"{key} is {_shown(value)}; it has to be a whole number {_range(least, most)}."
        )
    return int(value)


def number(
    key: str,
    value: Any,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> float:
    """A finite number of at least `least`, or above `above`."""
    right = _is_number(value) and _within(value, least, most) and (above is None or value > above)
    if not right:
        wanted = _range(least, most) if above is None else f"above {above:g}"
        if above is not None and most is not None:
            wanted += f" and at most {most:g}"
        raise PoseError(f"{key} is {_shown(value)}; it has to be a number {wanted}".rstrip() + ".")
    return float(value)


def numbers(key: str, values: Any, count: int | None = None, **limits: Any) -> list[float]:
    """A list of numbers, each within the limits of `number`."""
    many = "" if count is None else f"{count} "
    if (
        not isinstance(values, Sequence)
        or isinstance(values, str)
        or count not in (None, len(values))
    ):
        raise PoseError(f"{key} is {_shown(values)}; it has to be a list of {many}numbers.")
    return [number(f"{key}[{place}]", value, **limits) for place, value in enumerate(values)]


def switch(key: str, value: Any) -> bool:
    """true or false; 0 and 1 stand for them in old files."""
    if isinstance(value, bool) or (_is_number(value) and value in (0, 1)):
        return bool(value)
    raise PoseError(f"{key} is {_shown(value)}; it has to be true or false.")


def choice(key: str, value: Any, known: Sequence[str]) -> str:
    """One of the known words."""
    if value in known:
        return str(value)
    raise PoseError(f"There is no {key}={_shown(value)}; known: {', '.join(known)}.")


def only_one(given: Mapping[Any, Any], names: Sequence[str], what: str) -> str | None:
    """Which one of these settings is given; None where none is."""
    found = [name for name in names if given[name] is not None]
    if len(found) > 1:
        raise UsageError(
            f"Say {what} with one of {'=, '.join(names)}=; {' and '.join(found)} was given."
        )
    return found[0] if found else None


def exactly_one(given: Mapping[Any, Any], names: Sequence[str], what: str) -> str:
    found = only_one(given, names, what)
    if found is None:
        raise UsageError(f"Say {what} with one of {'=, '.join(names)}=; none of them was given.")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f"of at most {_shown(most)}"
    if most is None:
        return f"of at least {_shown(least)}"
    return f"from {_shown(least)} to {_shown(most)}"


def _shown(value: Any) -> str:
    """The value as people type it, cut where it is long."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        whole_number = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
        text = str(int(value) if whole_number else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
