"""Two runs on the same people: what one found and the other did not, with the interval of the difference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from featherpose import intervals
from featherpose.errors import PoseError
from featherpose.intervals import Counts
from featherpose.runs import samples
from featherpose.runs.folder import Run
from featherpose.runs.plots import new_axes

KINDS = ("joint", "size", "occlusion")


def compared(run: Run, other: Run, by: str | None = None) -> pd.DataFrame:
    """Share of joints found by each, and `run` minus `other` in percentage points with its 95% interval.

    Pictures are drawn, the same for both runs, so what is hard for both cancels out.

    Args:
        run: the one in question.
        other: what it is compared with, on the same people.
        by: `joint`, `size` or `occlusion`; None for everything in one row.
    """
    rows = {name: _row(part) for name, part in _parts(_both(run, other), by)}
    return pd.DataFrame.from_dict(rows, orient="index")


def difference_figure(table: pd.DataFrame, title: str) -> Figure:
    """The differences of `compared`, a bar each from low to high; what crosses 0 is grey: it may be noise."""
    figure, axes = new_axes(title, "percentage points", "")
    figure.set_size_inches(6.4, 1.2 + 0.22 * len(table))
    for place, (value, low, high, noise) in enumerate(
        table[["difference", "low", "high", "noise"]].itertuples(index=False)
    ):
        colour = "0.6" if noise else "#0072B2"
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([value], [place], "o", color=colour, markersize=5)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(table)), [f"{name} ({n})" for name, n in table["joints"].items()])
    axes.invert_yaxis()
    return figure


def person_figure(run: Run, other: Run) -> Figure:
    """Every person's mean error by both runs: below the diagonal `run` is the better one."""
    table = 100 * samples.disagreement(run, other)[["relative_first", "relative_second"]]
    figure, axes = new_axes("error of each person, % of the pose's extent", str(other), str(run))
    figure.set_size_inches(4.4, 4.2)
    axes.scatter(table["relative_second"], table["relative_first"], s=10, alpha=0.5)
    most = 1.05 * float(table.to_numpy().max())
    axes.plot([0, most], [0, most], color="0.4", linewidth=0.8)
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    return figure


def _both(run: Run, other: Run) -> pd.DataFrame:
    """One row per joint that both runs were asked for, with `found` of each."""
    samples.disagreement(run, other)  # refuses other people
    theirs = samples.errors(other)[["index", "joint", "found"]]
    table = samples.errors(run).merge(theirs, on=["index", "joint"], suffixes=("", "_other"))
    return table.assign(
        occlusion=np.where(table["occluded"], "occluded", "visible"),
        size=samples.size_of(table["extent"]),
    )


def _parts(table: pd.DataFrame, by: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    if by is None:
        yield "all", table
    elif by in KINDS:
        for name, part in table.groupby(by, observed=True, sort=by != "joint"):
            yield str(name), part
    else:
        raise PoseError(f"Runs are compared by {', '.join(KINDS)}, not by {by!r}.")


def _row(table: pd.DataFrame) -> dict[str, float | int | bool]:
    first, second = (_counts(table, name) for name in ("found", "found_other"))
    gain = intervals.difference([second], [first])
    assert gain is not None  # of the same rows, so of the same pictures
    return {
        "joints": len(table),
        "run %": 100 * float(table["found"].mean()),
        "other %": 100 * float(table["found_other"].mean()),
        "difference": gain.value,
        "low": gain.low,
        "high": gain.high,
        "noise": gain.noise,
    }


def _counts(table: pd.DataFrame, column: str) -> Counts:
    grouped = table.groupby("image", sort=True)[column]
    right, annotated = (
        part.to_numpy(np.float32)[:, None] for part in (grouped.sum(), grouped.size())
    )
    return Counts(np.arange(len(right)), right, annotated, weighted=True)
