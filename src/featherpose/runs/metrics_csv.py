"""`metrics.csv` of a run folder: one row per epoch. Written and read here only."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.files import write_atomically

Row = dict[str, float]  # a column's name and its number; what an epoch does not have is left out


def read(path: Path) -> list[Row]:
    """The rows in the file's order; none where there is no file, or an empty one. Each has an `epoch`."""
    if not path.is_file() or not path.stat().st_size:
        return []
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for cells in csv.DictReader(file, strict=True):
                if None in cells or not cells.get("epoch"):
                    raise ValueError("a row that does not fit the head, or has no epoch")
                row = {name: float(cell) for name, cell in cells.items() if cell}
                rows.append(row | {"epoch": int(row["epoch"])})
    except (OSError, ValueError, OverflowError, csv.Error) as error:  # ValueError: also no UTF-8
        where = f", line {len(rows) + 2}" if rows else ""
        raise PoseError(f"{path}{where} can't be read ({error}).") from error
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    """All rows with all columns that one of them has, epoch and step first."""
    rows = list(rows)
    names = dict.fromkeys(["epoch", "step"])
    for row in rows:
        names.update(dict.fromkeys(row))
    lines = [",".join(names)]
    lines += [",".join(_text(row.get(name)) for name in names) for row in rows]
    write_atomically(path, "\n".join(lines) + "\n")


def _text(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))
