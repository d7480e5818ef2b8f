"""The papers' tables as data, and the published row that a run compares with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from featherpose.runs.folder import Run
from featherpose.runs.score import Score

_MISSING = object()
SPLITS = {"lsp": "test"}  # what validates here, by the papers' names where they call it otherwise
OWN_RECIPE = "trained by HRNet's recipe, the paper's own differs"


@dataclass(frozen=True)
class Row:
    """One printed row: where it stands, what it says (`values`, as printed) and which runs may claim it."""

    paper: str
    table: str
    data: str
    split: str
    metric: str
    method: str
    values: dict[str, Any]
    config: dict[str, Any] | None = None  # of the network; None: no network here is that of the row
    training: dict[str, Any] = field(default_factory=dict)  # epochs or steps, and loss
    recipe: str | None = None  # why no run here trains as the paper did
    tta: bool | None = None  # flip test; None where the paper does not say
    protocol: dict[str, Any] = field(default_factory=dict)  # further settings that the paper states
    persons: int | None = None  # in the whole validation set
    input: tuple[int, int] | None = None
    index: int | None = None
    note: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        number = f", row {self.index}" if self.index is not None else ""
        place = self.table if self.table.startswith("Section") else f"Table {self.table}"
        return f"{self.paper}, {place}{number}"

    @property
    def unstated(self) -> list[str]:
        """What a score depends on and the paper does not say."""
        given = self.protocol | ({} if self.tta is None else {"flip": self.tta})
        names = {"flip": "flip test", "boxes": "boxes"}
        if self.metric.startswith("PCK"):
            names["mean"] = "mean"
        return [name for key, name in names.items() if key not in given]

    def differs(self, run: Run, score: Score) -> list[str]:
        """In what a run's score is not that of the row, in a few words each; nothing where it repeats the row."""
        network = [*_unlike(run, self.config or {}), *([] if self.config else ["network"])]
        training = [self.recipe] if self.recipe else _unlike(run, self.training)
        if run.select("init"):
            training.append("started from other weights")
        return [*network, *training, *self.differs_in_score(score)]

    def differs_in_score(self, score: Score) -> list[str]:
        """People, measure and protocol."""
        wanted: dict[str, Any] = {"data": self.data, "split": self.split, "measure": self.metric}
        found: dict[str, Any] = {
            "data": score.data,
            "split": SPLITS.get(score.data, score.split) if score.split == "val" else score.split,
            "measure": score.metric,
        }
        if self.persons is not None:
            wanted["persons"], found["persons"] = self.persons, score.persons
        if self.input is not None:
            wanted["input"], found["input"] = list(self.input), list(score.input_size)
        stated = self.protocol | ({} if self.tta is None else {"flip": self.tta})
        if not self.metric.startswith("PCK"):
            stated = {key: value for key, value in stated.items() if key != "mean"}
        for key, value in stated.items():
            wanted[key], found[key] = value, score.protocol.get(key)
        return [
            f"{k} {_word(found[k])}, not {_word(v)}" for k, v in wanted.items() if found[k] != v
        ]


@dataclass(frozen=True)
class Match:
    """A published row beside a score, and in what they differ: nothing where the score repeats the row."""

    row: Row
    differs: tuple[str, ...] = ()

    @property
    def repeats(self) -> bool:
        return not self.differs


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


def published(run: Run, score: Score | None = None) -> list[Row]:
    """The rows that a run's score (its own, unless given) repeats, the most detailed (with joints) first."""
    score = score or run.own_score
    repeated = [row for row in rows() if row.config and not row.differs(run, score)]
    return sorted(repeated, key=lambda row: -len(row.values))


def nearest(run: Run, score: Score | None = None) -> Match | None:
    """The row that a score repeats, else the one of the same network that differs in least; None without any."""
    score = score or run.own_score
    found = [
        Match(row, tuple(row.differs(run, score)))
        for row in rows()
        if row.config and row.data == score.data and _same_kind(run, row.config)
    ]
    return min(found, key=lambda m: (len(m.differs), -len(m.row.values)), default=None)


def _same_kind(run: Run, config: dict[str, Any]) -> bool:
    """Whether the network is of the row's class; which of its settings differ is told in words."""
    return _fits(run.select("model._target_", _MISSING), config["model._target_"])


def _unlike(run: Run, wanted: dict[str, Any]) -> list[str]:
    """The settings of a run's config that are not as the row wants them."""
    found = {key: run.select(key, _MISSING) for key in wanted}
    return [
        f"{key} {_word(found[key])}, not {_word(value)}"
        for key, value in wanted.items()
        if not _fits(found[key], value)
    ]


def _word(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    if isinstance(value, dict):  # {any: [...]}
        return " or ".join(map(_word, value["any"]))
    if isinstance(value, list):
        return "x".join(map(str, value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _row(document: dict[str, Any], table: dict[str, Any], row: dict[str, Any]) -> Row:
    row = dict(row)
    config, name = None, row.pop("network", None)
    if name is not None:
        config = document["networks"][name] | row.pop("config", {})
    recipe = OWN_RECIPE if name in document.get("peers", ()) else None
    training = document["training"].get(table["data"], {}) if config and not recipe else {}
    # what a row says of its own (sigma) stands with the network and overrides the paper's usual
    training = {key: value for key, value in training.items() if key not in (config or {})}
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
        training=training,
        recipe=recipe,
        tta=row.get("tta", table.get("tta")),
        protocol=document.get("protocol", {}) | (table.get("protocol") or {}),
        persons=table.get("persons"),
        input=(int(size[0]), int(size[1])) if size else None,
        index=row.get("index"),
        note=row.get("note"),
        extra=extra,
    )


def _fits(value: Any, wanted: Any) -> bool:
    if value is _MISSING:  # of a run from before there was the key
        return isinstance(wanted, dict) and bool(wanted.get("missing"))
    if isinstance(wanted, dict) and "any" in wanted:
        return any(_fits(value, one) for one in wanted["any"])
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return abs(value - wanted) < 1e-9 and isinstance(value, bool) == isinstance(wanted, bool)
    return value == wanted
