"""Training from the command line: what a run leaves behind, and the design card's own sweep."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from featherpose.errors import PoseError
from featherpose.runs.folder import Run
from featherpose.training.build import from_checkpoint

Typed = Callable[[str], Any]


def test_a_run_leaves_everything_as_plain_files(tiny_run: Path) -> None:
    record = json.loads((tiny_run / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["exit_code"] == 0
    assert record["network"]["channels"] == 208
    assert record["network"]["parameters"] == 2_311_111
    assert record["data"]["train"] == 24
    assert record["git"]["commit"]
    assert "train.py" in record["command"]
    assert record["versions"]["torch"].startswith("2.13")
    assert record["best"]["score"] == pytest.approx(record["scores"]["val/score"])
    assert record["protocol"]["name"] == "paper_no_tta"
    assert 0 <= record["baseline"]["mean pose"] <= 100

    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert config["model"]["stages"] == 3
    assert config["data"]["input_size"] == [64, 64]
    assert "${" not in (tiny_run / "config.yaml").read_text()

    with (tiny_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for column in (
        "train/loss",
        "train/loss/stage1",
        "val/loss",
        "val/score",
        "val/PCKh@0.5",
        "val/stage1/score",
        "lr",
    ):
        assert float(rows[1][column]) >= 0, column
    assert float(rows[0]["images_per_s"]) > 0


def test_predictions_and_their_picture(tiny_run: Path) -> None:
    found = np.load(tiny_run / "predictions" / "val.npz")
    assert found["keypoints"].shape == (3, 12, 16, 2)
    assert sorted(found["index"]) == list(range(12))
    picture = cv2.imread(str(tiny_run / "pictures" / "predictions.png"))
    assert picture.shape[0] > 200
    assert picture.std() > 20


def test_the_terminal_shows_size_baseline_and_next_command(tiny_run: Path) -> None:
    shown = (tiny_run / "terminal.txt").read_text()
    for part in (
        "2.31 M parameters",
        "mean pose",
        "PCKh@0.5",
        "best.ckpt",
        "src/predict.py",
        "24 persons to train",
    ):
        assert part in shown, part


def test_a_checkpoint_needs_nothing_but_itself(tiny_run: Path) -> None:
    path = tiny_run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    module = from_checkpoint(path)
    assert module.input_size == (64, 64)
    assert not module.training
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, checkpoint["state_dict"][name])
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        outputs = module.predict_heatmaps(images, flip=True)
    assert [tuple(o.shape) for o in outputs] == [(2, 16, 16, 16)] * 3


def test_a_checkpoint_that_is_none_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(PoseError, match=r"broken\.ckpt is not a checkpoint"):
        from_checkpoint(broken)
    torch.save({"state_dict": {}}, tmp_path / "bare.ckpt")
    with pytest.raises(PoseError, match="does not say which network it is of"):
        from_checkpoint(tmp_path / "bare.ckpt")


@pytest.mark.slow
def test_the_design_cards_sweep(
    root: Path, python: str, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    """`model=lapx data=… -m model.stages=2,3,4,5` with overrides on both sides of -m: four runs under one budget."""
    command = [
        python,
        str(root / "src" / "train.py"),
        "model=lapx",
        *tiny,
        "data.people={train: 8, val: 4, test: 2}",
        "schedule.epochs=1",
    ]
    command += ["evaluate_best=false", "logger=none", "callbacks.previews=null"]
    command += [f"paths.runs={tmp_path}", "-m", "model.stages=2,3,4,5"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    records = [
        json.loads(path.read_text()) for path in sorted(tmp_path.glob("sweeps/*/*/run.json"))
    ]
    assert [r["network"]["channels"] for r in records] == [256, 208, 180, 160]
    assert all(2.2e6 < r["network"]["parameters"] < 2.4e6 for r in records)
    assert {r["state"] for r in records} == {"finished"}
    assert len({r["group"] for r in records}) == 1


SMALL = "debug=tiny logger=none model.stages=1 model.channels=16 'data.people={train: 12, val: 8, test: 2}'"


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_is_given_in_steps(typed: Typed, tmp_path: Path) -> None:
    """It ends within an epoch, long before its first validation, and is scored all the same."""
    steps = "schedule.unit=step schedule.epochs=-1 schedule.steps=5 schedule.validate_every=10"
    done = typed(f"train {SMALL} {steps}")
    assert done.code == 0, done.text
    assert "/-2" not in done.text
    (run,) = (tmp_path / "runs" / "train").iterdir()
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["best"]["score"] == record["scores"]["val/score"]
    assert torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 5
    with (run / "metrics.csv").open() as file:
        assert [bool(row["val/score"]) for row in csv.DictReader(file)] == [False, True]

    # Wrong changes to it are refused before they are written, and the next plain resume runs
    before = files_of(run)
    for mistake, sentence in (
        ("schedule.steps=3", "has 5 steps behind it"),
        ("schedule.learning_rate=-1", "learning_rate|learning rate"),
        ("schedule.batch_size=2", "batches of 4"),
        ("data.people.train=0", "people"),
    ):
        refused = typed(f"train resume={run} {mistake}")
        assert refused.code != 0
        assert re.search(sentence, refused.err), refused.err
        assert files_of(run) == before, mistake
    again = typed(f"train resume={run}")
    assert again.code == 0, again.text
    assert json.loads((run / "run.json").read_text())["best"] == record["best"]


def test_without_callbacks_there_is_nothing_but_the_loop(typed: Typed, tmp_path: Path) -> None:
    done = typed(f"train {SMALL} callbacks=none")
    assert done.code == 0, done.text
    assert "nothing is scored" in done.out
    (run,) = (tmp_path / "runs" / "train").iterdir()
    assert not (run / "checkpoints").exists()
    assert json.loads((run / "run.json").read_text())["state"] == "finished"


def test_what_breaks_at_validation_breaks_before_the_first_step(
    typed: Typed, tmp_path: Path
) -> None:
    done = typed(f"train {SMALL} data.metric._target_=builtins.dict")
    assert done.code == 1, done.text
    assert "Epoch" not in done.out
    (run,) = (tmp_path / "runs" / "train").iterdir()
    assert not (run / "checkpoints" / "last.ckpt").exists()


def test_an_input_size_is_refused_before_the_data_are_read(typed: Typed) -> None:
    done = typed("train model=lapx data=mpii data.input_size=[36,36]")
    assert done.code == 1
    assert "36x36" in done.err
    assert "mpii data" not in done.err


def test_a_score_of_a_part_says_of_how_many(typed: Typed, tmp_path: Path) -> None:
    done = typed(f"train {SMALL} schedule.batch_size=2 trainer.limit_val_batches=2")
    assert done.code == 0, done.text
    assert "4 of 8 people only" in " ".join(done.out.split())
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    run = Run(folder)
    assert (run.record.scored, run.record.data.val) == (4, 8)
    assert "4 persons" in run.own_score.words
