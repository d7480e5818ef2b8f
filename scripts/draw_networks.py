"""Draws docs/images/network_*.svg: LAPX, LAP, LE-HRNet and RePose as they are built.

`python scripts/draw_networks.py`
"""

from __future__ import annotations

import argparse
import sys
from html import escape
from pathlib import Path

from hydra import compose, initialize_config_dir
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from featherpose.models.hourglass import Hourglass, Stage  # noqa: E402  (this checkout's)
from featherpose.models.hrnet import HRNet  # noqa: E402
from featherpose.models.layers import ECA, NonLocal  # noqa: E402
from featherpose.models.repose import RePose  # noqa: E402
from featherpose.targets import build  # noqa: E402

FEATURES, ATTENTION, GLOBAL, MAPS, PLAIN = "#bcd2ee", "#f6c98f", "#e58f7b", "#a9d6a5", "#e8e8e8"


class Drawing:
    """Boxes, arrows and words; y grows downwards."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, colour: str, *words: str
    ) -> None:
        """Its words stand in the middle, a line each."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{colour}" stroke="#555"/>'
        )
        for line, text in enumerate(words):
            self.text(x + width / 2, y + height / 2 + 4 + 14 * (line - (len(words) - 1) / 2), text)

    def text(self, x: float, y: float, words: str, size: int = 12, anchor: str = "middle") -> None:
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="#333"{dash} marker-end="url(#tip)"/>'
        )

    def key(self, x: float, y: float, entries: dict[str, str]) -> None:
        for colour, words in entries.items():
            self.box(x, y - 10, 14, 12, colour)
            self.text(x + 20, y, words, 11, "start")
            x += 40 + 6.2 * len(words)

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'font-family="Helvetica, Arial, sans-serif" fill="#111">'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#333"/></marker></defs>'
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        )
        return head + "\n" + "\n".join(self.parts) + "\n</svg>\n"


def network(name: str) -> nn.Module:
    """As its config makes it for COCO."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return build(compose("train", [f"model={name}", "data=coco"]).model)


def has(module: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(each, kind) for each in module.modules())


def hourglass(net: Hourglass, title: str) -> Drawing:
    """Stem, and each stage as bars that shrink and grow with the size of its features."""
    attention = "ECA-CBAM; in the middle neck ECA" if has(net.stem, ECA) else "CBAM"
    wide = 290
    drawing = Drawing(190 + wide * len(net.stages), 250)
    drawing.text(
        12, 22, f"{title}: {len(net.stages)} stages of {net.channels} channels", 15, "start"
    )
    drawing.box(12, 95, 46, 70, PLAIN, "crop")
    drawing.arrow((58, 130), (74, 130))
    drawing.box(74, 95, 64, 70, FEATURES, "stem", "1/4")
    drawing.box(138, 95, 12, 70, ATTENTION)
    for number, stage in enumerate(net.stages):
        x = 168 + wide * number
        drawing.arrow((x - 18 if number == 0 else x - 42, 130), (x, 130))
        assert isinstance(stage, Stage)
        draw_stage(drawing, x, stage, net.depth, number + 1)
        if number < len(net.returns):
            drawing.arrow(
                (x - 9, 130), (x - 9, 58), (x + wide - 9, 58), (x + wide - 9, 124), dashed=True
            )
            drawing.text(x + wide - 14, 52, "+", 14)
    drawing.key(12, 238, {
        FEATURES: "depthwise separable blocks",
        ATTENTION: attention,
        MAPS: "heatmaps, supervised",
    } | ({GLOBAL: "ECA with Non-Local, let in by gamma"} if has(net, NonLocal) else {}))  # fmt: skip
    return drawing


def draw_stage(drawing: Drawing, x: float, stage: Stage, depth: int, number: int) -> None:
    heights = [84 * 0.72**level for level in range(depth + 1)]
    for place, tall in enumerate([*heights, *heights[-2::-1]]):
        colour = FEATURES
        if place == depth:  # the neck
            colour = GLOBAL if has(stage.hourglass, NonLocal) else ATTENTION
        drawing.box(x + 18 * place, 130 - tall / 2, 14, tall, colour)
    end = x + 18 * (2 * depth + 1)
    drawing.text(x + 18 * depth + 7, 185, f"1/{4 * 2**depth}", 11)
    drawing.text(x + 7, 185, "1/4", 11)
    drawing.box(end + 2, 95, 12, 70, ATTENTION)
    drawing.arrow((end + 14, 130), (end + 34, 130))
    drawing.box(end + 34, 100, 52, 60, MAPS, "heat-", "maps", str(number))


def fusion(net: HRNet) -> Drawing:
    """Four branches, joined by fusion modules."""
    drawing = Drawing(860, 300)
    drawing.text(
        12, 22, f"LE-HRNet: branches of {net.channels} to {8 * net.channels} channels", 15, "start"
    )
    drawing.box(12, 50, 46, 48, PLAIN, "crop")
    drawing.arrow((58, 74), (74, 74))
    drawing.box(74, 50, 76, 48, FEATURES, "stem", "1/4")
    tops = [50, 110, 170, 230]
    for number, stage in enumerate((net.stage2, net.stage3, net.stage4)):
        x = 190 + 190 * number
        branches = number + 2
        for row in range(branches):
            new = row == branches - 1
            start = (150 if number == 0 else x - 40, tops[max(0, row - new)] + 24)
            drawing.arrow(start, (x, tops[row] + 24))
            drawing.box(
                x, tops[row], 110, 42, FEATURES, f"1/{4 * 2**row}, {net.channels * 2**row} ch."
            )
        drawing.text(x + 132, 40, f"{len(stage)} fusion module{'s' * (len(stage) > 1)}", 11)
        last = number == 2
        for source in range(branches):
            for target in range(1 if last else branches):
                drawing.parts.append(
                    f'<line x1="{x + 110}" y1="{tops[source] + 21}" x2="{x + 150}" y2="{tops[target] + 21}" '
                    'stroke="#888"/>'
                )
    drawing.arrow((720, 71), (750, 71))
    drawing.box(750, 42, 80, 58, MAPS, "heatmaps", "1/4")
    drawing.key(
        12,
        290,
        {
            FEATURES: "lean blocks: 3x3 over a quarter of the channels, 1x1 over all; multi-scale attention"
        },
    )
    return drawing


def kinematic(net: RePose) -> Drawing:
    """Down to the size of the updates, along the body, and up again."""
    drawing = Drawing(1064, 350)
    drawing.text(
        12,
        22,
        "RePose: a feature of its own for each keypoint, updated along the body",
        15,
        "start",
    )
    steps = [f"1/{2**level}" for level in range(net.levels + 1)]
    for level, size in enumerate(steps):
        x, y = 70 + 70 * level, 70 + 48 * level
        drawing.box(x, y, 56, 34, FEATURES, size)
        if level:
            drawing.arrow((x - 42, y - 14), (x - 42, y + 17), (x, y + 17))
    drawing.box(8, 70, 40, 34, PLAIN, "crop")
    drawing.arrow((48, 87), (70, 87))
    low = 70 + 48 * net.levels
    x = 70 + 70 * net.levels + 56
    row = low + 17
    drawing.arrow((x, row), (x + 20, row))
    drawing.box(x + 20, low - 6, 96, 46, FEATURES, "one set of", "features a joint")
    drawing.arrow((x + 116, row), (x + 146, row))
    drawing.box(
        x + 146,
        low - 30,
        150,
        94,
        ATTENTION,
        "kinematic updates:",
        "each joint from itself",
        "and its neighbours,",
        "hips first, then back",
    )
    drawing.arrow((x + 296, row), (x + 326, row))
    drawing.box(x + 326, low - 6, 80, 46, FEATURES, "merged", steps[-1])
    for place, words in ((x + 131, "before"), (x + 311, "after")):
        drawing.arrow((place, row), (place, low + 74))
        drawing.box(place - 36, low + 74, 72, 30, MAPS, words)
    for level in range(net.levels - 1, -1, -1):
        up = x + 416 + 66 * (net.levels - 1 - level)
        y = 70 + 48 * level
        below = y + (42 if level == net.levels - 1 else 48)
        drawing.arrow((up - 20, below), (up - 20, y + 17), (up, y + 17))
        drawing.box(up, y, 56, 34, FEATURES, steps[level])
        drawing.arrow((70 + 70 * level + 56, y + 8), (up, y + 8), dashed=True)
        drawing.arrow((up + 56, y + 17), (up + 76, y + 17))
        drawing.box(
            up + 76, y + 2, 64, 30, MAPS, "final" if level == 0 else f"refined {net.levels - level}"
        )
    drawing.key(
        12,
        342,
        {
            FEATURES: "blocks of 3x3 convolution, ReLU, norm",
            MAPS: "heatmaps, supervised, at the crop's size",
        },
    )
    return drawing


def drawings() -> dict[str, Drawing]:
    lapx, lap, le_hrnet, repose = map(network, ("lapx", "lap", "le_hrnet", "repose"))
    assert isinstance(lapx, Hourglass) and isinstance(lap, Hourglass)
    assert isinstance(le_hrnet, HRNet) and isinstance(repose, RePose)
    return {
        "lapx": hourglass(lapx, "LAPX"),
        "lap": hourglass(lap, "LAP"),
        "le_hrnet": fusion(le_hrnet),
        "repose": kinematic(repose),
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, drawing in drawings().items():
        path = ROOT / "docs" / "images" / f"network_{name}.svg"
        path.write_text(drawing.svg(), encoding="utf-8")
        print(path)
