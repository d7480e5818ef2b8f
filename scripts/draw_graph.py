"""Draw RePose's kinematic graph: edges between joints, and the order in which joints are updated.

python scripts/draw_graph.py                               # lsp, to repose_graph.png
python scripts/draw_graph.py --skeleton mpii --order top_down --out mpii.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from featherpose.models.kinematics import KinematicGraph, graph_of
from featherpose.skeletons import Skeleton, skeleton_of

# Where a standing person, seen from the front, has a joint (right joints on the viewer's left); heads in eighths.
PLACES = {
    "head_top": (0.0, 8.0), "upper_neck": (0.0, 7.0), "neck": (0.0, 7.0), "thorax": (0.0, 6.3), "pelvis": (0.0, 4.2),
    "nose": (0.0, 7.4), "eye": (0.55, 8.0), "ear": (1.15, 7.4), "shoulder": (1.2, 6.4), "elbow": (1.9, 5.2),
    "wrist": (2.2, 3.9), "hip": (0.75, 4.0), "knee": (0.95, 2.2), "ankle": (1.0, 0.3),
}  # fmt: skip
RIGHT, LEFT, MIDDLE = "#c2410c", "#1d4ed8", "#3f3f46"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--skeleton", default="lsp", help="lsp (14 joints), mpii (16) or coco (17)")
    parser.add_argument("--order", default="hips_first", help="hips_first or top_down")
    parser.add_argument("--out", default="repose_graph.png", type=Path)
    arguments = parser.parse_args()
    skeleton = skeleton_of(arguments.skeleton)
    draw(skeleton, graph_of(skeleton, arguments.order), arguments.order, arguments.out)
    print(f"Written to {arguments.out}")


def draw(skeleton: Skeleton, graph: KinematicGraph, order: str, path: Path) -> None:
    places = [place(joint) for joint in skeleton.joints]
    figure, axes = plt.subplots(figsize=(6, 8), layout="constrained")
    for a, b in graph.edges:
        axes.plot(*zip(places[a], places[b], strict=True), color="#a1a1aa", linewidth=2, zorder=1)
    for position, joint in enumerate(graph.order, 1):
        (x, y), name = places[joint], skeleton.joints[joint]
        colour = (
            RIGHT if name.startswith("right_") else LEFT if name.startswith("left_") else MIDDLE
        )
        axes.scatter(x, y, s=420, color=colour, zorder=2)
        axes.text(
            x,
            y,
            str(position),
            color="white",
            ha="center",
            va="center",
            fontweight="bold",
            zorder=3,
        )
        side = -1 if x < 0 else 1
        shift = (
            (0.15, -0.33 if name == "nose" else 0.33) if x == 0 else (0.28 * side, 0.0)
        )  # clear of the edges
        align = "right" if side < 0 else "left"
        axes.text(
            x + shift[0], y + shift[1], name.replace("_", " "), ha=align, va="center", zorder=3
        )
    axes.set_title(
        f"RePose on {skeleton.name}: {len(graph.order)} joints, {len(graph.edges)} edges, {order}"
    )
    axes.text(
        0,
        -0.4,
        "numbers: order of the first pass; the second goes backwards",
        ha="center",
        color=MIDDLE,
    )
    axes.set(xlim=(-4.1, 4.1), ylim=(-0.7, 8.5), aspect="equal")
    axes.axis("off")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def place(joint: str) -> tuple[float, float]:
    """The joint's place; right ones are mirrored."""
    name = joint.removeprefix("right_").removeprefix("left_")
    if name not in PLACES:
        raise SystemExit(
            f"error: it is not known where to draw {joint!r}; add it to PLACES in this script."
        )
    x, y = PLACES[name]
    return (-x if joint.startswith("right_") else x, y)


if __name__ == "__main__":
    main()
