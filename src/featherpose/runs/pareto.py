"""Score against milliseconds, where a search has measured both: which networks no other beats in either."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from featherpose.runs import charts
from featherpose.runs.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart
from featherpose.runs.table import Group, Table


@dataclass(frozen=True)
class Point:
    """The runs of one configuration, their seeds taken together."""

    ms: float
    score: float
    deviation: float  # over seeds; NaN of a single run
    published: bool  # a paper's own configuration
    label: str

    def beats(self, other: Point) -> bool:
        """At least as good in both, better in one."""
        no_worse = self.ms <= other.ms and self.score >= other.score
        return no_worse and (self.ms, self.score) != (other.ms, other.score)


def points(table: Table) -> list[Point]:
    """Of the runs that were timed, the fastest first."""
    return sorted(
        (point(group) for group in table.groups if times(group)), key=lambda each: each.ms
    )


def times(group: Group) -> list[float]:
    found = (run.record.extra.get("ms") for run in group.runs)
    return [float(each) for each in found if isinstance(each, (int, float))]


def point(group: Group) -> Point:
    own = " ".join(group.runs[0].overrides)
    label = f"{group.label}: {own}" if own else group.label
    score, deviation = group.mean("score"), group.deviation("score")
    return Point(float(np.mean(times(group))), score, deviation, group.row is not None, label)


def front(found: Sequence[Point]) -> list[Point]:
    return [each for each in found if not any(other.beats(each) for other in found)]


def svg(table: Table) -> str:
    """The picture; what a point is stands under the pointer. Empty where fewer than two were timed."""
    found = [each for each in points(table) if math.isfinite(each.score)]
    if len(found) < 2:
        return ""
    across = charts.reach([each.ms for each in found], 0.08)
    ends = [each.score + sign * spread(each) for each in found for sign in (-1, 1)]
    up = charts.reach(ends, 0.08)
    best = front(found)
    frame = charts.axes(Chart("", (), "ms", whole=False), across, up)
    steps = " ".join(f"{x},{y}" for x, y in (place(each, across, up) for each in best))
    line = f"<polyline stroke='{charts.COLOURS[0]}' points='{steps}'/>"
    dots = "".join(dot(each, each in best, across, up) for each in found)
    return f"<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}'>{frame}{line}{dots}</svg>"


def spread(each: Point) -> float:
    return 0.0 if math.isnan(each.deviation) else each.deviation


def place(each: Point, across: list[float], up: list[float]) -> tuple[float, float]:
    return charts.place(each.ms, across, LEFT, RIGHT), charts.place(each.score, up, BOTTOM, TOP)


def dot(each: Point, best: bool, across: list[float], up: list[float]) -> str:
    """Filled on the front; a paper's own configuration has a ring of its own."""
    x, y = place(each, across, up)
    colour = charts.COLOURS[1] if each.published else charts.COLOURS[0]
    fill = colour if best else "none"
    told = f"{each.label}\n{each.score:.2f} at {each.ms:.1f} ms"
    told += f" ± {each.deviation:.2f} over seeds" if spread(each) else ""
    told += "\nas in the paper" if each.published else ""
    low, high = (charts.place(each.score + s * spread(each), up, BOTTOM, TOP) for s in (-1, 1))
    bar = f"<path stroke='{colour}' d='M{x} {low}V{high}'/>" if spread(each) else ""
    title = f"<title>{escape(told)}</title>"
    radius = 6 if each.published else 4
    circle = f"<circle cx='{x}' cy='{y}' r='{radius}' fill='{fill}' stroke='{colour}' pointer-events='all'>"
    return f"{bar}{circle}{title}</circle>"
