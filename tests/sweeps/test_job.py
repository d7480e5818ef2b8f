"""How a job of an earlier sweep stands when the sweep is taken up."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from featherpose.runs.record import RunRecord
from featherpose.sweeps.job import Job

NOW = datetime.now(timezone.utc).isoformat(timespec="seconds")


def job(folder: Path, force: bool = False) -> Job:
    return Job(0, ["seed=0"], folder, [], OmegaConf.create(), force=force)


@pytest.mark.parametrize(
    ("age", "force", "taken"), [(20, False, False), (20, True, True), (400, False, True)]
)
def test_a_job_on_another_host_is_taken_when_it_is_silent_or_by_a_word(
    tmp_path: Path, age: float, force: bool, taken: bool
) -> None:
    RunRecord(state="running", host="pod-7", pid=1, machine="other", started=NOW).write(tmp_path)
    beat = tmp_path / "heartbeat"
    beat.touch()
    os.utime(beat, (time.time() - age,) * 2)
    found = job(tmp_path, force)
    assert found.to_run() == taken
    assert found.state == ("interrupted" if taken else "running")
    assert taken or "sweep.force=true" in str(found.error)


def test_what_has_ended_stays_and_what_is_damaged_is_run(tmp_path: Path) -> None:
    RunRecord(state="finished").write(tmp_path)
    assert not job(tmp_path).to_run()
    RunRecord(state="failed", error="no such luck").write(tmp_path)
    assert job(tmp_path).to_run()
    (tmp_path / "run.json").write_text("[]")
    assert job(tmp_path).to_run()
