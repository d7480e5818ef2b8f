"""What a network may cost: checked before training, and solved for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featherpose.errors import BrokenOff, PoseError
from featherpose.models.count import count
from featherpose.runs.record import NetworkFacts, RunRecord
from featherpose.runs.recording import Recording
from featherpose.targets import build
from featherpose.training import budget

LAPX = {"_target_": "featherpose.models.hourglass.Hourglass", "joints": 16, "stages": 2, "depth": 2}
COUNTED = NetworkFacts(parameters=2_300_000, macs=3.4e9)


def search(measure: bool = False, solve: str | None = None, **limits: float) -> dict[str, Any]:
    return {"budget": limits, "measure": measure, "solve": solve}


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"params": 2.2e6}, "the network has 2.3M parameters; search.budget.params allows 2.2M"),
        ({"macs": 3e9}, r"has 3.4 G MACs; search.budget.macs allows 3 G MACs"),
        ({"params": 9e6, "macs": 1e9}, "search.budget.macs"),
    ],
)
def test_a_network_beyond_its_budget_is_broken_off(limits: dict[str, float], says: str) -> None:
    network = build({**LAPX, "channels": 16})
    with pytest.raises(BrokenOff, match=says) as error:
        budget.keep(search(**limits), network, (64, 64), COUNTED)
    assert error.value.state == "over budget"


def test_milliseconds_are_measured_where_they_are_asked_for() -> None:
    network = build({**LAPX, "channels": 16})
    assert budget.keep(search(params=2.3e6), network, (64, 64), COUNTED) == {}
    found = budget.keep(search(measure=True), network, (64, 64), COUNTED)
    assert found == budget.keep(search(ms=1e6), network, (64, 64), COUNTED) or found["ms"] > 0
    with pytest.raises(BrokenOff, match=r"one picture has .* ms; search.budget.ms allows 0.001 ms"):
        budget.keep(search(ms=0.001), network, (64, 64), COUNTED)
    assert network.training, "left as it was"


def test_a_limit_is_a_number_above_zero() -> None:
    with pytest.raises(PoseError, match=r"search\.budget\.params is -1"):
        budget.Budget(params=-1)


@pytest.mark.parametrize(
    "limits", [{"params": 2.3e6}, {"macs": 2e8}, {"params": 2.3e6, "macs": 1e8}]
)
def test_the_widest_within_the_budget_is_solved_for(limits: dict[str, float]) -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": [64, 64]}}
    config["search"] = search(solve="channels", **limits)
    budget.solve(config)
    channels = config["model"]["channels"]
    assert channels % 4 == 0
    for wider, fits in ((0, True), (4, False)):
        size = count(build({**LAPX, "channels": channels + wider}), 64, 64)
        used = {"params": size.parameters, "macs": size.convolution_macs}
        assert all(used[name] <= limit for name, limit in limits.items()) == fits


@pytest.mark.parametrize(
    ("solve", "limits", "says"),
    [
        ("width", {"params": 2e6}, "this model has no such key; it has .*stages"),
        ("channels", {"ms": 5.0}, "needs search.budget.params or search.budget.macs"),
        ("channels", {"macs": 5e8}, "needs data.input_size"),
        ("channels", {"params": 100.0}, "even with channels=16 the network has"),
    ],
)
def test_what_cannot_be_solved_is_one_sentence(
    solve: str, limits: dict[str, float], says: str
) -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": None}}
    config["search"] = search(solve=solve, **limits)
    with pytest.raises(PoseError, match=says):
        budget.solve(config)


def test_the_record_says_over_budget(tmp_path: Path) -> None:
    with pytest.raises(BrokenOff), Recording(tmp_path):
        budget.refuse("too wide")
    record = RunRecord.read(tmp_path)
    assert record is not None
    assert (record.state, record.error, record.exit_code) == ("over budget", "too wide", 1)
