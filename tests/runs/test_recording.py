"""A run around which run.json is kept: its beginning, its end, whatever the end is."""

from __future__ import annotations

import errno
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.runs.record import RunRecord
from featherpose.runs.recording import Recording


def recorded(folder: Path) -> RunRecord:
    record = RunRecord.read(folder)
    assert record is not None
    return record


def test_a_run_from_begin_to_end(tmp_path: Path) -> None:
    with Recording(tmp_path, name="x", seed=3) as recording:
        recording.update(device="cpu", wandb={"id": "a"})
        assert (tmp_path / "heartbeat").is_file()
        assert recorded(tmp_path).state == "running"
    record = recorded(tmp_path)
    assert (record.state, record.exit_code, record.seed) == ("finished", 0, 3)
    assert record.versions["python"] == platform.python_version()
    assert record.versions["numpy"] == np.__version__
    assert record.dashboard("wandb") == {"id": "a"}
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"changes.diff"} == {"run.json"}  # that one where the code is not committed


@pytest.mark.parametrize(
    ("error", "state", "code", "text"),
    [
        (PoseError("The picture is missing."), "failed", 1, "The picture is missing."),
        (
            OSError(errno.ENOSPC, "No space left", "last.ckpt"),
            "failed",
            1,
            "The disk is full: last",
        ),
        (ValueError("odd"), "failed", 1, "ValueError: odd"),
        (SystemExit(3), "failed", 3, "SystemExit: 3"),
        (SystemExit(143), "interrupted", 143, None),
        (KeyboardInterrupt(), "interrupted", 130, None),
    ],
)
def test_an_end_is_recorded_in_the_words_of_the_terminal(
    tmp_path: Path, error: BaseException, state: str, code: int, text: str | None
) -> None:
    with pytest.raises(type(error)), Recording(tmp_path):
        raise error
    record = recorded(tmp_path)
    assert (record.state, record.exit_code) == (state, code)
    assert record.error == text or (text and str(record.error).startswith(text))


def test_a_disk_that_stays_full_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    def fails() -> None:
        with Recording(tmp_path):
            monkeypatch.setattr(RunRecord, "write", full)
            raise ValueError("the run's own")

    with pytest.raises(ValueError, match="the run's own"):
        fails()


def test_a_resumed_run_keeps_its_history_and_loses_its_leftovers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Recording(tmp_path, name="x"):
        raise KeyboardInterrupt
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / "checkpoints" / f".last.{gone.pid}.part.ckpt"
    left.parent.mkdir()
    left.write_bytes(b"half")
    started = recorded(tmp_path).started
    with Recording(tmp_path) as recording:
        assert not left.exists()
        assert recording.record.name == "x"
    record = recorded(tmp_path)
    assert (record.started, record.error, len(record.resumed)) == (started, None, 1)


def test_other_processes_of_a_run_write_nothing(tmp_path: Path) -> None:
    with Recording(tmp_path / "run", writes=False):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_damaged_record_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"na')
    with pytest.raises(PoseError, match=r"run\.json can't be read"):
        Recording(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"na'


def test_runs_need_no_trainer() -> None:
    code = (
        "import sys, featherpose.runs.recording, featherpose.runs.commands, featherpose.sweeps.job\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('lightning', 'torch')"
        " or name.startswith('featherpose.training')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
