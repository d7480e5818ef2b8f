"""The small files of a run folder, for those who read or mark one without torch: launchers, signal handlers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, text: str) -> None:
    """A reader, or a kill in the middle, sees the old file or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a run folder; nothing where there is none yet."""
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def mark(folder: Path, **fields: Any) -> None:
    """Changes some fields of a run's run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {**read_record(folder), **fields}
    write_atomically(folder / "run.json", json.dumps(record, indent=2, default=str) + "\n")
