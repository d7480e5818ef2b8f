"""The papers' tables as data, and the published row that a run compares with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from featherpose.runs.folder import Run

_MISSING = object()


@dataclass(frozen=True)
class Row:
    """One printed row: where it stands, what it says (`values`, as printed) and which configs it speaks of."""

    paper: str
    table: str
    data: str
    split: str
    metric: str
    method: str
    values: dict[str, Any]
    config: dict[str, Any] | None = None
    tta: bool | None = None  # flip test; None where the paper does not say
    protocol: dict[str, Any] = field(default_factory=dict)  # further settings that the paper states
    persons: int | None = (
        None  # in the whole validation set; a score on part of it does not compare
    )
    input: tuple[int, int] | None = None
    index: int | None = None
    note: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        number = f", row {self.index}" if self.index is not None else ""
        place = self.table if self.table.startswith("Section") else f"Table {self.table}"
        return f"{self.paper}, {place}{number}"

    def fits(self, run: Run) -> bool:
        """Whether the run's config, data, input size and flip test are those of the row."""
        name = run.record.data.name
        if (
            self.config is None or self.data not in name.split("_") or not self.same_protocol(run)
        ):  # also lsp_mpii
            return False
        return all(_fits(run.select(key, _MISSING), wanted) for key, wanted in self.config.items())

    def same_protocol(self, run: Run) -> bool:
        """Whether the numbers compare: measure, flip test, input size and people, as far as the paper states them."""
        protocol, data = run.record.protocol, run.record.data
        wanted = self.protocol | ({} if self.tta is None else {"flip": self.tta})
        return (
            all(protocol.get(key) == value for key, value in wanted.items())
            and self.input in (None, tuple(data.input_size))
            and self.persons in (None, data.val)
            and (not run.scores or run.metric == self.metric)
        )


@cache
def rows() -> tuple[Row, ...]:
    """Every row of the three papers' accuracy tables."""
    found: list[Row] = []
    for paper in ("lapx", "le_hrnet", "repose"):
        text = (files("featherpose.runs") / "published" / f"{paper}.yaml").read_text(
            encoding="utf-8"
        )
        document = yaml.safe_load(text)
        for table in document["tables"]:
            found += [_row(document, table, row) for row in table["rows"]]
    return tuple(found)


def rows_frame() -> pd.DataFrame:
    """All rows as one frame, for people who plot."""
    return pd.DataFrame(
        [
            {
                "paper": r.paper,
                "table": r.table,
                "data": r.data,
                "split": r.split,
                "metric": r.metric,
            }
            | {"index": r.index, "method": r.method, "tta": r.tta, "input": r.input, "note": r.note}
            | r.extra
            | r.values
            for r in rows()
        ]
    )


def published(run: Run) -> list[Row]:
    """The rows that a run repeats, the most detailed (with joints) first."""
    return sorted((row for row in rows() if row.fits(run)), key=lambda row: -len(row.values))


def _row(document: dict[str, Any], table: dict[str, Any], row: dict[str, Any]) -> Row:
    row = dict(row)
    config = None
    if "network" in row:
        config = document["networks"][row.pop("network")] | row.pop("config", {})
    size = row.pop("input", table.get("input"))
    known = ("method", "index", "note", "tta")
    extra = {
        key: row.pop(key)
        for key in ("backbone", "pretrained", "fps", "ram_mb", "runs", "model")
        if key in row
    }
    number = str(table["table"])
    return Row(
        paper=document["paper"],
        table="Section 4.1" if number == "4.1" else number,
        data=table["data"],
        split=table["split"],
        metric=table["metric"],
        method=row["method"],
        values={key: value for key, value in row.items() if key not in known},
        config=config,
        tta=row.get("tta", table.get("tta")),
        protocol=table.get("protocol") or {},
        persons=table.get("persons"),
        input=(int(size[0]), int(size[1])) if size else None,
        index=row.get("index"),
        note=row.get("note"),
        extra=extra,
    )


def _fits(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return False
    if isinstance(wanted, dict) and "any" in wanted:
        return any(_fits(value, one) for one in wanted["any"])
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return abs(value - wanted) < 1e-9 and isinstance(value, bool) == isinstance(wanted, bool)
    return value == wanted
