"""Trained networks in the latency benchmark: the runs that they are of, and their scores."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.runs.commands import select
from featherpose.runs.folder import Run
from featherpose.runs.score_plot import Scored
from featherpose.runs.table import Group, tables


@dataclass
class ScoredRun:
    """One network of the table: of runs that differ in their seed alone, the first is measured."""

    name: str
    run: Run
    groups: dict[str, Group] = field(default_factory=dict)  # by how the score was measured

    def text(self, how: str) -> str:
        """`72.10 [71.2, 73.0]` of one run, `72.10 ± 0.31` over seeds, nothing where it was not measured so."""
        group = self.groups.get(how)
        if group is None:
            return ""
        text = f"{group.mean('score'):.2f}"
        if group.interval:
            text += " [{:.1f}, {:.1f}]".format(*group.interval)
        return text if len(group.runs) == 1 else f"{text} ± {group.deviation('score'):.2f}"

    def value(self, how: str) -> float:
        return self.groups[how].mean("score") if how in self.groups else math.nan

    def point(self, how: str, ms: float) -> Scored:
        """For the picture of scores: its bar is the interval of one run, the deviation over seeds."""
        group, value = self.groups[how], self.value(how)
        spread = group.deviation("score")
        low, high = group.interval or (value - spread, value + spread)
        return Scored(self.name, ms, value, low, high)


@dataclass(frozen=True)
class Effort:
    """What training took until it ended: people seen, each as often as it was, and hours of training epochs."""

    people: int
    hours: float


def effort(run: Run) -> Effort | None:
    """Of a run's metrics.csv, by its pictures a second; None where it does not say."""
    batch, rows = run.select("schedule.batch_size"), run.metrics
    if not isinstance(batch, int) or not {"step", "images_per_s"} <= set(rows.columns):
        return None
    people = rows["step"].add(1).diff().fillna(rows["step"].iloc[0] + 1) * batch
    return Effort(int(people.sum()), float((people / rows["images_per_s"]).sum()) / 3600)


def scored_runs(
    places: str | Sequence[str], root: Path = Path("runs")
) -> tuple[list[ScoredRun], list[Run]]:
    """The runs of folders, sweeps or names, each with all its scores, and those without a final score."""
    found, left = tables(select([places] if isinstance(places, str) else places, root))
    if not found and not left:
        raise PoseError(f"There is no run in runs={places}.")
    if not found:
        raise PoseError(f"None of the {len(left)} runs of runs={places} has a final score yet.")
    networks: dict[Path, ScoredRun] = {}
    for table in found:
        for group in table.groups:
            first = group.runs[0]
            name = re.sub(r"-seed\d+$", "", first.name)
            network = networks.setdefault(first.folder, ScoredRun(name, first))
            network.groups[table.title] = group
    often = Counter(network.name for network in networks.values())
    for network in networks.values():
        if often[network.name] > 1:
            network.name += f" {network.run.id}"
    return list(networks.values()), left


def ways(runs: Sequence[ScoredRun]) -> list[str]:
    """All ways in which they were scored, `AP on coco, 6352 persons, ...`, in the order of the runs."""
    return list(dict.fromkeys(how for run in runs for how in run.groups))
