"""Draws the panels that `runs workspace` asks of W&B from a sweep's offline W&B runs, for docs/tracking.md."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from featherpose.image import read
from featherpose.runs import workspace
from featherpose.runs.folder import Run, find_runs
from featherpose.runs.plots import COLOURS
from featherpose.runs.wandb_runs import read_offline
from featherpose.runs.workspace import Panel

STROKES = ("-", "--", ":", "-.")  # of the keys of one panel
ACROSS, ROWS = 3, 10  # panels beside each other, and rows of the table


class Member:
    """One offline run: what W&B would know of it."""

    def __init__(self, run: Run) -> None:
        self.folder = Path(run.record.dashboard("wandb")["dir"])
        theirs = read_offline(self.folder)
        self.history, self.summary = theirs.history, theirs.summary

    def series(self, key: str, against: str) -> pd.Series | None:
        if key not in self.history:
            return None
        return self.history.dropna(subset=[key]).set_index(against)[key]

    def value(self, key: str) -> float:
        if key in self.summary:
            return self.summary[key]
        name, _, kind = key.rpartition(".")
        return self.summary[name][kind]

    def media(self, key: str) -> Path:
        paths = self.history[f"{key}.path"].dropna()
        return self.folder / "files" / paths.iloc[-1]


def curve(axes: Axes, panel: Panel, groups: dict[str, list[Member]]) -> None:
    """The mean over the seeds, and from the least to the most of them."""
    for colour, (name, members) in zip(COLOURS, groups.items(), strict=False):
        keys = list(panel.keys)
        if panel.pattern:
            known = {key for each in members for key in each.history}
            keys = sorted(key for key in known if re.fullmatch(panel.pattern, key))
        for number, key in enumerate(keys):
            found = [each.series(key, panel.against) for each in members]
            if not any(each is not None for each in found):
                continue  # short runs log no row by step
            table = pd.concat([each for each in found if each is not None], axis=1)
            label = f"{name}  {key}" if len(keys) > 1 else name
            stroke = STROKES[number % len(STROKES)]
            axes.plot(table.index, table.mean(axis=1), stroke, color=colour, lw=1.2, label=label)
            low, high = table.min(axis=1), table.max(axis=1)
            axes.fill_between(table.index, low, high, color=colour, alpha=0.18, lw=0)
    axes.set_xlabel("epoch" if panel.against == "epoch" else "step")
    if axes.lines:
        axes.legend(fontsize=5.5, frameon=False)


def bars(axes: Axes, panel: Panel, groups: dict[str, list[Member]]) -> None:
    """The mean over the seeds and their deviation."""
    height = 0.8 / len(groups)
    for number, (name, members) in enumerate(groups.items()):
        values = np.array([[each.value(key) for each in members] for key in panel.keys])
        places = np.arange(len(panel.keys)) + number * height
        deviation = values.std(axis=1, ddof=1) if len(members) > 1 else None
        error = {"xerr": deviation, "error_kw": {"lw": 0.8}}
        axes.barh(places, values.mean(axis=1), height, color=COLOURS[number], label=name, **error)
    axes.set_yticks(
        np.arange(len(panel.keys)) + (len(groups) - 1) * height / 2,
        [key.rpartition("/")[2] for key in panel.keys],
    )
    axes.invert_yaxis()
    axes.legend(fontsize=6, frameon=False)


def pictures(axes: Axes, panel: Panel, groups: dict[str, list[Member]]) -> None:
    axes.imshow(read(last(groups).media(panel.keys[0])))
    axes.axis("off")


def samples(axes: Axes, panel: Panel, groups: dict[str, list[Member]]) -> None:
    """The first columns of the table and two joints."""
    table = json.loads(last(groups).media(panel.keys[0]).read_text())
    frame = pd.DataFrame(table["data"], columns=table["columns"]).iloc[:ROWS]
    frame = frame[[*frame.columns[1:4], "left_wrist", "left_ankle"]].astype(object).fillna("")
    cells = [[str(cell).rpartition(" ")[2] for cell in row] for row in frame.to_numpy()]
    widths = [0.4, 0.14, 0.14, 0.17, 0.17]
    axes.axis("off")
    heads = list(frame.columns)
    drawn = axes.table(cells, colLabels=heads, colWidths=widths, loc="upper center")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(5.5)


def words(axes: Axes, panel: Panel, groups: dict[str, list[Member]]) -> None:
    text = panel.text.replace("# ", "").split("\n\n")
    lines = [line for part in text for line in textwrap.wrap(part, 52)]
    axes.text(0, 0.95, "\n".join(lines), va="top", fontsize=7)
    axes.axis("off")


DRAW = {"curve": curve, "bars": bars, "pictures": pictures, "table": samples, "text": words}


def last(groups: dict[str, list[Member]]) -> Member:
    return list(groups.values())[-1][-1]


def draw(sweep: Path, question: str | None) -> Figure:
    """The panels from left to right and from top to bottom, in their sections' order."""
    runs = find_runs(sweep)
    page = workspace.layout(runs, question=question)
    groups: dict[str, list[Member]] = {}
    for run in runs:
        name = ", ".join(f"{key.split('.')[-1]} {run.select(key)}" for key in page.varied)
        groups.setdefault(name, []).append(Member(run))
    panels = [
        (f"{number} {section.title}: {panel.title}" if panel.title else section.title, panel)
        for number, section in enumerate(page.sections, start=1)
        for panel in section.panels
    ]
    rows = -(-len(panels) // ACROSS)
    figure = Figure(figsize=(11, 2.5 * rows), layout="constrained")
    for place, (title, panel) in zip(figure.subplots(rows, ACROSS).flat, panels, strict=False):
        DRAW[panel.kind](place, panel, groups)
        place.set_title(title, fontsize=6.5, weight="bold", loc="left")
        place.tick_params(labelsize=6.5)
        place.xaxis.label.set_size(7)
        place.spines[["top", "right"]].set_visible(False)
    for place in figure.axes[len(panels) :]:
        place.axis("off")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path, help="a sweep that was trained with W&B offline")
    parser.add_argument("--question")
    parser.add_argument("--out", type=Path, default=Path("workspace.png"))
    asked = parser.parse_args(arguments)
    figure = draw(asked.sweep, asked.question)
    FigureCanvasAgg(figure)
    figure.savefig(asked.out, dpi=100)
    print(asked.out)


if __name__ == "__main__":
    main()
