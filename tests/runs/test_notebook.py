"""Where a notebook looks for runs; that notebooks run is tested in test_notebooks.py."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from featherpose import place


@pytest.mark.parametrize("checkout", [True, False])
def test_runs_lie_in_the_checkout_or_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: bool
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(place, "CHECKOUT", there if checkout else None)
    for name in ("FEATHERPOSE_ROOT", "FEATHERPOSE_RUNS"):
        monkeypatch.setenv(name, "")  # what the import sets is undone with it
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "featherpose.runs.notebook", raising=False)
    importlib.import_module("featherpose.runs.notebook")
    root = there if checkout else here
    assert os.environ["FEATHERPOSE_ROOT"] == str(root)
    assert os.environ["FEATHERPOSE_RUNS"] == str(root / "runs")
