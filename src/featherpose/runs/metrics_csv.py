"""`metrics.csv` of a run folder (one row per epoch) and `steps.csv` (one in so many steps), written and read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.files import write_atomically

Row = dict[str, float]  # a column's name and its number; what an epoch does not have is left out


def read(path: Path, key: str = "epoch") -> list[Row]:
    """The rows in the file's order; none where there is no file, or an empty one. Each has an `epoch`, or the `key`."""
    if not path.is_file() or not path.stat().st_size:
        return []
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for cells in csv.DictReader(file, strict=True):
                if None in cells or not cells.get(key):
                    raise ValueError(f"a row that does not fit the head, or has no {key}")
                row = {name: float(cell) for name, cell in cells.items() if cell}
                rows.append(row | {key: int(row[key])})
    except (OSError, ValueError, OverflowError, csv.Error) as error:  # ValueError: also no UTF-8
        where = f", line {len(rows) + 2}" if rows else ""
        raise PoseError(f"{path}{where} can't be read ({error}).") from error
    return rows


def write(path: Path, rows: Iterable[Row], first: Sequence[str] = ("epoch", "step")) -> list[str]:
    """All rows with all columns that one of them has, epoch and step first; gives the columns."""
    rows = list(rows)
    names = dict.fromkeys(first)
    for row in rows:
        names.update(dict.fromkeys(row))
    lines = [",".join(names), *(_line(row, names) for row in rows)]
    write_atomically(path, "\n".join(lines) + "\n")
    return list(names)


class Steps:
    """`steps.csv` while it grows: rows are appended. A run that goes on drops what lies behind its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, read(path, "step")
        self.names: list[str] = []  # the columns, once this process has written

    def add(self, row: Row) -> None:
        if self.names and row.keys() <= set(self.names):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row, self.names) + "\n")
            return
        if self.names:  # only a column is new
            kept = read(self.path, "step")
        else:
            kept = [old for old in self.before if old["step"] < row["step"]]
        self.names, self.before = write(self.path, [*kept, row], first=("step",)), []


def _line(row: Row, names: Iterable[str]) -> str:
    return ",".join(_text(row.get(name)) for name in names)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))
