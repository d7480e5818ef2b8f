"""The GPU benchmark on the CPU, at small size: every part gives its row, whatever happens to the others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from featherpose.benchmarks import gpu
from featherpose.benchmarks.training import composed

pytestmark = pytest.mark.slow

SMALL = {
    "networks": ["lapx_fast"],
    "batch": 2,
    "batches": [2, 4, 8],
    "input_size": [64, 64],
    "steps_s": 0.01,
    "dataset": ["data=synthetic_coco", "data.people={train: 4, val: 2, test: 2}"],
    "workers": 0,
    "compiled": ["lapx_fast"],
    "compile_s": 60,
    "seconds": 600.0,
}
WANTED = gpu.Wanted(**{key: value for key, value in SMALL.items() if key != "seconds"})


@pytest.fixture(scope="module")
def tiny():
    words = ["model.stages=1", "model.channels=16", "data.input_size=[64,64]"]
    return composed(["model=lapx", "data=synthetic_coco", *words])


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path, tiny):
    loading = gpu.loading
    monkeypatch.setattr(gpu, "config_of", lambda *_: tiny)
    monkeypatch.setattr(gpu, "loading", lambda *args: loading(*args, seconds=0.01))
    monkeypatch.setattr(gpu, "scratch", lambda: tmp_path / "scratch")
    monkeypatch.setattr(gpu, "precision", lambda *_: "32-true")  # bf16 in software takes minutes


def test_every_part_has_its_rows_and_one_failure_is_a_row(monkeypatch, tmp_path, capsys):
    real = gpu.step_rate

    def full(wanted, network, mode, batch, device, compiled=False):
        if batch == 4:
            raise torch.OutOfMemoryError("no room for 4")
        return real(wanted, network, mode, batch, device, compiled)

    def broken(*args):
        raise RuntimeError("no compiler\n  here")

    monkeypatch.setattr(gpu, "step_rate", full)
    monkeypatch.setattr(gpu, "compile_apart", broken)
    monkeypatch.setattr(gpu, "resumed", lambda *args: {"second_s": 1.0})
    gpu.run(**SMALL, out=str(tmp_path / "a" / "gpu.json"))

    found = json.loads((tmp_path / "a" / "gpu.json").read_text())
    assert found["schema"] == gpu.SCHEMA
    assert found["machine"]["torch"] == torch.__version__
    parts = {}
    for row in found["rows"]:
        parts.setdefault(row["part"], []).append(row)
    assert {part: len(rows) for part, rows in parts.items()} == {
        "peak": 2, "training": 2, "batch": 2, "data": 3, "profile": 1, "resume": 1, "compile": 1,
    }  # fmt: skip
    assert all(row["images_per_s"] > 0 for row in parts["training"] + parts["data"])
    assert all(0 < row["share_of_peak"] < 1 for row in parts["training"])
    assert parts["batch"][1]["failed"] == "OutOfMemoryError: no room for 4"  # 8 is not tried
    assert parts["compile"][0]["failed"] == "RuntimeError: no compiler here"
    assert parts["profile"][0]["top"][0]["share"] > 0
    printed = capsys.readouterr().out
    assert "training lapx_fast float32 channels-last" in printed
    assert "no compiler here" in printed


def test_what_does_not_fit_into_the_time_is_left_out_by_name(tmp_path):
    rows = gpu.Rows(tmp_path / "gpu.json", seconds=3.0)
    rows.measure("training", "one", lambda: {"ms": 1.0}, needs=1.0)
    row = rows.measure("training", "two", lambda: pytest.fail("it was called"), needs=60.0)
    assert row["failed"] == "left out: 3 of 3 seconds were left"
    kept = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["name"] for row in kept] == ["one", "two"]


def test_a_compiler_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(gpu, "compiled_rate", _sleep)
    with pytest.raises(TimeoutError, match="not compiled within 1 seconds"):
        gpu.compile_apart(WANTED, "lapx_fast", left=6.0)


def _sleep(*args):
    import time

    time.sleep(100)


def test_a_checkpoint_goes_on_as_a_user_would_do_it(monkeypatch, tmp_path):
    asked = []

    def train(words, limit):
        asked.append(words)
        folder = next(Path(w.split("=", 1)[1]) for w in words if w.startswith("paths.output="))
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,step\n1,8\n")
        return 2.0

    monkeypatch.setattr(gpu, "train", train)
    row = gpu.resumed(WANTED, 240.0)
    assert row == {"first_s": 2.0, "second_s": 2.0, "metrics": ["epoch,step", "1,8"]}
    assert f"ckpt_path={tmp_path / 'scratch/run/checkpoints/last.ckpt'}" in asked[1]
    assert not any(word.startswith("ckpt_path") for word in asked[0])


def test_a_training_that_fails_says_its_last_line(monkeypatch):
    done = SimpleNamespace(returncode=1, stdout="", stderr="one\nerror: no disk\n")
    monkeypatch.setattr(gpu.subprocess, "run", lambda *args, **keys: done)
    with pytest.raises(RuntimeError, match="train ended with 1: error: no disk"):
        gpu.train(["model=lapx"], 10.0)
