"""Two machines, as far as one can stand for them: two groups of torchrun on loopback, which share a folder."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from featherpose.training.loggers.identity import on_first_rank

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_on_two_nodes(python: str, root: Path, folder: Path, *words: str) -> None:
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [
                *(python, "-m", "torch.distributed.run"),
                *("--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1"),
                *("--master-addr=127.0.0.1", f"--master-port={port}"),
                *(str(root / "src" / "train.py"), *words),
            ],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in (0, 1)
    ]
    said = [process.communicate(timeout=1500)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], (
        said[0][-3000:] + said[1][-3000:]
    )


def epochs_of(run: Path) -> list[tuple[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [(row["epoch"], row["step"]) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_nodes_train_validate_and_go_on(
    root: Path, python: str, small: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    two = ("trainer=ddp_cpu", "trainer.devices=1", "+trainer.num_nodes=2", "logger=none")
    people = ("schedule.epochs=2", "data.people.val=7")  # of seven, each node takes four
    train_on_two_nodes(python, root, tmp_path, *small, *two, *people, f"hydra.run.dir={run}")
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "finished" and 0 <= record["best"]["score"] <= 100
    # 20 people in steps of 4, whichever node they are on
    assert epochs_of(run) == [("0", "4"), ("1", "9")]
    assert [path.name for path in tmp_path.iterdir()] == ["run"], "no node made a folder of its own"

    train_on_two_nodes(python, root, tmp_path, f"resume={run}", "schedule.epochs=3")
    assert json.loads((run / "run.json").read_text())["state"] == "finished"
    assert epochs_of(run) == [("0", "4"), ("1", "9"), ("2", "14")]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("place", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),  # another machine's first process, as Lightning starts it
    ],
)
def test_files_are_written_by_the_first_process_of_the_first_machine(
    place: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    assert on_first_rank() == first
