"""Kill, stop and resume through the real command line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow


def start(python: str, root: Path, *words: str) -> subprocess.Popen[str]:
    command = [python, str(root / "src" / "train.py"), *words]
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    # No pipe: a dashboard's process that outlives a kill would keep it open
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, text=True, env=environment
    )
    process.log = log
    return process


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.wait(timeout=240)
    process.log.seek(0)
    return process.returncode, process.log.read()


def record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def wait_for_epoch(folder: Path, epoch: int, process: subprocess.Popen[str]) -> None:
    """Until that epoch's row is there; the next epoch is being trained then."""
    until = time.monotonic() + 200
    while time.monotonic() < until and process.poll() is None:
        path = folder / "metrics.csv"
        if path.is_file() and any(
            row.get("train/loss") for row in rows(path) if row["epoch"] == str(epoch)
        ):
            return
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"epoch {epoch} never came:\n{finished(process)[1][-3000:]}")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.timeout(900)  # four starts of the command line; minutes where the machine is busy
def test_killed_stopped_and_resumed_ends_like_the_undisturbed_run(
    root: Path, python: str, small: tuple[str, ...], tmp_path: Path, typed: Callable[[str], Any]
) -> None:
    words = [
        *small,
        "schedule.epochs=4",
        "data.people.train=24",
        "evaluate_best=false",
        f"paths.runs={tmp_path}",
    ]
    whole, folder = tmp_path / "whole", tmp_path / "killed and resumed"
    undisturbed = start(python, root, *words, f"hydra.run.dir={whole}", "logger=none")

    killed = start(python, root, *words, f"hydra.run.dir='{folder}'")
    wait_for_epoch(folder, 0, killed)
    killed.send_signal(signal.SIGKILL)
    assert finished(killed)[0] == -signal.SIGKILL
    assert record(folder)["state"] == "running"
    first = record(folder)["wandb"]["id"]

    stopped = start(python, root, f"resume='{folder}'")
    wait_for_epoch(folder, 1, stopped)
    stopped.send_signal(signal.SIGTERM)
    code, out = finished(stopped)
    assert code == 143, out[-3000:]
    assert "to go on: resume=" in out
    assert (record(folder)["state"], record(folder)["exit_code"]) == ("interrupted", 143)

    code, out = finished(start(python, root, f"ckpt_path='{folder / 'checkpoints' / 'last.ckpt'}'"))
    assert code == 0, out[-3000:]
    assert finished(undisturbed)[0] == 0

    end, expected = record(folder), record(whole)
    assert end["state"] == "finished"
    assert len(end["resumed"]) == 2
    assert end["name"] == expected["name"]
    assert end["wandb"]["id"] == first
    found = weights(folder)
    for name, value in weights(whole).items():
        assert torch.equal(value, found[name]), name

    ours, theirs = rows(folder / "metrics.csv"), rows(whole / "metrics.csv")
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs]
    for column in ("step", "val/loss", "val/score", "gamma/stage1", "lr"):
        assert [row[column] for row in ours] == [row[column] for row in theirs], column

    def kept() -> dict[Path, bytes]:
        return {
            path: path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".resumed" not in path.parts
        }

    before = kept()
    for mistake, sentence in (
        ("data=synthetic_coco", "is of the skeleton mpii"),
        ("model.channels=32", "another network"),
    ):
        refused = typed(f"train \"ckpt_path='{folder / 'checkpoints' / 'last.ckpt'}'\" {mistake}")
        assert refused.code == 1
        assert sentence in refused.text
        assert "Traceback" not in refused.text
        assert kept() == before  # a mistaken command leaves a run as it was


TWICE = """
import signal, sys
from featherpose.training.callbacks.stop_cleanly import StopCleanly
from featherpose.runs.record import mark
from pathlib import Path
folder = Path(sys.argv[1])
mark(folder, state="running", name="x")
stop = StopCleanly(folder / "checkpoints" / "last.ckpt")
stop.on_train_start(None, None)
signal.raise_signal(signal.SIGINT)
print("a step is being finished", flush=True)
signal.raise_signal(signal.SIGINT)
print("never reached")
"""


def test_a_second_ctrl_c_ends_at_once(python: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-c", TWICE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stdout == "a step is being finished\n"
    assert "Ctrl-C again stops at once" in done.stderr
    assert record(tmp_path) == {"state": "interrupted", "name": "x", "exit_code": 130}


def test_a_folder_that_is_no_run_is_told(root: Path, python: str, tmp_path: Path) -> None:
    code, out = finished(start(python, root, f"resume={tmp_path}"))
    assert code == 1
    assert "that is no run folder" in out
    assert "Traceback" not in out
