"""The comparison on LSPET by its one command, on generated people in that dataset's format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from featherpose.inference.backends import OnnxRuntime

NETWORKS = ("lapx",)  # of the four; each more is half a minute, LE-HRNet's export two


def reproduce(python: str, root: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(root / "scripts" / "reproduce_lspet.sh"), *words]
    environment = os.environ | {
        "PYTHON": python,
        "OUT": str(out),
        "MODELS": " ".join(NETWORKS),
        "WANDB_MODE": "offline",
    }
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=850, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_smallest_budget_runs_to_its_end_and_goes_on_where_it_was(
    root: Path, python: str, tmp_path: Path
) -> None:
    data, out = tmp_path / "lspet", tmp_path / "out"
    maker = [
        python,
        str(root / "scripts" / "make_synthetic.py"),
        "--format",
        "lspet",
        "--people",
        "20",
    ]
    subprocess.run([*maker, "--out", str(data)], check=True, capture_output=True, timeout=120)
    words = ["smoke", f"data.root={data}", "data.read.train=[1,14]", "data.read.val=[15,20]"]
    words += ["model.stages=1", "model.channels=32"]

    done = reproduce(python, root, out, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = (out / "table.md").read_text()
    for name in NETWORKS:
        record = json.loads((out / name / "run.json").read_text())
        assert record["state"] == "finished"
        assert {"untrained", "mean pose"} <= record["baseline"].keys()
        assert f"{name}-lspet-smoke" in table
        file = out / name / f"{name}-lspet.onnx"
        assert OnnxRuntime(file).description.skeleton.name == "lsp"
        assert (out / name / "weights.pt").is_file()
        assert "lspet" in (out / name / "MODEL_CARD.md").read_text().lower()
    assert "<html" in (out / "report.html").read_text()

    # An interrupted network goes on in its folder; what was exported is kept.
    record, exported = (
        json.loads((out / "lapx" / "run.json").read_text()),
        (out / "lapx" / "lapx-lspet.onnx").stat(),
    )
    (out / "lapx" / "run.json").write_text(json.dumps(record | {"state": "interrupted"}))
    done = reproduce(python, root, out, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(json.loads((out / "lapx" / "run.json").read_text())["resumed"]) == 1
    assert (out / "lapx" / "lapx-lspet.onnx").stat().st_mtime_ns == exported.st_mtime_ns


def test_an_unknown_budget_is_told(root: Path, tmp_path: Path) -> None:
    done = reproduce(sys.executable, root, tmp_path, "night")
    assert done.returncode == 2
    assert "cpu|gpu|smoke" in done.stderr
