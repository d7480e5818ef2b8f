"""Who lives and who has died, on this machine and elsewhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from featherpose.runs import heartbeat
from featherpose.runs.heartbeat import Heartbeat, died, last_sign, machine
from featherpose.runs.record import RunRecord

NOW = datetime.now(timezone.utc).isoformat(timespec="seconds")


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def beat(folder: Path, age: float) -> None:
    path = folder / "heartbeat"
    path.touch()
    os.utime(path, (time.time() - age,) * 2)


def running(**fields: Any) -> RunRecord:
    return RunRecord(state="running", started=NOW, **fields)


def test_on_its_own_machine_the_process_decides(tmp_path: Path, gone: int) -> None:
    beat(tmp_path, 4000)  # a process that was stopped for an hour is not dead
    here = {"host": socket.gethostname(), "machine": machine()}
    assert died(tmp_path, running(pid=os.getpid(), **here)) is None
    assert died(tmp_path, running(pid=gone, **here)) == pytest.approx(4000, abs=60)
    assert died(tmp_path, running(pid=os.getpid(), host=socket.gethostname())) is None
    later = running(pid=os.getpid(), **here)  # the number went to a process that began later
    later.started = "2020-01-01T00:00:00+00:00"
    assert died(tmp_path, later) is not None


@pytest.mark.parametrize("host", ["pod-1", socket.gethostname()])
def test_elsewhere_the_heartbeat_decides(tmp_path: Path, gone: int, host: str) -> None:
    """Another host; or a container with the same name, whose process numbers mean others."""
    there = running(pid=gone, host=host, machine="another boot")
    beat(tmp_path, 100)
    assert died(tmp_path, there) is None
    beat(tmp_path, 1000)
    assert died(tmp_path, there) == pytest.approx(1000, abs=60)


def test_without_a_heartbeat_the_newest_file_counts(tmp_path: Path, gone: int) -> None:
    there = running(pid=gone, host="pod-1")
    for name, age in (("run.json", 9000), ("checkpoints/last.ckpt", 2000)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    os.utime(tmp_path / "checkpoints", (time.time() - 9000,) * 2)
    assert died(tmp_path, there) == pytest.approx(2000, abs=60)
    (tmp_path / "metrics.csv").touch()
    assert died(tmp_path, there) is None


def test_ages_are_of_the_file_systems_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(tmp_path, 0)
    monkeypatch.setattr(heartbeat.time, "time", lambda: 0.0)
    assert last_sign(tmp_path) < 60


def test_what_does_not_run_has_not_died(tmp_path: Path) -> None:
    assert died(tmp_path, RunRecord(state="finished")) is None


def test_it_beats_while_the_run_lives(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, every=0.01):
        os.utime(tmp_path / "heartbeat", (0, 0))
        while last_sign(tmp_path) > 1000:
            time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []
