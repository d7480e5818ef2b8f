"""`featherpose data sigmas`: from two hands' files to an AP by their own sigmas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from featherpose.cli import data_sigmas
from featherpose.errors import UsageError
from featherpose.metrics.oks import OKS
from featherpose.skeletons import skeleton_of
from tests.small_sets import coco_json

NAMES = ("head", "left_wrist", "right_wrist")


def hand(path: Path, shift: float) -> Path:
    """Six people, each joint but the first `shift` pixels further right."""
    content = coco_json(6, joints=3, names=NAMES)
    for annotation in content["annotations"]:
        table = np.array(annotation["keypoints"]).reshape(3, 3)
        table[1:, 0] += shift
        annotation["keypoints"] = table.ravel().tolist()
    path.write_text(json.dumps(content))
    return path


def test_two_files_give_the_sigmas_that_oks_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sigmas.json"
    words = [str(hand(tmp_path / "a.json", 0)), str(hand(tmp_path / "b.json", 6))]
    assert data_sigmas.main([*words, "--out", str(out)]) == 0
    expected = round(6 / np.sqrt(2 * 5000.0), 4)  # d / s, and two hands
    assert json.loads(out.read_text())["estimated"] == {
        "head": 0.067,  # nobody has it
        "left_wrist": expected,
        "right_wrist": expected,
    }
    said = capsys.readouterr().out
    assert "few pairs" in said
    assert "6 people were labelled twice, 0 once" in said
    assert "nobody has head twice" in said
    skeleton = skeleton_of({"name": "three", "joints": NAMES})
    metric = OKS([], skeleton, sigmas=str(out))
    assert metric.sigmas == (0.067, expected, expected)
    assert metric.main.startswith("AP(estimated sigmas ")
    with pytest.raises(UsageError, match="is there already"):
        data_sigmas.main([*words, "--out", str(out)])
