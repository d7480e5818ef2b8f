"""`runs list`: every run on one line of a terminal, or whole where it is piped; filtered, sorted, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from featherpose.errors import UsageError
from featherpose.runs.dataframes import runs_frame
from featherpose.runs.folder import Run, age
from featherpose.runs.record import BROKEN_OFF

COLOURS = {"finished": "green", "running": "cyan", "missing": "dim"} | dict.fromkeys(
    BROKEN_OFF, "yellow"
)
WIDE = 130  # a terminal from here on shows size and start too
_SETTINGS = ("state", "name", "group")  # what a filter may name beside keys of the config


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see: `where` holds `key=value`, of the config or of state, name and group."""

    where: tuple[str, ...] = ()
    sort: str = "started"

    def of(self, runs: Sequence[Run]) -> list[Run]:
        kept = [run for run in runs if all(_fits(run, each) for each in self.where)]
        if runs and not kept:
            for key in (each.partition("=")[0] for each in self.where):
                if key not in _SETTINGS and all(run.select(key) is None for run in runs):
                    raise UsageError(f"--where {key}=: no run has such a key in its config.")
        if self.sort == "started":
            return kept  # as they were found
        if self.sort == "name":
            return sorted(kept, key=lambda run: run.name)
        values = {"score": _score, "epochs": lambda run: len(run.metrics), "time": _time}
        value = values[self.sort]
        return sorted(kept, key=lambda run: -_or_least(value(run)))


def print_list(runs: Sequence[Run], console: Console, how: str = "table") -> None:
    """`how`: table, csv or json."""
    frame = runs_frame(runs)
    if how == "csv":
        print(frame.to_csv(index=False), end="")
    elif how == "json":
        print(json.dumps([_plain(row) for row in frame.to_dict("records")], indent=2))
    elif not len(frame):
        console.print("no runs")
    else:
        _print_table(frame.to_dict("records"), console)


def state(word: str, silent: float | None = None) -> str:
    """The state in its colour; of a run that died with how long it has been silent."""
    ago = "" if silent is None or pd.isna(silent) else f" {age(silent)} ago"
    return f"[{COLOURS.get(word, 'red')}]{word}{ago}[/]"


def _print_table(rows: list[dict[str, Any]], console: Console) -> None:
    """What is scored alike says so once, below; a pipe gets every column, however long the lines."""
    whole = not console.is_terminal
    wide = whole or console.width >= WIDE
    ways = {row["scored on"] for row in rows}
    right = ("score", "95%", "epochs", "time", "size")
    names = ["run", "id", "state", "score", *(["95%"] if wide else []), "epochs", "time"]
    names += ["size", "started"] if wide else []
    names += ["scored on"] if len(ways) > 1 else []
    grid = Grid(box=None, header_style="bold", pad_edge=False)
    for name in names:
        folds, side = name in ("run", "id", "scored on"), "right" if name in right else "left"
        grid.add_column(name, justify=side, overflow="fold", no_wrap=not folds)
    for row in rows:
        cells = _cells(row)
        grid.add_row(*[cells[name] for name in names])
    if whole:
        console.width = 10_000  # rich takes a pipe for 80 columns
    console.print(grid)
    if len(ways) == 1:
        console.print(f"scored on: {escape(ways.pop())}")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    score, size, seconds = row["score"], row["parameters"], row["seconds"]
    return {
        "run": escape(str(row["name"])),
        "id": escape(row["id"]),
        "state": state(row["state"], row["silent"]),
        "score": "" if pd.isna(score) else f"{score:.2f} {row['metric']}",
        "95%": "" if pd.isna(row["low"]) else f"{row['low']:.2f} to {row['high']:.2f}",
        "epochs": str(row["epochs"]),
        "time": "" if pd.isna(seconds) else age(seconds),
        "size": "" if pd.isna(size) else f"{size / 1e6:.2f}M",
        "started": str(row["started"] or "")[:16].replace("T", " "),
        "scored on": escape(row["scored on"]),
    }


def _fits(run: Run, wish: str) -> bool:
    key, equals, value = wish.partition("=")
    if not equals:
        raise UsageError(f"--where {wish}: write it as key=value, e.g. model.stages=3.")
    found = (
        getattr(run, key, getattr(run.record, key, None)) if key in _SETTINGS else run.select(key)
    )
    return str(found).lower() == value.lower() or (key == "name" and value in str(found))


def _score(run: Run) -> float | None:
    return run.score


def _time(run: Run) -> float | None:
    return run.seconds


def _or_least(value: float | None) -> float:
    return float("-inf") if value is None or pd.isna(value) else float(value)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if pd.isna(value) else value for key, value in row.items()}
