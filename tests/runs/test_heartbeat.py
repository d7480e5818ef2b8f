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

from featherpose.errors import PoseError
from featherpose.runs import heartbeat
from featherpose.runs.heartbeat import Heartbeat, died, last_sign, machine, refuse_while_it_runs
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


def test_a_folder_that_is_being_trained_in_is_refused(tmp_path: Path, gone: int) -> None:
    here = {"host": socket.gethostname(), "machine": machine()}
    with pytest.raises(PoseError, match=f"trained in by process {os.getppid()} on"):
        refuse_while_it_runs(tmp_path, running(pid=os.getppid(), **here))
    refuse_while_it_runs(tmp_path, running(pid=os.getpid(), **here))  # once more in a notebook
    refuse_while_it_runs(tmp_path, running(pid=gone, **here))
    refuse_while_it_runs(tmp_path, RunRecord(state="failed", pid=os.getppid(), **here))


def test_a_process_that_waits_to_be_reaped_is_dead(tmp_path: Path) -> None:
    """As in a container whose first process reaps nobody."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = running(pid=process.pid, host=socket.gethostname(), machine=machine())
    record.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    assert died(tmp_path, record) is None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert died(tmp_path, record) is not None
    process.communicate()


def test_a_run_of_another_machine_shows_itself_or_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = running(pid=1, host="pod-1", machine="another boot")
    beat(tmp_path, 30)
    monkeypatch.setattr(heartbeat.time, "sleep", lambda _: beat(tmp_path, 20))
    with pytest.raises(PoseError, match="trained in by process 1 on pod-1"):
        refuse_while_it_runs(tmp_path, there)
    assert "waiting up to 90 seconds" in capsys.readouterr().out.replace("\n", " ")
    monkeypatch.setattr(heartbeat.time, "sleep", lambda _: (tmp_path / "heartbeat").unlink())
    refuse_while_it_runs(tmp_path, there)  # it came to its end meanwhile
    beat(tmp_path, 30)
    hours = iter(range(0, 10**6, 3600))
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: next(hours))
    refuse_while_it_runs(tmp_path, there)  # killed: nothing stirs
