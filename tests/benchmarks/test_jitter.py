"""The table of trembling: a row for each way of predicting, measured against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from featherpose.benchmarks.jitter import COLUMNS, distance, of_films, run
from featherpose.errors import PoseError
from featherpose.inference.pose import Pose
from featherpose.skeletons import COCO
from featherpose.synthetic.moving import film


def test_every_way_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "below" / "jitter.csv"
    run(people=1, frames=6, decoders=["argmax"], flips=[False], threads=1, out=str(out))
    table = pd.read_csv(out)
    assert list(table.columns) == list(COLUMNS)
    assert table["smooth"].tolist() == [False, True]
    assert table["trembles"][1] < table["trembles"][0]
    assert table["still_off"].max() < 10  # of a hundred: the network sees painted people
    assert "1 people, 6 frames" in capsys.readouterr().out


def test_the_truth_itself_has_no_error() -> None:
    for moves in (False, True):
        one = film(0, 0, 5, 25.0, moves, 0.0, COCO)
        found = of_films([one.joints], [one], Pose("light", threads=1))
        assert found.acceleration == 0
        assert distance([one.joints + np.array([3.0, 4.0])], [one]) > 0
        if not moves:
            assert found.displacement == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"decoders": ["best"]}, "decoders"),
        ({"frames": 3}, "frames is 3"),
        ({"noise": -1}, "noise"),
        ({"out": "a.txt"}, "has to be a .csv"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        run(**wrong)
