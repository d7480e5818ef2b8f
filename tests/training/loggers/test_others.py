"""The plain file of all rows: a run that goes on adds to its own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featherpose.training.loggers.identity import Identity
from featherpose.training.loggers.others import AllRows


def test_the_rows_of_a_run_that_goes_on_stay(tmp_path: Path) -> None:
    identity = Identity(name="a", folder=tmp_path)
    first = AllRows(identity)
    first.log_metrics({"train/step/loss": 3.0}, step=2)
    first.log_metrics({"train/step/loss": 2.0}, step=4)
    first.log_metrics({"epoch": 0, "val/score": 10.0}, step=4)  # a column more
    first.log_metrics({"train/step/loss": 9.0}, step=6)  # behind the checkpoint
    AllRows(identity).log_metrics({"epoch": 1, "val/score": 20.0}, step=6)
    rows = pd.read_csv(tmp_path / "steps" / "metrics.csv")
    assert rows["step"].tolist() == [2, 4, 4, 6]
    assert rows["train/step/loss"].dropna().tolist() == [3, 2]
    assert rows["val/score"].dropna().tolist() == [10, 20]
