"""Plots of runs, as matplotlib figures: curves, gammas, joints, stages, and Figure 3 of the LAPX paper."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featherpose import image
from featherpose.errors import PoseError
from featherpose.runs.dataframes import (
    best_curves,
    curves,
    names_apart,
    output_scores,
    same_outputs,
)
from featherpose.runs.folder import Run

# Okabe and Ito's colours: told apart by people who see colours differently too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
_SIZE = (6.4, 3.6)
# Widths and qualities of pictures inside a page, the best first
_FORMS = ((1400, 80), (1100, 70), (900, 60), (700, 50), (500, 40))


def curve_figure(
    runs: Sequence[Run], column: str = "val/score", title: str | None = None
) -> Figure:
    """One column of metrics.csv by epoch, a line per run; of many runs the best few have colours and names."""
    figure, axes = new_axes(title or column, "epoch", column)
    table = curves(runs, column)
    named = best_curves(table, column, len(COLOURS))
    if len(named) < len(table.columns):
        for name in table.columns.difference(named):
            axes.plot(table[name].dropna(), color="0.8", linewidth=0.8)
        axes.set_title(f"the best {len(named)} of {len(runs)} runs", fontsize=8, loc="right")
    for colour, name in zip(COLOURS, named, strict=False):
        _line(axes, table[name].dropna(), str(name), colour)
    legend(axes)
    return figure


def stage_figure(run: Run, pattern: str, title: str) -> Figure:
    """All columns of one run that fit a pattern, e.g. every stage's loss, score or gamma."""
    figure, axes = new_axes(title, "epoch", "")
    table = run.metrics.set_index("epoch")
    names = [name for name in table.columns if re.fullmatch(pattern, str(name))]
    for colour, name in zip(cycle(COLOURS), sorted(names), strict=False):
        _line(axes, table[name].dropna(), str(name), colour)
    legend(axes)
    return figure


def gamma_figure(run: Run) -> Figure:
    """How much global context each stage lets in, by epoch."""
    return stage_figure(run, r"gamma/.*", f"gamma by stage: {run.name}")


def joint_figure(
    runs: Sequence[Run], title: str = "score by joint", labels: Sequence[str] | None = None
) -> Figure:
    """The final score of each joint column, a bar per run.

    Args:
        runs: whose scores.
        title: what stands above.
        labels: what each run is called, as `names_apart` does it otherwise.
    """
    names = list(dict.fromkeys(n[6:] for run in runs for n in run.scores if n.startswith("joint/")))
    figure, axes = new_axes(title, "", runs[0].metric if runs else "score")
    width = 0.8 / max(1, len(runs))
    labelled = zip(labels or names_apart(runs), runs, strict=True)
    for i, (colour, (label, run)) in enumerate(zip(cycle(COLOURS), labelled, strict=False)):
        values = [run.scores.get(f"joint/{name}", np.nan) for name in names]
        axes.bar(
            np.arange(len(names)) + (i + 0.5) * width - 0.4,
            values,
            width,
            color=colour,
            label=label,
        )
    axes.set_xticks(range(len(names)), names)
    legend(axes)
    return figure


def stage_score_figure(runs: Sequence[Run]) -> Figure:
    """What each further stage gains: the best checkpoint's score after every supervised output."""
    figure, axes = new_axes(
        "score after each output", "output", runs[0].metric if runs else "score"
    )
    for colour, name, run in zip(cycle(COLOURS), names_apart(runs), runs, strict=False):
        values = output_scores(run)
        axes.plot(range(1, len(values) + 1), values, "o-", color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if names := same_outputs(runs):
        axes.set_xticks(range(1, len(names) + 1), names, rotation=20, ha="right")
    legend(axes)
    return figure


def speed_figure(benchmark: str | Path, out: str | Path) -> Path:
    """Figure 3 of the LAPX paper drawn again from a latency benchmark's CSV: MACs against frames per second.

    Args:
        benchmark: `latency.csv` as `python src/benchmark.py latency` writes it.
        out: the PNG to write.
    """
    from featherpose.runs.speed_plot import draw

    table = pd.read_csv(benchmark)
    missing = [name for name in ("name", "parameters", "macs") if name not in table]
    counts = [
        int(table[name].iloc[0]) for name in table.columns if str(name).startswith("threads_")
    ]
    if missing or not counts:
        raise PoseError(
            f"{benchmark} is not a latency benchmark: it has no {', '.join(missing) or 'threads_'} column."
        )
    draw(table.to_dict("records"), counts, Path(out))
    return Path(out)


def svg(figure: Figure) -> str:
    """The figure as an `<svg>` element; text stays text."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def pixels(figure: Figure) -> np.ndarray:
    """The figure as an RGB picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture_uri(picture: Path | np.ndarray, most: int = 200_000) -> str:
    """A picture (a file, or RGB) as an address that needs no file beside the page: a WebP as good as `most` allows.

    Args:
        picture: what to show.
        most: characters of the address; a picture that is larger in the coarsest form stays so.
    """
    rgb = image.read(picture) if isinstance(picture, Path) else picture
    head = "data:image/webp;base64,"
    room = (most - len(head)) * 3 // 4 - 2  # bytes become four characters for three
    content = image.encode_below(rgb, room, _FORMS, ".webp")
    return head + base64.b64encode(content).decode("ascii")


def new_axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot as all of them look."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure, axes


def _line(axes: Axes, values: pd.Series, name: str, colour: str) -> None:
    """A run of one epoch is a point, which a line alone would hide."""
    axes.plot(
        values.index,
        values.to_numpy(),
        "o-" if len(values) < 3 else "-",
        color=colour,
        label=name,
        linewidth=1.6,
    )


def legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        drawn = axes.legend(handles, labels, fontsize=7, frameon=False, loc="best")
        for text in drawn.get_texts():
            text.set_parse_math(False)  # a run's name is no formula, whatever its signs
    else:
        axes.text(
            0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", color="#888888"
        )
