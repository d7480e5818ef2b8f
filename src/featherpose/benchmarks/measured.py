"""What was measured, as JSON that other programs read, and as tables."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.machine import cores, processor
from featherpose.runs.recording import git_state, now, versions

SCHEMA = 1
RUNTIMES = ("onnxruntime", "openvino", "ai-edge-litert", "ncnn")
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One thing, with what it was measured beside: both once in each round, in turn."""

    what: str
    unit: str
    rounds: Sequence[float]
    beside: str = ""
    reference: Sequence[float] = ()  # of the same rounds
    facts: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> Row:
        """As in the file: median and quartiles; `ratio` is the median of this over the reference, round by round."""
        low, median, high = (float(each) for each in np.quantile(self.rounds, [0.25, 0.5, 0.75]))
        row: Row = {"what": self.what, "unit": self.unit, "median": median, "low": low}
        row |= {"high": high, "rounds": len(self.rounds)}
        if self.beside:
            row |= {"beside": self.beside, "beside_median": float(np.median(self.reference))}
            row["ratio"] = float(np.median(np.divide(self.rounds, self.reference)))
        return row | ({"facts": dict(self.facts)} if self.facts else {})


def beside_first(
    what: str, seconds: Mapping[str, Sequence[float]], unit: str = "CPU ms"
) -> list[Measured]:
    """Milliseconds of each but the first, beside the first; `what` has a {} for the name."""
    scaled = {name: [1e3 * each for each in rounds] for name, rounds in seconds.items()}
    base, *others = scaled
    return [Measured(what.format(name), unit, scaled[name], base, scaled[base]) for name in others]


def begin() -> Row:
    """The head of a file: when, where, and with which versions."""
    head = {"schema": SCHEMA, "started": now(), "machine": machine(), "versions": known_versions()}
    return head | {"commit": commit(), "parts": []}


def commit() -> str | None:
    """With a + where tracked files differed from it; None outside of a checkout."""
    state = git_state()
    return state.commit and state.commit + "+" * bool(state.dirty)


def short(commit: str | None) -> str:
    return "unknown" if commit is None else commit[:9] + "+" * commit.endswith("+")


def known_versions() -> dict[str, str]:
    """As of a run, and of what files run in."""
    found = versions()
    for package in RUNTIMES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def machine() -> Row:
    import torch

    return {
        "processor": processor(),
        "cores": cores(),
        "vectors": torch.backends.cpu.get_cpu_capability(),  # AVX2, AVX512: names alone hide it
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def load() -> float | None:
    """How many processes wanted to run during the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def part(name: str, rows: Iterable[Measured], **more: Any) -> Row:
    return {"name": name, **more, "rows": [each.row() for each in rows]}


def write(found: Row, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found, indent=1) + "\n")


def read(path: Path) -> Row:
    """PoseError where it is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PoseError(f"There is no file {path}.") from error
    except ValueError as error:
        raise PoseError(f"{path} is not JSON: {error}.") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or "parts" not in found:
        raise PoseError(f"{path} is not a file of benchmarks of schema {SCHEMA}.")
    return found


def tables(found: Row) -> str:
    """Markdown: the machine, and a table for each part."""
    here, made = found["machine"], found["versions"]
    known = [
        f"{name} {made[name]}" for name in ("torch", "onnxruntime", "openvino") if name in made
    ]
    vectors = f" with {here['vectors']}" if "vectors" in here else ""
    lines = [
        "# Benchmarks of one machine",
        "",
        f"{here['processor']}, {here['cores']} cores{vectors}, {here['memory_gib']:g} GiB; {', '.join(known)}; "
        f"commit {short(found['commit'])}; {found['started'][:10]}.",
        "",
    ]
    for each in found["parts"]:
        lines += [f"## {each['name']}", "", f"`{each['command']}`", ""]
        if each.get("failed"):
            lines += [f"It failed: {each['failed']}", ""]
            continue
        before, after = each["load"]
        busy = "" if before is None else f", load {before:g} before and {after:g} at the end"
        other = ""
        if each.get("commit") not in (None, found["commit"]):  # measured again, later than the rest
            other = f"; commit {short(each['commit'])}"
            other += f"; {each['started'][:10]}" if "started" in each else ""
        lines += [f"{each['seconds']:.0f} s{busy}{other}.", ""]
        lines += ["| what | median | quartiles | beside | ratio |", "|---|---:|---:|---|---:|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in each["rows"]]
        lines.append("")
    return "\n".join(lines)


def cells(row: Row) -> list[str]:
    def text(value: float) -> str:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"

    spread = f"{text(row['low'])} to {text(row['high'])}" if row["rounds"] > 1 else "once"
    beside = f"{row['beside']}: {text(row['beside_median'])}" if "beside" in row else ""
    ratio = f"{row['ratio']:.3g}" if "ratio" in row else ""
    return [row["what"], f"{text(row['median'])} {row['unit']}", spread, beside, ratio]
