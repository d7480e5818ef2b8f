"""The picture at a run's end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featherpose.training import summary


def test_the_picture_shows_the_last_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    person = SimpleNamespace(visible=np.ones(2), centre=np.zeros(2), scale=1.0)
    people = SimpleNamespace(persons=[person] * 4)
    data = SimpleNamespace(val_people=people, load=lambda person: None, skeleton=None)
    outputs, persons = 3, 2
    keypoints = np.arange(outputs * persons * 4, dtype=float).reshape(outputs, persons, 2, 2)
    drawn: list[np.ndarray] = []
    blank = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(summary, "draw_pose", lambda picture, joints, *_: drawn.append(joints))
    monkeypatch.setattr(summary, "around", lambda *_: blank)
    found = {"index": np.array([3, 1]), "keypoints": keypoints}
    summary.prediction_picture(tmp_path, data, found)
    np.testing.assert_array_equal(drawn, keypoints[2])
