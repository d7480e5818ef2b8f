"""What a millisecond brings: networks' scores against their time."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from featherpose.runs.pareto import Point, front
from featherpose.runs.speed_plot import label, plain


@dataclass(frozen=True)
class Scored:
    """One network, or one file of it: its milliseconds, and its score with how far that may lie on either side."""

    name: str
    ms: float
    score: float
    low: float | None = None
    high: float | None = None


def draw_scores(found: Sequence[Scored], measure: str, times: str, path: Path) -> bool:
    """Which of them no other beats in both; bars are the scores' intervals. False, and no file, of fewer than two."""
    found = [each for each in found if np.isfinite(each.score)]
    if len(found) < 2:
        path.unlink(missing_ok=True)  # of an earlier table
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    points = [Point(each.ms, each.score, np.nan, False, each.name) for each in found]
    best = front(sorted(points, key=lambda point: point.ms))
    figure, panel = plt.subplots(figsize=(7.2, 5.0))
    panel.plot([point.ms for point in best], [point.score for point in best], color="#0072B2", lw=1)
    for each, point in zip(found, points, strict=True):
        if each.low is not None and each.high is not None:
            panel.plot([each.ms] * 2, [each.low, each.high], color="#999999", lw=1, zorder=1)
        filled = "#0072B2" if point in best else "white"
        panel.plot(each.ms, each.score, "o", color="#0072B2", markerfacecolor=filled)
    panel.set_xscale("log")
    panel.margins(0.12)
    low, high = panel.get_xlim()
    panel.set_xlim(right=high * (high / low) ** 0.25)  # room for the names of the slowest
    label(panel, [each.name for each in found], [(each.ms, each.score) for each in found])
    panel.set_xlabel(f"milliseconds of a picture, {times}")
    name, _, how = measure.partition(" on ")
    panel.set_ylabel(name)
    about = [*textwrap.wrap(how, 100), "filled: no other is as good in both"]
    panel.set_title("\n".join(about), fontsize=8)
    panel.grid(True, which="major", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    plain((panel.xaxis,))
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
