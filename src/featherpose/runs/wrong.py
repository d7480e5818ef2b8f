"""A score taken apart, as its file `errors.csv` has it: read, and drawn as one picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from featherpose.errors import PoseError

OUTCOMES = {
    "right": "#1e6fc4", "jitter": "#9ec3e6", "inversion": "#e07b00", "swap": "#7a4fa3", "miss": "#b03030",
}  # fmt: skip
WORDS = {outcome: outcome for outcome in OUTCOMES} | {
    "right": "correct"
}  # beside joints of the right side
COLUMNS = ("by", "name", "joints", "score", *OUTCOMES)
_ROW, _GAP = 0.22, 0.75  # inches of a bar, and around a panel


def read(path: Path) -> pd.DataFrame:
    """A row a part: by what it was taken apart, its name, how many joints, their score, and shares in percent."""
    try:
        table = pd.read_csv(path, dtype={"by": str, "name": str})
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise PoseError(f"{path} can't be read ({error}).") from error
    if list(table.columns) != list(COLUMNS) or table.empty:
        raise PoseError(
            f"{path} is no table of errors: its columns are {', '.join(table.columns)}."
        )
    return table


def figure(table: pd.DataFrame, metric: str) -> Figure:
    """A panel for each `by`, a bar for each part, cut into what became of its joints; the score stands at its end."""
    panels = [(str(by), part) for by, part in table.groupby("by", sort=False)]
    heights = [_ROW * len(part) for _, part in panels]
    tall = sum(heights) + _GAP * len(panels)
    drawn = Figure(figsize=(7.5, tall), layout="constrained")
    grid = drawn.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, (by, part) in zip(grid[:, 0], panels, strict=True):
        places = range(len(part))
        start = 0 * part["right"]
        for outcome, colour in OUTCOMES.items():
            axes.barh(
                places, part[outcome], left=start, color=colour, height=0.75, label=WORDS[outcome]
            )
            start = start + part[outcome]
        for place, score in zip(places, part["score"], strict=True):
            axes.text(101, place, f"{score:.1f}", va="center", fontsize=8)
        axes.set_yticks(places, [_label(by, name) for name in part["name"]], fontsize=8)
        axes.set_ylim(len(part) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_title(f"by {by}; number behind a bar: {metric}", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    grid[-1, 0].set_xlabel("% of annotated joints", fontsize=9)
    drawn.legend(
        *grid[0, 0].get_legend_handles_labels(),
        ncols=5,
        loc="outside upper center",
        frameon=False,
        fontsize=8,
    )
    return drawn


def _label(by: str, name: str) -> str:
    return f"{name}°" if by == "rotation" else name.replace("_", " ")
