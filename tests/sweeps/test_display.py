"""A sweep's table."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from featherpose.sweeps.display import print_table
from featherpose.sweeps.job import Job


def jobs(folder: Path, *words: str) -> list[Job]:
    return [
        Job(n, ["model=lap", word], folder / str(n), [], OmegaConf.create())
        for n, word in enumerate(words)
    ]


def test_only_what_varies_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    print_table(jobs(tmp_path, "seed=0", "seed=1"), tmp_path)
    said = capsys.readouterr().out
    assert "seed=0" in said
    assert "seed=1" in said
    assert "model=lap" not in said, "all have it"


def test_of_a_single_job_everything_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    print_table(jobs(tmp_path, "seed=0"), tmp_path)
    assert "model=lap seed=0" in capsys.readouterr().out
