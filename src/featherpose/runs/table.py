"""Runs in the layout of the papers' tables: joints, parameters, MACs, mean and deviation over seeds, difference."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from featherpose.intervals import Evidence, Interval, difference
from featherpose.runs.dataframes import is_incidental, names_apart
from featherpose.runs.flat import flat
from featherpose.runs.folder import DONE, Run
from featherpose.runs.published import Match, Row, nearest
from featherpose.runs.score import AVERAGE_PRECISION, Score
from featherpose.runs.steps_to import in_words, mean_steps, steps_to

_HARDWARE = ("trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.num_nodes")
JOINTS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


# Our names of a table's columns beside joints, by the papers' names in their rows
PUBLISHED_NAMES = {"AP(M)": "APM", "AP(L)": "APL"}


@dataclass(frozen=True)
class Group:
    """Scores of runs that differ in their seed only, all measured alike."""

    runs: tuple[Run, ...]
    scores: tuple[Score, ...]
    match: Match | None
    name: str  # without the seed, told apart from those of other settings

    @property
    def row(self) -> Row | None:
        """The published row that these runs repeat; one that is only near is none."""
        return self.match.row if self.match and self.match.repeats else None

    @property
    def label(self) -> str:
        if self.row is not None and self.row.index is not None:
            return self.row.method
        return self.name

    @property
    def seeds(self) -> list[int]:
        return sorted(run.record.seed or 0 for run in self.runs)

    @property
    def repeated(self) -> int:
        """How many runs have the seed of another one."""
        return len(self.seeds) - len(set(self.seeds))

    def mean(self, name: str) -> float:
        values = self._values(name)
        return float(np.mean(values)) if values else math.nan

    def deviation(self, name: str) -> float:
        """Sample standard deviation (n - 1); NaN for a single run, and where a seed comes twice, as in a copied run."""
        values = self._values(name) if self.repeated == 0 else []
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    @property
    def interval(self) -> list[float]:
        """The 95% interval of a single run's score; over seeds the deviation says more."""
        return self.scores[0].interval if len(self.runs) == 1 else []

    def steps_to(self, target: float) -> list[int | None]:
        """Of each run, see `steps_to.steps_to`."""
        return [steps_to(*each, target) for each in zip(self.runs, self.scores, strict=True)]

    def against(self, other: Group) -> Interval | None:
        """This group's score minus another's, paired by pictures; None where a run kept nothing to draw from."""
        before, after = other._evidence(), self._evidence()
        return difference(before, after) if before and after else None

    def _evidence(self) -> list[Evidence]:
        """Of every run; of none where one kept nothing."""
        scored = zip(self.runs, self.scores, strict=True)
        found = [kept for run, score in scored if (kept := run.evidence(score)) is not None]
        return found if len(found) == len(self.runs) else []

    def _values(self, name: str) -> list[float]:
        return [score.values[name] for score in self.scores if score.values.get(name) is not None]


@dataclass(frozen=True)
class Table:
    """One table: all its scores were measured in the same way."""

    protocol: str
    metric: str
    groups: tuple[Group, ...]
    targets: tuple[float, ...] = ()  # scores to which steps are counted

    @cached_property
    def labels(self) -> list[str]:
        """What the groups are called, all different."""
        return names_apart([g.runs[0] for g in self.groups], [g.label for g in self.groups])

    @property
    def title(self) -> str:
        return f"{self.metric} on {self.protocol}"

    @property
    def columns(self) -> dict[str, str]:
        """What stands between sizes and total: COCO's other numbers beside an AP, else joints; by the scores' names."""
        there = dict.fromkeys(name for g in self.groups for s in g.scores for name in s.values)
        if self.metric.startswith("AP"):
            return {name: name for name in AVERAGE_PRECISION if name in there}
        found = [name.removeprefix("joint/") for name in there if name.startswith("joint/")]
        ordered = [j for j in JOINTS if j in found] + [j for j in found if j not in JOINTS]
        return {f"joint/{joint}": joint for joint in ordered}

    def frame(self) -> pd.DataFrame:
        """Numbers, unrounded: the CSV."""
        return pd.DataFrame(
            [_record(self, *each) for each in zip(self.labels, self.groups, strict=True)]
        )

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as printed: two digits, below each of ours the published row that it repeats or comes near."""
        columns = self.columns
        head = ["#", "Methods", "#Params", "thop's", "MACs"]
        head += [name[:1].upper() + name[1:] for name in columns.values()]
        head += ["Total", *(f"Steps to {t:g}" for t in self.targets), "Runs", "Difference"]
        paired = self.paired
        if any(paired):
            head.append("Against the first")
        rows = []
        for record, group, each in zip(
            self.frame().to_dict("records"), self.groups, paired, strict=True
        ):
            total = _two(record["mean"])
            if group.interval:
                total += " [{:.2f}, {:.2f}]".format(*group.interval)
            if not math.isnan(record["deviation"]):
                total += f" ± {_two(record['deviation'])}"
            index = "" if group.row is None or group.row.index is None else str(group.row.index)
            size = [_million(record["parameters"]), _million(record["thop_parameters"])]
            size.append(f"{record['macs'] / 1e9:.2f}G")
            scores = [_two(record[name]) for name in columns.values()]
            difference = "" if math.isnan(record["difference"]) else f"{record['difference']:+.2f}"
            steps = [in_words(group.steps_to(target)) for target in self.targets]
            row = [index, record["method"], *size, *scores, total, *steps, str(len(group.runs))]
            row.append(difference)
            rows.append([*row, _paired(each)][: len(head)])
            if group.match is not None:
                rows.append([*_printed(group.match, columns, len(steps)), ""][: len(head)])
        return head, rows

    @cached_property
    def paired(self) -> list[Interval | None]:
        """Each group's score minus the first one's."""
        first, *others = self.groups
        return [None, *(group.against(first) for group in others)]


def tables(runs: Sequence[Run], targets: Sequence[float] = ()) -> tuple[list[Table], list[Run]]:
    """One table for each way of measuring, never mixed, and the runs that have no final score.

    Every score of a run is a row: its own, and those of later evaluations.
    """
    scored = [run for run in runs if run.state == DONE and run.score is not None]
    left = [run for run in runs if run not in scored]
    measured: dict[tuple[str, str], dict[str, list[tuple[Run, Score]]]] = {}
    for run in scored:
        for score in run.all_scores:
            alike = measured.setdefault((score.words, score.metric), {})
            same = alike.setdefault(signature(run), [])
            if all(other is not run for other, _ in same):  # else: what training measured, again
                same.append((run, score))
    called = names_by_signature(runs)
    found = []
    for (protocol, metric), grouped in measured.items():
        groups = [_group(same, called[key]) for key, same in grouped.items()]
        groups.sort(
            key=lambda g: (g.row is None, (g.row.source, g.row.index or 0) if g.row else ("", 0))
        )
        found.append(Table(protocol, metric, tuple(groups), tuple(targets)))
    return found, left


def _group(same: Sequence[tuple[Run, Score]], name: str) -> Group:
    runs, scores = zip(*same, strict=True)
    return Group(runs, scores, nearest(*same[0]), name)


def names_by_signature(runs: Sequence[Run]) -> dict[str, str]:
    """What runs of one setting are called: their name without the seed, with an id where others have that name."""
    firsts: dict[str, Run] = {}
    for run in runs:
        firsts.setdefault(signature(run), run)
    names = [re.sub(r"-seed\d+$", "", run.name) for run in firsts.values()]
    return dict(zip(firsts, names_apart(list(firsts.values()), names), strict=True))


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


def _record(table: Table, label: str, group: Group) -> dict[str, object]:
    network = group.runs[0].record.network
    record: dict[str, object] = {
        "index": None if group.row is None else group.row.index,
        "method": label,
        "parameters": float(network.parameters or math.nan),
        "thop_parameters": float(network.thop_parameters or math.nan),
        "macs": float(network.thop_macs or network.macs or math.nan),
    }
    record |= {name: group.mean(key) for key, name in table.columns.items()}
    low, high = group.interval or (math.nan, math.nan)
    record |= {"low": low, "high": high}
    mean, match = group.mean("score"), group.match
    printed = group.row.values.get("score") if group.row is not None else None
    return record | {
        "mean": mean,
        "deviation": group.deviation("score"),
        **{f"steps_to_{t:g}": mean_steps(group.steps_to(t)) for t in table.targets},
        "runs": len(group.runs),
        "seeds": " ".join(map(str, group.seeds)),
        "published": math.nan if printed is None else float(printed),
        "difference": math.nan if printed is None else mean - float(printed),
        "source": None if group.row is None else group.row.source,
        "nearest": None if match is None or match.repeats else match.row.source,
        "differs": None if match is None else "; ".join(match.differs),
    }


def _printed(match: Match, columns: Mapping[str, str], gap: int) -> list[str]:
    """A published row, below ours; of one that is only near it is said what differs, and nothing is compared."""
    row = match.row
    parameters = f"{row.values['parameters']:.2f}M" if "parameters" in row.values else ""
    macs = row.values.get("gmacs")
    # LAPX prints what thop counts
    size = ["", parameters] if row.paper == "LAPX" else [parameters, ""]
    size.append("" if macs is None else f"{macs:.2f}G")
    total = _two(row.values.get("score"))
    if "deviation" in row.values:
        total += f" ± {_two(row.values['deviation'])}"
    words = f"published: {row.source}"
    if not match.repeats:
        words = f"published, nearest: {row.source}; differs: {'; '.join(match.differs)}"
    elif row.unstated:
        words += f" (not stated: {', '.join(row.unstated)})"
    scores = [_two(row.values.get(PUBLISHED_NAMES.get(name, name))) for name in columns.values()]
    return ["", words, *size, *scores, total, *[""] * gap, str(row.extra.get("runs", "")), ""]


def _remarks(found: Sequence[Table], left: Sequence[Run]) -> list[str]:
    remarks = []
    if len(found) > 1:
        remarks.append(
            "Scores of different tables were measured in different ways and do not compare."
        )
    groups = [group for table in found for group in table.groups]
    if any(not math.isnan(group.deviation("score")) for group in groups):
        remarks.append("± is the sample standard deviation over seeds.")
    remarks += [
        f"Runs of {group.name} repeat a seed, or one is a copy: no deviation over seeds."
        for group in groups
        if group.repeated
    ]
    if any(any(table.paired) for table in found):
        remarks.append(
            "[low, high] hold 95% of 1,000 draws over pictures; differences are of the same people, paired, and "
            "noise where 0 lies inside."
        )
    if any(table.targets for table in found):
        remarks.append(
            "Steps are those up to the first validation in training at or above the score."
        )
    if left:
        states = [
            f"{name} ({run.state})" for name, run in zip(names_apart(left), left, strict=True)
        ]
        remarks.append(f"Without a final score: {', '.join(states)}.")
    return remarks


def _two(value: Any) -> str:
    return "" if pd.isna(value) else f"{float(value):.2f}"


def _paired(difference: Interval | None) -> str:
    return "" if difference is None else difference.judged()


def _million(value: float) -> str:
    return "" if math.isnan(value) else f"{value / 1e6:.2f}M"


def _tex(text: str) -> str:
    escaped = re.sub(r"([#%&_$])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$")
