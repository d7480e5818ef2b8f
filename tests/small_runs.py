"""Run folders: real ones from one tiny sweep, and written ones in the same format."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from .made_once import made_once

SWEEP = (
    "-m",
    "hydra/launcher=basic",  # one process: three imports of Lightning less than the default
    "seed=0,1",
    "model.stages=2,3",
    "model.channels=32",
    "data.people={train: 16, val: 6, test: 4}",
    "data.workers=0",
    "data.input_size=[64,64]",
    "schedule.epochs=3",
    "schedule.batch_size=8",
    "trainer=cpu",
    "callbacks.progress=null",
    "callbacks.previews.samples=2",
    "logger=[wandb,tensorboard,csv]",
)


@pytest.fixture(scope="session")
def sweep(root: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep: two seeds of LAPX with two and three stages on synthetic people."""

    def train(runs: Path) -> None:
        command = [python, str(root / "src" / "train.py"), *SWEEP, f"paths.runs={runs}"]
        plain = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        done = subprocess.run(
            command,
            cwd=runs,
            env=plain | {"NETRC": str(runs / "no-netrc"), "HOME": str(runs)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (folder,) = (runs / "sweeps").iterdir()
        (folder / "terminal.txt").write_text(done.stdout + done.stderr, encoding="utf-8")

    (folder,) = (made_once(tmp_path_factory, "sweep", train) / "sweeps").iterdir()
    return folder


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    return writer_of_runs(tmp_path)


def writer_of_runs(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder in the documented format: `write_run("name", seed=1, score=80.0, config={...})`."""

    def write(
        name: str,
        place: str | Path = "train",
        seed: int = 0,
        score: float | None = 80.0,
        state: str = "finished",
        config: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        protocol: dict[str, Any] | None = None,
        scores: dict[str, float] | None = None,
        predictions: dict[str, np.ndarray] | None = None,
        overrides: tuple[str, ...] = (),
        **fields: Any,
    ) -> Path:
        folder = tmp_path / place / f"{len(list((tmp_path / place).glob('*')))}_{name}"
        folder.mkdir(parents=True)
        record: dict[str, Any] = {
            "name": name,
            "group": None,
            "state": state,
            "error": None,
            "seed": seed,
            "started": f"2026-01-01T00:00:{len(list((tmp_path / place).glob('*'))):02d}+00:00",
            "finished": "2026-01-01T00:10:00+00:00",
            "git": {"commit": "a" * 40, "dirty": False},
            "versions": {"torch": "2.13.0"},
            "network": {
                "name": "Hourglass",
                "parameters": 2311111,
                "macs": 3.4e9,
                "thop_macs": 3.445e9,
                "thop_parameters": 2298000,
            },
            "data": {"name": "mpii", "val": 2958, "input_size": [256, 256]} | (data or {}),
            "protocol": {
                "name": "paper_no_tta",
                "flip": False,
                "shift": True,
                "decoder": "quarter",
                "boxes": "ground_truth",
                "mean": "weighted",
            }
            | (protocol or {}),
        } | fields
        if score is not None and state == "finished":
            record["best"] = {"path": "best.ckpt", "epoch": 1, "score": score}
            record["scores"] = {"val/loss": 1.0, "val/PCKh@0.5": score, "val/score": score} | {
                f"val/{key}": value for key, value in (scores or {}).items()
            }
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text(
            yaml.safe_dump({"seed": seed, "name": None} | (config or {}))
        )
        (folder / "metrics.csv").write_text(
            "epoch,step,train/loss,val/score,gamma/stage1\n0,3,2.0,10.5,0\n1,7,1.5,,0.1\n2,11,1.0,30.25,0.2\n"
        )
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        if predictions is not None:
            (folder / "predictions").mkdir()
            np.savez_compressed(folder / "predictions" / "val.npz", **predictions)
        return folder

    return write
