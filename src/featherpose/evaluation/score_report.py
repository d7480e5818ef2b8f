"""What an evaluation says: metrics.json, the table on the screen, and comparisons that name what differs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from featherpose import intervals
from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.intervals import Evidence
from featherpose.metrics.average_precision import NAMES

Record = dict[str, Any]
UNKNOWN = "unknown"  # of a prediction file: how it was made
CONDITIONS = {
    "dataset": "dataset",
    "split": "split",
    "main": "measure",
    "only": "joints scored",
    "protocol.flip": "flip test",
    "protocol.shift": "heatmap shift",
    "protocol.decoder": "decoder",
    "protocol.boxes": "boxes",
    "protocol.mean": "mean over joints",
    "precision": "arithmetic",
    "persons": "persons scored",
    "annotations": "annotations",
}
SAME_PEOPLE = ("dataset", "split", "main", "only", "protocol.mean", "persons", "annotations")


def write(path: Path, record: Record) -> None:
    """metrics.json; a number that could not be measured is null."""
    write_atomically(path, json.dumps(_plain(record), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def file_of(path: str | Path) -> Path:
    """metrics.json of a folder; a file as it is."""
    path = Path(path)
    return path / "metrics.json" if path.is_dir() else path


def read(path: str | Path) -> Record:
    """An earlier metrics.json, or that of a folder."""
    path = file_of(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            **record,
            "name": record.get("name") or path.parent.name,
            "scores": dict(record["scores"]),
        }
    except FileNotFoundError as error:
        raise PoseError(f"There is no {path} to compare with.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PoseError(f"{path} is no metrics.json of an evaluation.") from error


def show(console: Console, record: Record) -> None:
    """Scores by column, a row for each stage; then what they are measured on and by."""
    main, scores = record["main"], record["scores"]
    columns = (
        [name for name in scores if name.startswith("joint/")]
        if main.startswith("PCK")
        else list(NAMES[1:])
    )
    title = f"{record['name']}: {main} on {record['dataset']} {record['split']}"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
    table.add_column("")
    table.add_column(main, justify="right", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column.removeprefix("joint/"), justify="right", no_wrap=True)
    decimals = (
        2 if main.startswith("PCK") else 1
    )  # as the papers' tables; COCO's ten fit a narrow terminal so
    stages = record["stages"] or [scores]
    for number, stage in enumerate(stages, start=1):
        names = record.get("stage_names") or []
        label = names[number - 1] if len(names) == len(stages) else f"stage {number}"
        label = "" if len(stages) == 1 else label
        table.add_row(
            label, _number(stage.get(main), 3), *(_number(stage.get(c), decimals) for c in columns)
        )
    console.print(table)
    others = {name: value for name, value in scores.items() if name not in columns and name != main}
    if others:
        console.print("  ".join(f"{name} {_number(value, 3)}" for name, value in others.items()))
    if sure := record.get("confidence"):
        console.print(
            f"confidence: calibration error {sure['error_before']:.3f}, {sure['error_after']:.3f} as the chance to be "
            f"within {sure['near']}; F1 is highest ({sure['f1']:.2f}) from {sure['threshold']:.2f} on"
        )
    for each in (*wrong(record), *pixels(record)):
        console.print(each)
    console.print(f"[dim]{conditions(record)}[/]")


def wrong(record: Record) -> Iterator[str | Table]:
    """The errors by kind with what mending them would give, and the parts of the score; nothing of old records."""
    found = record.get("errors")
    if not found:
        return
    total = sum(n for joint in found["joints"].values() for n in joint.values())
    kinds = [
        f"{name} {100 * sum(joint[name] for joint in found['joints'].values()) / total:.1f}% "
        f"({gain:+.2f})"
        for name, gain in found["gain"].items()
    ]
    yield f"wrong joints, and the {record['main']} that mending them gives: {', '.join(kinds)}"
    if found.get("parts"):
        yield "taken apart, in percent:"
        yield _parts(found["parts"], record["main"])


def _parts(parts: Sequence[Mapping[str, Any]], main: str) -> Table:
    """A row a part, a line between joints, sizes, occlusion and rotations."""
    shares = ("right", "jitter", "inversion", "swap", "miss")
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)  # 80 columns wide
    table.add_column("by", no_wrap=True)
    table.add_column("", no_wrap=True)
    score = main if len(main) <= len("PCKh@0.5") else "score"  # a long name stands two lines up
    for name in ("joints", score, "correct", *shares[1:]):  # beside joints of the right side
        table.add_column(name, justify="right", no_wrap=True)
    before = parts[0]["by"]
    for part in parts:
        if part["by"] != before:
            table.add_section()
        values = [_number(part[share], 1) for share in ("score", *shares)]
        by = part["by"] if part is parts[0] or part["by"] != before else ""
        table.add_row(by, part["name"], f"{part['joints']:,}", *values)
        before = part["by"]
    return table


def pixels(record: Record) -> Iterator[Table]:
    """How far off each joint is in the pictures; nothing of old records."""
    rows = record.get("pixels")
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("error in pixels", no_wrap=True)
    names = {
        "joints": "joints",
        "mean": "mean",
        "p50": "half",
        "p75": "75%",
        "p90": "90%",
        "p95": "95%",
    }
    for heading in names.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        values = [_number(row[name], 1) for name in names if name != "joints"]
        table.add_row(row["joint"], f"{row['joints']:,}", *values)
    yield table


def conditions(record: Record) -> str:
    """One line: by which protocol, on how many persons of which annotations."""
    protocol = record["protocol"]
    if protocol["name"] == UNKNOWN:
        how = "protocol unknown (a prediction file)"
    else:
        flip = "no flip test"
        if protocol["flip"]:
            flip = "flip test with shift" if protocol["shift"] else "flip test without shift"
        how = f"protocol {protocol['name']}: {flip}, decoder {protocol['decoder']}"
    mean = f", {protocol['mean']} mean" if record["main"].startswith("PCK") else ""
    boxes = {"ground_truth": ", annotated boxes", "detections": ", detected boxes"}.get(
        protocol["boxes"], ""
    )
    left_out = sum(record["skipped"].values())
    skipped = f", {left_out:,} left out" if left_out else ""
    people = f"{record['persons']:,} persons"
    if record["persons"] != record["expected"]:
        people = f"{record['persons']:,} of {record['expected']:,} persons only"
    bounds = record.get("interval")
    if bounds and None not in bounds:
        people = f"95% of draws over pictures in {bounds[0]:.2f} to {bounds[1]:.2f}; {people}"
    return f"{how}{boxes}{mean}; {people}{skipped}; annotations {fingerprint(record)}"


def fingerprint(record: Record) -> str:
    """Eight figures of the annotations' checksums."""
    return " ".join(checksum[:8] for checksum in record["annotations"].values()) or "of no file"


def differences(records: Sequence[Record]) -> list[str]:
    """In what these results, numbered from 1, were not measured alike: one line each."""
    lines = []
    for key, name in CONDITIONS.items():
        values = [_condition(record, key) for record in records]
        if UNKNOWN in values:
            lines.append(f"{name}: not known of [{values.index(UNKNOWN) + 1}]")
        elif len(set(values)) > 1:
            lines.append(
                f"{name}: " + ", ".join(f"[{n}] {value}" for n, value in enumerate(values, start=1))
            )
    return lines


def _condition(record: Record, key: str) -> str:
    if key == "annotations":
        return "+".join(sorted(checksum[:8] for checksum in record["annotations"].values()))
    if key == "only":
        return " ".join(record.get("only") or ["all"])
    if key == "protocol.shift" and record["protocol"].get("flip") is False:
        return "False"  # read with a flip test only
    value: Any = record
    for part in key.split("."):
        value = value.get(part, UNKNOWN)
    return str(value)


def compare(
    console: Console, records: Sequence[Record], evidence: Sequence[Evidence | None]
) -> None:
    """Results beside each other, what the first gains on each, and in bold what makes them not comparable."""
    table = Table(title="compared", title_justify="left")
    table.add_column("")
    for record in records:
        number = len(table.columns)
        heading = Text(f"[{number}] {record['name']}\n{record['protocol']['name']}")
        table.add_column(heading, justify="right", overflow="fold")
    for name in dict.fromkeys(name for record in records for name in record["scores"]):
        table.add_row(name, *(_number(record["scores"].get(name), 2) for record in records))
    gains = [
        _gain(record, kept, records[0], evidence[0])
        for record, kept in zip(records[1:], evidence[1:], strict=True)
    ]
    if any(gains):
        table.add_section()
        table.add_row(f"{records[0]['main']} of [1] minus this", "", *gains, style="bold")
    console.print(table)
    found = differences(records)
    if found:
        so = "that is part of the difference" if all(gains) else "do not compare the numbers"
        console.print(f"[bold yellow]These were not measured alike; {so}:[/]")
        for line in found:
            console.print(f"  {line}", markup=False)


def _gain(record: Record, kept: Evidence | None, new: Record, evidence: Evidence | None) -> str:
    """The paired difference with its interval; nothing where other people, or another measure, were scored."""
    alike = all(_condition(record, key) == _condition(new, key) for key in SAME_PEOPLE)
    if kept is None or evidence is None or not alike:
        return ""
    found = intervals.difference([kept], [evidence])
    return "" if found is None else found.judged()


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"
