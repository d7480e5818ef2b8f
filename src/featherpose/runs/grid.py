"""A sweep over two settings as a coloured grid: mean score over the seeds in each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from featherpose.runs.table import Group, Table

Cell = tuple[str, str]  # the score, and its colour


@dataclass(frozen=True)
class Grid:
    """One cell for each pair of values; empty where no run was scored."""

    title: str
    down: str
    across: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def grid(found: Sequence[Table]) -> Grid | None:
    """The grid of the only table whose runs vary in two overrides; None where there is no such table."""
    if len(found) != 1:
        return None
    groups = found[0].groups
    varied = _varied(groups)
    if len(varied) != 2:
        return None
    down, across = varied
    scores = {(_values(g)[down], _values(g)[across]): g.mean("score") for g in groups}
    known = [score for score in scores.values() if not math.isnan(score)]
    names = tuple(_in_order({pair[1] for pair in scores}))
    rows = []
    for row in _in_order({pair[0] for pair in scores}):
        cells = (scores.get((row, name), math.nan) for name in names)
        rows.append((row, tuple(_cell(score, min(known), max(known)) for score in cells)))
    return Grid(f"{found[0].metric} by {down} and {across}", down, across, names, tuple(rows))


def _varied(groups: Sequence[Group]) -> list[str]:
    """The overrides that have more than one value, seeds aside."""
    values = [_values(group) for group in groups]
    keys = dict.fromkeys(key for found in values for key in found if key != "seed")
    return [key for key in keys if len({found.get(key) for found in values}) > 1]


def _values(group: Group) -> dict[str, str]:
    pairs = (word.lstrip("+~").partition("=") for word in group.runs[0].overrides)
    return {key: value for key, _, value in pairs}


def _in_order(values: set[str]) -> list[str]:
    """Numbers by their size."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _cell(score: float, low: float, high: float) -> Cell:
    """From white to blue; black text stays readable on each."""
    if math.isnan(score):
        return "", "none"
    share = (score - low) / (high - low) if high > low else 1.0
    red, green = round(255 - 120 * share), round(255 - 60 * share)
    return f"{score:.2f}", f"#{red:02x}{green:02x}ff"
