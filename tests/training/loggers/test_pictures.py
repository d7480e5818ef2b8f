"""Pictures and tables of samples on dashboards that are not everywhere; the others are tested with runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from featherpose.training.loggers.identity import Identity
from featherpose.training.loggers.others import TrackioRun, mlflow_logger
from featherpose.training.loggers.pictures import SampleTable, log_picture, log_table

TABLE = SampleTable(
    ("sample", "error %"), [("1.jpg", 2.5), ("2.jpg", None)], [np.zeros((8, 16, 3), np.uint8)] * 2
)


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "worst_0003.jpg"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return path


def test_a_table_as_text() -> None:
    assert TABLE.in_markdown().splitlines() == [
        "| sample | error % |",
        "| --- | --- |",
        "| 1.jpg | 2.5 |",
        "| 2.jpg |  |",
    ]


def test_mlflow_shows_pictures_in_its_table(jpeg: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    logger = mlflow_logger(Identity(tmp_path / "run", "local"), str(tmp_path / "mlruns"))
    log_picture(logger, "worst", jpeg, 3, 70)
    log_table(logger, "samples", TABLE, 3, 70)
    log_table(logger, "samples", TABLE, 4, 90)
    (kept,) = tmp_path.glob("mlruns/*/*/artifacts")
    assert (kept / "worst" / jpeg.name).is_file()
    table = json.loads((kept / "samples" / "epoch_0003.json").read_text())
    assert table["columns"] == ["picture", "sample", "error %"]
    assert [row[1:] for row in table["data"]] == [["1.jpg", 2.5], ["2.jpg", None]]
    shown = kept / table["data"][0][0]["filepath"]
    assert shown.is_file()


def test_trackio_shows_pictures_in_its_table(
    jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio")
    from trackio import utils

    monkeypatch.setenv("TRACKIO_DIR", str(utils.TRACKIO_DIR))  # it is read once
    logger = TrackioRun(Identity(tmp_path / "run", "pictured"), project="pictures")
    log_picture(logger, "worst", jpeg, 3, 70)
    log_table(logger, "samples", TABLE, 3, 70)
    logger.close_run(0)
    kept: list[Path] = []
    for _ in range(100):  # a thread of trackio's writes it
        kept = [path for path in Path(utils.TRACKIO_DIR).rglob("*.*") if "pictured" in str(path)]
        if len(kept) >= 3:
            break
        time.sleep(0.1)
    assert len(kept) == 3
