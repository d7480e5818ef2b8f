"""The line under every score: how it was measured."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from featherpose.evaluation.score_report import UNKNOWN, conditions, differences, wrong


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
    assert conditions(record(annotations={})).endswith("annotations of no file")


@pytest.mark.parametrize("main", ["AP", "PCKh@0.5", "PCKh(12 joints)@0.5"])
def test_what_goes_wrong_fits_a_terminal(capsys: Any, main: str) -> None:
    shares = {"right": 60.0, "jitter": 20.0, "inversion": 10.0, "swap": 5.0, "miss": 5.0}
    parts = [
        {"by": by, "name": name, "joints": 12345, "score": 61.25, **shares}
        for by, name in (("joint", "right_shoulder"), ("size", "100 to 250 px"), ("rotation", "90"))
    ]
    counts = {"right": 6, "jitter": 2, "inversion": 1, "swap": 1, "miss": 0}
    found = {"joints": {"wrist": counts}, "gain": {"jitter": 1.5, "miss": 0.0}, "parts": parts}
    for each in wrong(record(errors=found, main=main)):
        Console(width=80).print(each)
    lines = capsys.readouterr().out.splitlines()
    assert "jitter 20.0% (+1.50)" in " ".join(" ".join(lines[:3]).split())
    assert "…" not in "".join(lines)
    assert any(
        line.split() == "size 100 to 250 px 12,345 61.2 60.0 20.0 10.0 5.0 5.0".split()
        for line in lines
    )
    assert list(wrong(record())) == []


def test_only_what_differs_is_named() -> None:
    assert differences([record(), record()]) == []
    (line,) = differences([record(), record(decoder="dark")])
    assert "decoder: [1] quarter, [2] dark" in line
