"""A run folder written into W&B afterwards, read back whole."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.runs.folder import Run
from featherpose.runs.record import RunRecord
from featherpose.training.loggers.upload import upload

from .test_dashboards import logged_out, when_closed  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("logged_out")
WriteRun = Callable[..., Path]


@pytest.fixture
def killed(write_run: WriteRun) -> Run:
    """Offline, resumed once, then killed: its process is gone."""
    folder = write_run(
        "lapx",
        state="running",
        config={"model": {"stages": 2}},
        wandb={"id": "old", "mode": "offline"},
        pid=2**30,
        host=socket.gethostname(),
        resumed=["2026-01-01T00:05:00+00:00"],
    )
    (folder / "steps.csv").write_text("step,train/step/loss\n2,3\n4,2.5\n6,2\n8,1.5\n")
    (folder / "pictures").mkdir()
    for name in ("preview_0001.png", "worst_0001.jpg"):
        cv2.imwrite(str(folder / "pictures" / name), np.zeros((8, 8, 3), np.uint8))
    return Run(folder)


def written(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "wandb").glob("offline-run-*"), key=os.path.getmtime)


def test_a_killed_and_resumed_run_is_whole(killed: Run, tmp_path: Path) -> None:
    said = upload(killed, tmp_path / "out")
    (place,) = written(tmp_path)
    assert said == (
        "lapx: 3 epochs, died (whole; the earlier W&B run old can go); "
        f"written for W&B: wandb sync {place}"
    )
    run = when_closed(place)
    assert run.by_epoch()["train/loss"].tolist() == [2.0, 1.5, 1.0]
    assert run.by_epoch()["val/score"].dropna().tolist() == [10.5, 30.25]
    assert run.summary["val/score"] == {"max": 30.25}
    assert run.history["train/step/loss"].dropna().tolist() == [3, 2.5, 2, 1.5]
    assert run.history["trainer/global_step"].tolist() == [2, 3, 4, 6, 7, 8, 11]
    assert {"preview.path", "worst.path"} <= set(run.by_epoch().loc[1].dropna().index)
    assert (run.name, run.group, run.config["model"]) == ("lapx", None, {"stages": 2})
    assert run.config["run"]["git"]["commit"] == "a" * 40
    assert run.exit_code == 1
    assert run.summary["state"] == "died"


def test_nothing_twice_and_what_went_on_anew(killed: Run, tmp_path: Path) -> None:
    upload(killed, tmp_path / "out")
    assert "nothing to do" in upload(Run(killed.folder), tmp_path / "out")
    assert len(written(tmp_path)) == 1
    with (killed.folder / "metrics.csv").open("a") as file:
        file.write("3,15,0.9,40.5,0.2\n")
    assert "4 epochs" in upload(Run(killed.folder), tmp_path / "out")
    assert len(written(tmp_path)) == 2
    assert when_closed(written(tmp_path)[-1]).summary["val/score"] == {"max": 40.5}


def test_a_finished_run_without_a_dashboard(write_run: WriteRun, tmp_path: Path) -> None:
    folder = write_run("plain", score=80.0, config={"model": {}})
    upload(Run(folder), tmp_path / "out", project="other")
    run = when_closed(written(tmp_path)[0])
    assert run.exit_code == 0
    assert run.summary["final/val/score"] == run.summary["best.score"] == 80.0
    assert run.summary["protocol"] == "paper_no_tta"
    record = RunRecord.read(folder)
    assert record is not None
    assert record.dashboard("uploaded")["mode"] == "offline"


def test_what_is_online_or_still_runs_is_left_alone(write_run: WriteRun, tmp_path: Path) -> None:
    wandb = {"id": "x", "mode": "online", "url": "https://example.org/x"}
    online = Run(write_run("online", wandb=wandb))
    assert "nothing to do, it was online" in upload(online, tmp_path / "out")
    alive = Run(write_run("alive", state="running"))  # on another machine, with a fresh sign
    with pytest.raises(PoseError, match="still runs"):
        upload(alive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
