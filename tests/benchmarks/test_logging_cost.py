"""The blocks with rows and without take turns within one run."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from featherpose.benchmarks.logging_cost import cells, measure, run
from featherpose.benchmarks.training import Tiny, composed
from featherpose.errors import PoseError


@pytest.mark.filterwarnings("ignore")
def test_every_second_block_writes_rows(tmp_path: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    config = composed(["data.input_size=[64,64]", "logger=none"])
    config["model"] = {"_target_": f"{Tiny.__module__}.Tiny", "joints": 16}
    turns = measure(config, tmp_path, batch_size=2, rounds=2, steps=4, every=2)
    assert len(turns.without(0)) == len(turns.rows(0)) == 2
    assert len(turns.on) == len(turns.off) == 3  # with the first, which only warms up
    assert all(seconds > 0 for place in (0, 1) for seconds in turns.rows(place))
    written = pd.read_csv(tmp_path / "steps.csv")["step"].tolist()
    assert written == [2, 4, 10, 12, 18, 20]


def test_what_is_told_of_two_clocks() -> None:
    assert cells([0.1, 0.1, 0.1], [0.101, 0.102, 0.103]) == [
        *("100.00", "102.00", "+2.000", "+2.00%"),
        "+1.0% to +3.0%",
    ]


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"rounds": 1}, {"steps": 0}, {"every": 0}])
def test_what_cannot_be_measured_is_refused_in_one_sentence(wrong: dict[str, int]) -> None:
    with pytest.raises(PoseError, match=next(iter(wrong))):
        run(**wrong)
