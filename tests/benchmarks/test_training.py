"""What a step costs, and what its time goes into."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from featherpose.benchmarks import training
from featherpose.benchmarks.training import PARTS, Spent


@pytest.mark.slow
def test_a_network_trains_beside_a_bare_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "networks.csv"
    found = training.run(
        rounds=1, steps=3, networks=["lapx_fast"], input_size=[64, 64], batch_size=2, network_steps=2,
        network_rounds=2, workers=0, hardware="cpu", out=str(out),
    )  # fmt: skip
    *loops, network = found
    assert [each.beside for each in loops] == ["bare PyTorch"] * 2
    assert (
        network.beside == "a bare PyTorch loop"
        and len(network.rounds) == len(network.reference) == 2
    )
    (line,) = csv.DictReader(out.open())
    assert sum(float(line[part]) for part in PARTS) == pytest.approx(1)
    assert float(line["of_bare"]) == pytest.approx(1 / network.row()["ratio"], rel=0.5)
    assert float(line["passes"]) > float(line["callbacks"])
    assert "of bare" in capsys.readouterr().out


def test_every_second_goes_to_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1, 2, 5, 6, 100, 107, 208, 300, 311, 523, 1000, 1013])
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    spent = Spent(warm=1)
    before, behind = spent.before, spent.behind
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    nothing: Any = None
    for step in range(2):
        for each in (before, behind):
            each.on_train_batch_start(nothing, module, nothing, step)
        for each in (before, behind):
            each.on_before_optimizer_step(nothing, module, nothing)
        for each in (before, behind):
            each.on_train_batch_end(nothing, module, nothing, nothing, step)
    # step 0 warms up until 107; then the batch comes at 208, the callbacks are done at 300, ...
    assert spent.seconds == {
        "waiting": 101,
        "callbacks": 92 + 212 + 13,
        "passes": 11,
        "optimiser": 477,
    }
    assert sum(spent.shares().values()) == pytest.approx(1)
