"""The command line: order of flags, quick help, and one sentence for each mistake."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from featherpose.cli import app
from featherpose.errors import PoseError, UsageError


def run(
    root: Path, *words: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "src" / words[0]), *words[1:]]
    env = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=cwd or root, env=env, capture_output=True, text=True, timeout=800, check=False
    )


@pytest.mark.parametrize(
    ("given", "arranged"),
    [
        (
            ["model=lapx", "data=mpii", "-m", "model.stages=2,3"],
            ["-m", "model=lapx", "data=mpii", "model.stages=2,3"],
        ),
        (["--multirun", "seed=1,2", "-m"], ["--multirun", "seed=1,2"]),
        (["model=lap"], ["model=lap"]),
        (["--cfg", "job", "model=lap"], ["--cfg", "job", "model=lap"]),
    ],
)
def test_the_multirun_flag_may_stand_anywhere(given: list[str], arranged: list[str]) -> None:
    assert app.arrange("train", given) == arranged


def test_a_benchmark_is_named_by_a_word() -> None:
    assert app.arrange("benchmark", ["latency", "threads=1"]) == ["benchmark=latency", "threads=1"]
    assert app.arrange("benchmark", ["benchmark=sizes"]) == ["benchmark=sizes"]


def test_errors_become_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(app.TRACEBACK, raising=False)
    assert app.describe(PoseError("No such picture.")) == (1, "No such picture.")
    assert app.describe(UsageError("No such word."))[0] == 2
    code, sentence = app.describe(OSError(errno.ENOSPC, "No space left on device", "runs/x"))
    assert code == 1
    assert "disk is full" in sentence
    assert "runs/x" in sentence
    assert "permission" in app.describe(PermissionError(errno.EACCES, "denied", "/root/x"))[1]
    wrapped = RuntimeError("Error in call to target")
    wrapped.__cause__ = PoseError("The file is cut off.")
    assert app.describe(wrapped) == (1, "The file is cut off.")


def test_help_and_config_need_no_heavy_import(root: Path) -> None:
    """Time is not asserted: that torch is not among the imported modules is what makes it quick."""
    code = (
        "import sys; sys.argv = ['train.py', '--cfg', 'job']; from featherpose.cli.app import launch; launch('train');"
        "print('heavy:', [m for m in ('torch', 'lightning', 'cv2', 'wandb') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert "heavy: []" in done.stdout
    assert "stages: 3" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["model=lappx"], 2, ["no model=lappx", "did you mean", "lapx"]),
        (["model.stagess=3"], 2, ["model.stagess"]),
        (
            ["model=lapx", "data=mpii", "data.root=/nowhere/mpii"],
            1,
            ["/nowhere/mpii", "check_data.py"],
        ),
        (["ckpt_path=/nowhere/last.ckpt", "data.people=40"], 1, ["/nowhere/last.ckpt"]),
    ],
)
def test_a_mistake_gets_one_sentence_and_no_traceback(
    root: Path, tmp_path: Path, words: list[str], code: int, expected: list[str]
) -> None:
    done = run(root, "train.py", *words, cwd=tmp_path, FEATHERPOSE_RUNS=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in expected:
        assert word in done.stderr


def test_traceback_on_demand(root: Path, tmp_path: Path) -> None:
    done = run(root, "train.py", "model=lappx", "--traceback", FEATHERPOSE_RUNS=str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" in done.stderr
