"""Scores that a run's folder keeps: one place for each way of measuring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from featherpose.runs.score import Score, of_evaluations


def test_a_score_takes_the_place_of_one_that_was_measured_alike(tmp_path: Path) -> None:
    whole = Score("PCKh@0.5", {"score": 88.0}, "mpii", persons=10, input_size=[64, 64])
    limbs = replace(whole, metric="PCKh(12 joints)@0.5", values={"score": 80.0})
    for score in (whole, limbs, replace(limbs, values={"score": 81.0})):
        score.write(tmp_path)
    kept = {score.metric: score.value for score in of_evaluations(tmp_path)}
    assert kept == {"PCKh@0.5": 88.0, "PCKh(12 joints)@0.5": 81.0}
