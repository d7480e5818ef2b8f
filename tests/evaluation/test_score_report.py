"""The line under every score: how it was measured."""

from __future__ import annotations

from typing import Any

from featherpose.evaluation.score_report import UNKNOWN, conditions, differences


def record(**changes: Any) -> dict[str, Any]:
    protocol = {
        "name": "paper_tta",
        "flip": True,
        "shift": True,
        "decoder": "quarter",
        "boxes": "ground_truth",
        "mean": "weighted",
    }
    given = {key: changes.pop(key) for key in tuple(changes) if key in protocol}
    return {
        "protocol": protocol | given,
        "main": "PCKh@0.5",
        "persons": 2958,
        "expected": 2958,
        "skipped": {},
        "annotations": {"gt_valid.mat": "0123456789abcdef" * 4},
        "dataset": "mpii",
        "split": "val",
        "precision": "32-true",
        **changes,
    }


def test_how_it_was_measured_in_one_line() -> None:
    assert conditions(record()) == (
        "protocol paper_tta: flip test with shift, decoder quarter, annotated boxes, weighted mean; "
        "2,958 persons; annotations 01234567"
    )
    told = conditions(record(flip=False, decoder="dark", boxes="detections", main="AP"))
    assert told.startswith("protocol paper_tta: no flip test, decoder dark, detected boxes; 2,958")
    assert "flip test without shift" in conditions(record(shift=False))
    assert conditions(record(name=UNKNOWN)).startswith("protocol unknown (a prediction file), ann")
    some = conditions(record(persons=40, skipped={"crowd": 3, "no keypoints": 1000}))
    assert "; 40 of 2,958 persons only, 1,003 left out; " in some
    assert conditions(record(annotations={})).endswith("annotations drawn on demand")


def test_only_what_differs_is_named() -> None:
    assert differences([record(), record()]) == []
    (line,) = differences([record(), record(decoder="dark")])
    assert "decoder: [1] quarter, [2] dark" in line
