"""metrics.csv, written and read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from featherpose.errors import PoseError
from featherpose.runs import metrics_csv


def test_rows_come_back_with_gaps_where_an_epoch_has_no_value(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = [
        {"epoch": 0, "step": 3, "train/loss": 2.0},
        {"epoch": 1, "step": 7, "train/loss": 1 / 3, "val/score": 30.25},
    ]
    metrics_csv.write(path, rows)
    assert path.read_text() == (
        "epoch,step,train/loss,val/score\n0,3,2,\n1,7,0.3333333333333333,30.25\n"
    )
    assert metrics_csv.read(path) == rows


def test_nothing_yet_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert metrics_csv.read(path) == []
    path.write_text("")
    assert metrics_csv.read(path) == []
    path.write_text("epoch,step\n0,1\n1\n")  # a row cut off by a power failure
    assert metrics_csv.read(path) == [{"epoch": 0, "step": 1}, {"epoch": 1}]


@pytest.mark.parametrize(
    "content",
    [bytes(range(256)), b"epoch,step\n0,1\n1,2,3,4\n", b"a,b\n1,2\n", b"epoch,step\nx,y\n"],
)
def test_damage_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(PoseError, match=r"metrics\.csv.* can't be read"):
        metrics_csv.read(path)


def test_steps_are_appended_and_a_run_that_goes_on_drops_what_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    steps = metrics_csv.Steps(path)
    for step in (50, 100, 150):
        steps.add({"step": step, "train/step/loss": 1.5})
    again = metrics_csv.Steps(path)
    again.add({"step": 100, "train/step/loss": 2.0})
    again.add({"step": 150, "train/step/loss": 3.0})
    again.add({"step": 200, "train/step/loss": 4.0, "train/step/gradient_norm": 9.0})
    assert path.read_text() == (
        "step,train/step/loss,train/step/gradient_norm\n50,1.5,\n100,2,\n150,3,\n200,4,9\n"
    )
