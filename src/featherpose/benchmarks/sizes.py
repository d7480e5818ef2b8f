"""Parameters and operations of every row of the papers' tables, beside what the papers print."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from featherpose.errors import PoseError
from featherpose.models.count import Size, count_once
from featherpose.place import CONF
from featherpose.targets import build

PUBLISHED = Path(__file__).with_name("published_sizes.yaml")
WIDTH = 196  # of the table: narrower consoles and pipes would lose columns
UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}
LEGEND = """How it is counted. thop: parameters of layers, MACs with 4 for each element of a batch norm, as the tool of
that name reports them. convolutions: all parameters, MACs of convolutions alone, G is 2^30 (10^9 in every other row).
flops: parameters and running statistics of batch norm; 2 for each MAC, 2 for bias and ReLU, 2 for batch norm.
The column "all" is every learnable number. "=" means that the count rounds to the printed figure."""


@dataclass(frozen=True)
class CountedRow:
    """One row of a published table, counted."""

    name: str
    height: int
    width: int
    counted: str
    size: Size
    printed_parameters: str | None = None
    printed_operations: str | None = None
    note: str = ""

    @property
    def parameters(self) -> int:
        """As the row's paper counts them."""
        if self.counted == "thop":
            return self.size.layer_parameters
        return self.size.parameters + (self.size.norm_statistics if self.counted == "flops" else 0)

    @property
    def operations(self) -> int:
        return {
            "thop": self.size.thop_macs,
            "convolutions": self.size.convolution_macs,
            "flops": self.size.flops,
        }[self.counted]

    @property
    def giga(self) -> float:
        return 2**30 if self.counted == "convolutions" else 1e9


@dataclass(frozen=True)
class Printed:
    """One row of published_sizes.yaml: an experiment of ours, or a network alone, and what its paper prints."""

    counted: str
    experiment: str | None = None
    model: str | None = None
    overrides: tuple[str, ...] = ()
    parameters: str | None = None
    operations: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        return str(self.experiment or self.model)

    @property
    def choice(self) -> str:
        return f"experiment={self.experiment}" if self.experiment else f"model={self.model}"


def published() -> list[Printed]:
    return [Printed(**row) for row in yaml.safe_load(PUBLISHED.read_text())]


def measure(printed: Printed) -> CountedRow:
    """Build the row's network from its config, without memory for its weights, and count it."""
    cfg = composed([printed.choice, *printed.overrides])
    height, width, size = _counted(
        json.dumps(OmegaConf.to_container(cfg.model, resolve=True), sort_keys=True),
        tuple(cfg.data.input_size or ()),
        cfg.data.get("aspect", 1.0),
    )
    return CountedRow(
        name=" ".join([printed.name, *printed.overrides]),
        height=height,
        width=width,
        counted=printed.counted,
        size=size,
        printed_parameters=printed.parameters,
        printed_operations=printed.operations,
        note=printed.note,
    )


@cache
def _counted(model: str, input_size: tuple[int, ...], aspect: float) -> tuple[int, int, Size]:
    """Height, width and size; many rows are one network, trained in different ways."""
    with torch.device("meta"):
        network = build(json.loads(model))
    natural = network.natural_height
    height, width = input_size or (natural, round(natural * aspect))
    return height, width, count_once(network, height, width)


def composed(overrides: list[str]) -> DictConfig:
    """The training config with these overrides, inside a Hydra program or outside."""
    if GlobalHydra.instance().is_initialized():
        return compose("train", overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides)


def gap(value: float, printed: str | None, giga: float = 1e9) -> str:
    """How far the count is from the printed figure: "=" where it rounds to it."""
    if printed is None:
        return ""
    digits = len(printed[:-1].partition(".")[2])
    unit = giga if printed[-1] == "G" else UNITS[printed[-1]]
    target = float(printed[:-1])
    if round(value / unit, digits) == target:
        return "="
    return f"{value / unit / target - 1:+.1%}"


def run(only: str = "*", out: str | None = None, **_: Any) -> None:
    """Print the table; `only` picks experiments by a pattern, `out` is a .csv file to write as well."""
    entries = [printed for printed in published() if fnmatch(printed.name, only)]
    if not entries:
        raise PoseError(
            f"No row of the table of sizes is called {only!r}; leave out `only` to see them all."
        )
    console = Console(width=max(WIDTH, Console().width))
    rows = [
        measure(entry)
        for entry in track(entries, "Counting", console=Console(stderr=True), transient=True)
    ]
    console.print(table(rows))
    console.print(LEGEND, style="dim", highlight=False)
    if out is not None:
        write(rows, Path(out))
        console.print(f"Written to {out}")


def table(rows: list[CountedRow]) -> Table:
    view = Table(title="Sizes of the published rows", row_styles=["", "on grey7"])
    for title in (
        "row",
        "input",
        "counted",
        "parameters",
        "printed",
        "gap",
        "operations",
        "printed",
        "gap",
    ):
        view.add_column(
            title,
            justify="left" if title in ("row", "counted") else "right",
            no_wrap=title != "row",
        )
    view.add_column("all", justify="right", no_wrap=True)
    view.add_column("note")
    for row in rows:
        view.add_row(*cells(row))
    return view


def cells(row: CountedRow) -> list[str]:
    return [
        row.name,
        f"{row.height}x{row.width}",
        row.counted,
        f"{row.parameters / 1e6:.3f}M",
        row.printed_parameters or "",
        gap(row.parameters, row.printed_parameters),
        f"{row.operations / row.giga:.3f}G",
        row.printed_operations or "",
        gap(row.operations, row.printed_operations, row.giga),
        f"{row.size.parameters:,}",
        row.note,
    ]


def write(rows: list[CountedRow], path: Path) -> None:
    """Exact integers for each way of counting, one line a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [exact(row) for row in rows]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def exact(row: CountedRow) -> dict[str, Any]:
    facts = {
        key: getattr(row, key)
        for key in ("name", "height", "width", "counted", "parameters", "operations")
    }
    facts |= {
        key: getattr(row, key) for key in ("printed_parameters", "printed_operations", "note")
    }
    ways = (
        "parameters",
        "layer_parameters",
        "norm_statistics",
        "convolution_macs",
        "thop_macs",
        "flops",
    )
    return facts | {
        f"all_{key}" if key == "parameters" else key: getattr(row.size, key) for key in ways
    }
