"""Every benchmark that this machine can run, one after the other, into one JSON file and its tables."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from featherpose.benchmarks import measured
from featherpose.errors import PoseError, UsageError
from featherpose.files import write_atomically
from featherpose.place import command


def run(
    parts: Mapping[str, Sequence[str] | None],
    only: str | Sequence[str] | None = None,
    out: str = "runs/benchmark/all",
    **_: Any,
) -> None:
    """Runs each part in a process of its own and writes `benchmarks.json` and `benchmarks.md` after each.

    Args:
        parts: a benchmark and its options; null leaves it out.
        only: one or some of them: what the folder has of the others stays.
        out: the folder.
    """
    wanted = [only] if isinstance(only, str) else list(only or [])
    unknown = [name for name in wanted if name not in parts]
    if unknown:
        raise UsageError(f"only={unknown[0]}: the parts are {', '.join(parts)}.")
    chosen = {
        name: list(words)
        for name, words in parts.items()
        if words is not None and (not wanted or name in wanted)
    }
    console, folder = Console(), Path(out)
    now = measured.begin()
    found = (kept(folder / "benchmarks.json", now) if wanted else None) or now
    made = {each["name"]: each for each in found["parts"]}
    for number, (name, words) in enumerate(chosen.items(), start=1):
        console.rule(f"{number} of {len(chosen)}: {name}")
        made[name] = one(name, words) | {key: now[key] for key in ("commit", "started")}
        found["parts"] = [made[each] for each in parts if each in made]
        measured.write(found, folder / "benchmarks.json")
        write_atomically(folder / "benchmarks.md", measured.tables(found))
    failed = [name for name in chosen if made[name].get("failed")]
    console.print(f"Written to {folder}: benchmarks.json, benchmarks.md")
    if failed:
        raise PoseError(f"Not measured: {', '.join(failed)}. What they said stands above.")


def kept(file: Path, now: measured.Row) -> measured.Row | None:
    """What an earlier file has; PoseError where it comes from another machine or other versions."""
    if not file.is_file():
        return None
    earlier = measured.read(file)
    if any(earlier[key] != now[key] for key in ("machine", "versions")):
        raise PoseError(f"{file} is of another machine or of other versions: name another out=.")
    return earlier


def one(name: str, words: Sequence[str]) -> measured.Row:
    """The part of the file that a benchmark makes; its own tables go to the screen."""
    said = command(" ".join(("benchmark", name, *words)))
    before, began = measured.load(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="featherpose-benchmark-") as scratch:
        file = Path(scratch) / "rows.json"
        call = [sys.executable, "-m", "featherpose", "benchmark", name, *words, f"json={file}"]
        done = subprocess.run(call, check=False)
        rows = measured.read(file)["parts"][0]["rows"] if file.is_file() else []
    part: measured.Row = {"name": name, "command": said, "rows": rows}
    part |= {"seconds": round(time.monotonic() - began, 1), "load": [before, measured.load()]}
    if done.returncode or not rows:
        part["failed"] = f"it ended with code {done.returncode}"
    return part
