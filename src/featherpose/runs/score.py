"""One score of a run: of its own validation, or of a later evaluation that lies beside it in `scores/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from featherpose import intervals
from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.intervals import Evidence
from featherpose.runs.record import RunRecord
from featherpose.runs.typed import build

FOLDER = "scores"
PREDICTIONS = "predictions/val.npz"  # keypoints of every stage beside the annotated ones
EVIDENCE = "predictions/evidence.npz"  # of the own score
ERRORS = "predictions/errors.csv"  # likewise: it taken apart
AVERAGE_PRECISION = ("AP50", "AP75", "AP(M)", "AP(L)", "AR")  # beside AP in COCO's tables


@dataclass(frozen=True)
class Score:
    """What was measured, and all that it depends on beside the network."""

    metric: str = "score"  # the main score's published name, e.g. PCKh@0.5
    values: dict[str, float] = field(default_factory=dict)  # `score`, `joint/head`, `AP50`
    data: str = "?"  # of the people that were scored
    split: str = "val"
    persons: int | None = None  # annotated ones
    input_size: list[int] = field(default_factory=list)  # height, width
    protocol: dict[str, Any] = field(default_factory=dict)  # `Protocol`, as it was applied
    precision: str | None = None
    interval: list[float] = field(default_factory=list)  # 95%: low, high
    evidence: str | None = None  # in the run's folder: what differences are drawn from
    errors: str | None = None  # in the run's folder: it taken apart, see `wrong.read`
    epoch: int | None = None  # of the best checkpoint, which is what was scored

    @property
    def value(self) -> float | None:
        return self.values.get("score")

    @property
    def words(self) -> str:
        """All that the score depends on, in a few words; equal words mean comparable scores."""
        protocol = self.protocol
        flip = "no flip"
        if protocol.get("flip"):
            flip = "flip + shift" if protocol.get("shift") else "flip"
        split = "" if self.split == "val" else f" {self.split}"
        words = [
            f"{self.data}{split}",
            f"{'?' if self.persons is None else self.persons} persons",
            "x".join(map(str, self.input_size)) or "?",
            flip,
            str(protocol.get("decoder", "?")),
            f"{str(protocol.get('boxes', '?')).replace('_', ' ')} boxes",
        ]
        if not self.metric.startswith("AP"):  # which has no mean over joints to choose
            words.append(f"{protocol.get('mean', '?')} mean")
        if self.precision:
            words.append(self.precision)
        return ", ".join(words)

    def write(self, run: Path, evidence: Evidence | None = None, errors: str | None = None) -> Path:
        """Into the run's folder, in the place of an earlier score that was measured in the same way.

        `evidence` and the table of `errors` are kept beside it.
        """
        same = json.dumps([self.metric, self.words, self.protocol], sort_keys=True)
        digest = hashlib.sha256(same.encode()).hexdigest()[:8]
        path = run / FOLDER / f"{self.data}-{self.protocol.get('name', 'score')}-{digest}.json"
        content = asdict(self)
        if evidence is not None:
            content["evidence"] = f"{FOLDER}/{path.stem}.npz"
            intervals.save(path.with_suffix(".npz"), evidence)
        if errors is not None:
            content["errors"] = f"{FOLDER}/{path.stem}-errors.csv"
            write_atomically(run / content["errors"], errors)
        write_atomically(path, json.dumps(content, indent=2) + "\n")
        return path


def of_training(record: RunRecord, size: list[int] | None = None) -> Score:
    """The best checkpoint's final score as training measured it."""
    values = {name.removeprefix("val/"): value for name, value in record.scores.items()}
    return Score(
        metric=main_of(values),
        values=dict(values),
        data=record.data.scored_on or record.data.name or "?",
        split=record.data.split,
        persons=record.data.val if record.scored is None else record.scored,
        input_size=record.data.input_size or size or [],
        protocol=record.protocol,
        precision=record.precision,
        interval=record.interval,
        evidence=EVIDENCE,
        errors=ERRORS,
        epoch=record.best.epoch if record.best else None,
    )


def main_of(values: Mapping[str, float]) -> str:
    """Which of the named scores is the main one: the first with its value."""
    kept = ("score", "loss", "epoch", "step")
    plain = [name for name in values if "/" not in name and name not in kept]
    same = [name for name in plain if values[name] == values.get("score")]
    return (same or plain or ["score"])[0]


def of_evaluations(run: Path) -> list[Score]:
    """What was evaluated later, in the order of the files' names."""
    return [_read(path) for path in sorted((run / FOLDER).glob("*.json"))]


def _read(path: Path) -> Score:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PoseError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise PoseError(f"{path} is {content!r:.40}, not a score.")
    return build(Score, content, str(path))
