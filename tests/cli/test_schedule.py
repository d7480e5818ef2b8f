"""`scripts/plot_schedule.py` as people type it, and mistype it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest


def run(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["plot_schedule.py", *words])
    try:
        runpy.run_path(str(root / "scripts" / "plot_schedule.py"), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_it_draws_and_helps(root, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "schedule.png"
    assert run(root, monkeypatch, "lapx", "data=mpii", f"out={out}") == 0
    assert out.is_file()
    assert run(root, monkeypatch, "--help") == 0
    assert "plot_schedule.py lapx data=mpii out=schedule.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nolapx"], 2, "There is no schedule=nolapx; did you mean lapx?"),
        (
            ["lapx", "schedule.epochs=-1", "schedule.steps=9", "schedule.milestones=[]"],
            1,
            "Nobody says how many epochs",
        ),
        (["--foo"], 2, "There is no option --foo"),
        (["lapx", "out=/no/such/folder/x.png"], 1, "/no/such/folder/x.png can't be used"),
    ],
)
def test_mistakes_are_one_sentence(root, monkeypatch, capsys, words, code, sentence) -> None:
    assert run(root, monkeypatch, *words) == code
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
