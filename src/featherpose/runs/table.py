"""Runs in the layout of the papers' tables: joints, parameters, MACs, mean and deviation over seeds, difference."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from featherpose.runs.dataframes import is_incidental
from featherpose.runs.flat import flat
from featherpose.runs.folder import DONE, Run
from featherpose.runs.published import Row, published

_HARDWARE = ("trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.num_nodes")
JOINTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only."""

    runs: tuple[Run, ...]
    row: Row | None

    @property
    def label(self) -> str:
        if self.row is not None and self.row.index is not None:
            return self.row.method
        return re.sub(r"-seed\d+$", "", self.runs[0].name)

    @property
    def seeds(self) -> list[int]:
        return sorted(run.record.seed or 0 for run in self.runs)

    def mean(self, score: str) -> float:
        values = [run.scores[score] for run in self.runs if run.scores.get(score) is not None]
        return float(np.mean(values)) if values else math.nan

    def deviation(self, score: str) -> float:
        """Sample standard deviation (n - 1); NaN for a single run."""
        values = [run.scores[score] for run in self.runs if run.scores.get(score) is not None]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Table:
    """One table: all its scores were measured in the same way."""

    protocol: str
    metric: str
    groups: tuple[Group, ...]

    @property
    def title(self) -> str:
        return f"{self.metric} on {self.protocol}"

    @property
    def joints(self) -> list[str]:
        found = dict.fromkeys(
            n.removeprefix("joint/")
            for g in self.groups
            for r in g.runs
            for n in r.scores
            if n.startswith("joint/")
        )
        return [j for j in JOINTS if j in found] + [j for j in found if j not in JOINTS]

    def frame(self) -> pd.DataFrame:
        """Numbers, unrounded: the CSV."""
        return pd.DataFrame([_record(self, group) for group in self.groups])

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as printed: two digits, a published row below each of ours that repeats one."""
        head = [
            "#",
            "Methods",
            "#Params",
            "MACs",
            *[j.capitalize() for j in self.joints],
            "Total",
            "Runs",
            "Difference",
        ]
        rows = []
        for record, group in zip(self.frame().to_dict("records"), self.groups, strict=True):
            total = _two(record["mean"]) + (
                f" ± {_two(record['deviation'])}" if len(group.runs) > 1 else ""
            )
            index = "" if group.row is None or group.row.index is None else str(group.row.index)
            scores = [_two(record[joint]) for joint in self.joints]
            size = [f"{record['parameters'] / 1e6:.2f}M", f"{record['macs'] / 1e9:.2f}G"]
            difference = "" if math.isnan(record["difference"]) else f"{record['difference']:+.2f}"
            rows.append(
                [index, group.label, *size, *scores, total, str(len(group.runs)), difference]
            )
            if group.row is not None:
                rows.append(_printed(group.row, self.joints))
        return head, rows


def tables(runs: Sequence[Run]) -> tuple[list[Table], list[Run]]:
    """One table for each way of measuring, never mixed, and the runs that have no final score."""
    scored = [run for run in runs if run.state == DONE and run.score is not None]
    left = [run for run in runs if run not in scored]
    by_protocol: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in scored:
        by_protocol.setdefault((run.protocol, run.metric), {}).setdefault(
            signature(run), []
        ).append(run)
    found = []
    for (protocol, metric), grouped in by_protocol.items():
        groups = [Group(tuple(same), _best_row(same[0])) for same in grouped.values()]
        groups.sort(
            key=lambda g: (g.row is None, (g.row.source, g.row.index or 0) if g.row else ("", 0))
        )
        found.append(Table(protocol, metric, tuple(groups)))
    return found, left


def signature(run: Run) -> str:
    """Equal for runs that differ in nothing but their seed, place and dashboards."""
    config = {
        key: value
        for key, value in flat(run.config).items()
        if not is_incidental(key) and key != "seed" and not key.startswith(_HARDWARE)
    }
    return json.dumps(config, sort_keys=True, default=str)


def markdown(found: Sequence[Table], left: Sequence[Run] = ()) -> str:
    parts = []
    for table in found:
        head, rows = table.cells()
        align = ["---:", ":---", *["---:"] * (len(head) - 2)]
        lines = [f"| {' | '.join(cells)} |" for cells in (head, align, *rows)]
        parts.append("\n".join([f"**{table.title}**", "", *lines]))
    return "\n\n".join(parts + _remarks(found, left)) + "\n"


def latex(found: Sequence[Table], left: Sequence[Run] = ()) -> str:
    """booktabs tables."""
    parts = []
    for table in found:
        head, rows = table.cells()
        body = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in rows]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}}}",
            rf"\begin{{tabular}}{{rl{'r' * (len(head) - 2)}}}",
            r"\toprule",
            " & ".join(_tex(cell) for cell in head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *(f"% {line}" for line in _remarks(found, left))]) + "\n"


def csv(found: Sequence[Table], left: Sequence[Run] = ()) -> str:
    frames = [table.frame().assign(protocol=table.protocol, metric=table.metric) for table in found]
    return pd.concat(frames).to_csv(index=False) if frames else ""


def _record(table: Table, group: Group) -> dict[str, object]:
    network = group.runs[0].record.network
    record: dict[str, object] = {
        "index": None if group.row is None else group.row.index,
        "method": group.label,
        "parameters": float(network.parameters or math.nan),
        "macs": float(network.thop_macs or network.macs or math.nan),
    }
    record |= {joint: group.mean(f"joint/{joint}") for joint in table.joints}
    mean, row = group.mean("score"), group.row
    printed = row.values.get("score") if row is not None else None
    return record | {
        "mean": mean,
        "deviation": group.deviation("score"),
        "runs": len(group.runs),
        "seeds": " ".join(map(str, group.seeds)),
        "published": math.nan if printed is None else float(printed),
        "difference": math.nan if printed is None else mean - float(printed),
        "source": None if row is None else row.source,
    }


def _best_row(run: Run) -> Row | None:
    fitting = published(run)
    return fitting[0] if fitting else None


def _printed(row: Row, joints: Sequence[str]) -> list[str]:
    size = [f"{row.values['parameters']:.2f}M" if "parameters" in row.values else ""]
    macs = row.values.get("gmacs")
    size.append("" if macs is None else f"{macs:.2f}G")
    total = _two(row.values.get("score"))
    if "deviation" in row.values:
        total += f" ± {_two(row.values['deviation'])}"
    runs = str(row.extra.get("runs", ""))
    return [
        "",
        f"published: {row.source}",
        *size,
        *[_two(row.values.get(joint)) for joint in joints],
        total,
        runs,
        "",
    ]


def _remarks(found: Sequence[Table], left: Sequence[Run]) -> list[str]:
    remarks = []
    if len(found) > 1:
        remarks.append(
            "Scores of different tables were measured in different ways and do not compare."
        )
    if any(len(group.runs) > 1 for table in found for group in table.groups):
        remarks.append("± is the sample standard deviation over seeds.")
    if left:
        remarks.append(
            "Without a final score: " + ", ".join(f"{run.name} ({run.state})" for run in left) + "."
        )
    return remarks


def _two(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{float(value):.2f}"  # ty: ignore[invalid-argument-type]


def _tex(text: str) -> str:
    escaped = re.sub(r"([#%&_$])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$")
