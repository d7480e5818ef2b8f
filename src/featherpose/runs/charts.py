"""Line charts of the report as small SVGs, whole without a script, with the values inside that a script may show."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from featherpose.runs.dataframes import best_curves, curves, output_scores, same_outputs
from featherpose.runs.folder import Run
from featherpose.runs.plots import COLOURS

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 470, 12, 216  # of the frame
_MOST_NAMES, _WIDEST = 6, 14  # so many words below the axis, of so many letters, touch nobody
_DIGITS = 4  # more cannot be told apart in a picture, and each costs a byte a point


@dataclass(frozen=True)
class Line:
    """One curve; one without a colour is drawn in grey and not named."""

    name: str
    values: pd.Series  # by epoch or stage
    colour: str | None


@dataclass(frozen=True)
class Chart:
    """Some curves over epochs, or over what `across` says."""

    title: str
    lines: tuple[Line, ...]
    across: str = "epoch"
    places: tuple[str, ...] = ()  # names of 1, 2, ... across
    whole: bool = True  # whether only whole numbers are marked across

    @property
    def named(self) -> list[Line]:
        return [line for line in self.lines if line.colour]


def by_run(runs: Sequence[Run], column: str, title: str = "") -> Chart:
    """One column of metrics.csv, a curve per run; of many runs the best few have colours and names."""
    table = curves(runs, column)
    named = best_curves(table, column, len(COLOURS))
    if len(named) < len(table.columns):
        title = f"{title or column}: the best {len(named)} of {len(runs)} runs"
    colours = dict(zip(named, COLOURS, strict=False))
    order = sorted(table.columns, key=lambda name: name in colours)  # the grey ones lie below
    lines = [Line(str(name), table[name].dropna(), colours.get(name)) for name in order]
    return Chart(title or column, tuple(lines))


def by_part(run: Run, pattern: str, title: str) -> Chart:
    """All columns of one run that fit a pattern, e.g. every stage's loss, score or gamma."""
    table = run.metrics.set_index("epoch")
    names = sorted(name for name in map(str, table.columns) if re.fullmatch(pattern, name))
    lines = [
        Line(_in_words(run, name), table[name].dropna(), colour)
        for name, colour in zip(names, cycle(COLOURS), strict=False)
    ]
    return Chart(title, tuple(lines))


def _in_words(run: Run, column: str) -> str:
    """`val/refined 1/score` for `val/stage3/score`, where the network has such names of its outputs."""
    names = dict(enumerate(run.record.network.outputs, start=1))
    found = re.fullmatch(r"(train/loss/|val/)stage(\d+)(/score|)", column)
    name = names.get(int(found[2]), "") if found else ""
    if not found or name in ("", f"stage {found[2]}"):
        return column
    return f"{found[1]}{name}{found[3]}"


def by_stage(runs: Mapping[str, Run], title: str) -> Chart:
    """What each further stage gains: the best checkpoint's score after every supervised output."""
    lines = []
    for (name, run), colour in zip(runs.items(), cycle(COLOURS), strict=False):
        scores = output_scores(run)
        values = pd.Series(scores, index=range(1, len(scores) + 1), dtype=float)
        lines.append(Line(name, values, colour))
    return Chart(title, tuple(lines), "output", same_outputs(list(runs.values())))


def svg(chart: Chart) -> str:
    """The chart as one element; the script of the page reads `data-lines` and `data-across`."""
    lines = [line for line in chart.lines if len(line.values)]
    if not lines:
        return (
            f"<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}'><text class='none' x='{WIDTH // 2}'"
            f" y='{HEIGHT // 2}'>nothing recorded</text></svg>"
        )
    across = reach([x for line in lines for x in line.values.index], 0.1 if chart.places else 0)
    up = reach([y for line in lines for y in line.values if np.isfinite(y)], margin=0.04)
    drawn = [axes(chart, across, up), *(_curve(line, across, up) for line in lines)]
    told = [
        {"x": [_short(x) for x in line.values.index], "y": [_short(y) for y in line.values]}
        for line in lines
        if line.colour
    ]
    data = f"data-lines='{escape(json.dumps(told, separators=(',', ':')))}' data-across='{json.dumps(across)}'"
    data += f" data-places='{escape(json.dumps(chart.places))}'" if chart.places else ""
    rule = f"<line class='rule' y1='{TOP}' y2='{BOTTOM}'/>"
    return f"<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' {data}>{''.join(drawn)}{rule}</svg>"


def axes(chart: Chart, across: list[float], up: list[float]) -> str:
    parts = []
    for value in ticks(up):
        y = place(value, up, BOTTOM, TOP)
        parts.append(f"<path class='tick' d='M{LEFT} {y}H{RIGHT}'/>")
        parts.append(f"<text class='up' x='{LEFT - 6}' y='{y + 4:.1f}'>{value:.6g}</text>")
    names = dict(enumerate(chart.places if len(chart.places) <= _MOST_NAMES else (), start=1))
    for value in ticks(across, whole=chart.whole):
        x = place(value, across, LEFT, RIGHT)
        words = textwrap.wrap(names.get(int(value), ""), _WIDEST) or [f"{value:.6g}"]
        for line, word in enumerate(words[:2]):
            y = BOTTOM + 14 + 10 * line
            parts.append(f"<text class='along' x='{x}' y='{y}'>{escape(word)}</text>")
    middle = (LEFT + RIGHT) // 2
    parts.append(f"<text class='along' x='{middle}' y='{HEIGHT - 2}'>{chart.across}</text>")
    return "".join(parts)


def _curve(line: Line, across: list[float], up: list[float]) -> str:
    points = [
        f"{place(x, across, LEFT, RIGHT)},{place(y, up, BOTTOM, TOP)}"
        for x, y in zip(line.values.index, line.values, strict=True)
        if np.isfinite(y)
    ]
    style = f"stroke='{line.colour}'" if line.colour else "class='other'"
    # a run of one epoch is a point, which a line alone would hide
    dots = points if len(points) < 3 else []
    round_ends = "".join(
        f"<circle cx='{x}' cy='{y}' r='3' fill='{line.colour or '#8888'}'/>"
        for x, y in (point.split(",") for point in dots)
    )
    return f"<polyline {style} points='{' '.join(points)}'/>{round_ends}"


def reach(values: Sequence[float], margin: float = 0.0) -> list[float]:
    """From the least to the largest, never nothing."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * margin or (0.5 if high == low else 0.0)
    return [float(low - room), float(high + room)]


def ticks(reach: list[float], whole: bool = False) -> list[float]:
    found = MaxNLocator(nbins=6, integer=whole, min_n_ticks=1).tick_values(*reach)
    return [float(value) for value in found if reach[0] <= value <= reach[1]]


def place(value: float, reach: list[float], first: int, last: int) -> float:
    return round(first + (last - first) * (float(value) - reach[0]) / (reach[1] - reach[0]), 1)


def _short(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
