"""Figure 3 of the LAPX paper: MACs against frames per second, bubbles as large as the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

FAMILIES = {  # Okabe and Ito's colours: told apart by people who see colours differently too
    "hourglasses": ("#D55E00", ("lap", "stacked_hourglass")),
    "multi-branch": ("#0072B2", ("hrnet", "le_hrnet", "lite_hrnet", "hf_hrnet")),
    "transformers": ("#CC79A7", ("hrformer",)),
    "baselines": ("#009E73", ("lpn", "simple_baseline")),
    "RTMPose": ("#E69F00", ("rtmpose",)),
    "others": ("#777777", ()),
}


def family_of(name: str) -> str:
    return next(
        (family for family, (_, starts) in FAMILIES.items() if starts and name.startswith(starts)),
        "others",
    )


def draw(records: Sequence[Mapping[str, Any]], threads: Sequence[int], path: Path) -> None:
    """One panel for each number of threads; both axes are logarithmic, since networks span a hundredfold."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(threads), figsize=(7.2 * len(threads), 5.6), squeeze=False, sharey=True
    )
    counted = [r for r in records if r["macs"]]
    for panel, count in zip(axes[0], threads, strict=True):
        column = f"fps_{count}" if f"fps_{count}" in records[0] else "fps_all"
        points = [(r["macs"] / 1e9, r[column]) for r in counted]
        for record, (x, y) in zip(counted, points, strict=True):
            colour = FAMILIES[family_of(record["name"])][0]
            area = 45 * record["parameters"] / 1e6
            panel.scatter(x, y, s=area, color=colour, alpha=0.55, edgecolors=colour, linewidths=1.2)
            panel.plot(x, y, ".", color=colour, markersize=4)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.margins(0.14)
        panel.set_xlim(right=panel.get_xlim()[1] * 1.6)  # room for the name of the largest
        label(panel, [r["name"] for r in counted], points)
        panel.set_title("1 thread" if count == 1 else f"{count} threads")
        panel.set_xlabel("GMACs of one pass")
        panel.grid(True, which="major", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        plain((panel.xaxis, panel.yaxis))
    axes[0][0].set_ylabel("frames per second, without the flip test")
    seen = {family_of(r["name"]) for r in counted}
    handles = [
        plt.Line2D([], [], marker="o", linestyle="", color=colour, label=family)
        for family, (colour, _) in FAMILIES.items()
        if family in seen
    ]
    axes[0][-1].legend(handles=handles, loc="upper right", fontsize=8, frameon=True)
    figure.suptitle("Multiply-accumulates and frames per second (bubble: parameters)")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def label(panel: Any, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Names beside the points, moved up or down until none covers another."""
    panel.figure.canvas.draw()
    placed: list[tuple[float, float, float]] = []
    for i in np.argsort([-y for _, y in points]):
        x, y = panel.transData.transform(points[i])
        width = 6.2 * len(names[i])
        for shift in (0, -15, 15, -30, 30, -45, 45):
            if all(
                abs(y + shift - py) > 14 or x + width < px or x > px + pw for px, py, pw in placed
            ):
                break
        placed.append((x, y + shift, width))
        arrow = {"arrowstyle": "-", "color": "#999999", "lw": 0.5} if shift else None
        panel.annotate(
            names[i],
            points[i],
            (7, shift * 0.72 - 3),
            textcoords="offset points",
            fontsize=7.5,
            arrowprops=arrow,
        )


def plain(axes: Sequence[Any]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
