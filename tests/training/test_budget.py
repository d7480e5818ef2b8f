"""What a network may cost: checked before training, and solved for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from featherpose.benchmarks.sizes import composed
from featherpose.errors import BrokenOff, PoseError
from featherpose.models.count import count
from featherpose.runs.record import NetworkFacts, RunRecord
from featherpose.runs.recording import Recording
from featherpose.targets import build
from featherpose.training import budget
from featherpose.training.width import on_meta, widths

LAPX = {"_target_": "featherpose.models.hourglass.Hourglass", "joints": 16, "stages": 2, "depth": 2}
COUNTED = NetworkFacts(parameters=2_300_000, macs=3.4e9)


def never(network: Any) -> float:
    raise AssertionError("nobody has asked for its time")


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
        budget.keep(search(**limits), network, COUNTED, never)
    assert error.value.state == "over budget"


def test_milliseconds_are_measured_where_they_are_asked_for() -> None:
    network = build({**LAPX, "channels": 16})
    assert budget.keep(search(params=2.3e6), network, COUNTED, never) == {}
    assert budget.keep(search(measure=True), network, COUNTED, lambda _: 7.0) == {"ms": 7.0}
    assert budget.keep(search(ms=8.0), network, COUNTED, never, known=7.5) == {"ms": 7.5}
    with pytest.raises(BrokenOff, match=r"one picture has 7 ms; search\.budget\.ms allows 6 ms"):
        budget.keep(search(ms=6.0), network, COUNTED, lambda _: 7.0)


def test_a_limit_is_a_number_above_zero() -> None:
    with pytest.raises(PoseError, match=r"search\.budget\.params is -1"):
        budget.Budget(params=-1)


@pytest.mark.parametrize(
    "limits", [{"params": 2.3e6}, {"macs": 2e8}, {"params": 2.3e6, "macs": 1e8}]
)
def test_the_widest_within_the_budget_is_solved_for(limits: dict[str, float]) -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": [64, 64]}}
    config["search"] = search(solve="channels", **limits)
    budget.solve(config, never)
    channels = config["model"]["channels"]
    assert channels % 4 == 0
    for wider, fits in ((0, True), (4, False)):
        size = count(build({**LAPX, "channels": channels + wider}), 64, 64)
        used = {"params": size.parameters, "macs": size.convolution_macs}
        assert all(used[name] <= limit for name, limit in limits.items()) == fits


@pytest.mark.parametrize(
    ("solve", "limits", "says"),
    [
        ("breadth", {"params": 2e6}, "this model has no such key; it has .*stages"),
        ("channels", {}, "needs a search.budget to solve for: params, macs or ms"),
        ("channels", {"ms": 5.0}, "by MACs or ms needs data.input_size"),
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
        budget.solve(config, never)


def by_macs(size: tuple[int, int], seen: list[int] | None = None) -> budget.Clock:
    """A clock of a machine that takes a millisecond and one for each million of MACs."""

    def milliseconds(network: Any) -> float:
        if seen is not None:
            seen.append(network.channels)
        return 1 + count(network, *size).convolution_macs / 1e6

    return milliseconds


@pytest.mark.parametrize(("stages", "limit"), [(1, 20.0), (2, 20.0), (4, 20.0), (2, 300.0)])
def test_a_width_is_solved_for_by_milliseconds(stages: int, limit: float) -> None:
    config = {"model": {**LAPX, "stages": stages, "channels": None}}
    config |= {"data": {"input_size": [64, 64]}, "search": search(solve="width", ms=limit)}
    seen: list[int] = []
    spent = budget.solve(config, by_macs((64, 64), seen))
    assert spent is not None and spent <= limit
    wider = {**config["model"], "channels": config["model"]["channels"] + 4}
    assert spent >= budget.NEAR * limit or by_macs((64, 64))(build(wider)) > limit
    assert spent == by_macs((64, 64))(build(config["model"]))
    assert len(seen) <= 5
    assert config["search"]["solve"] == "channels", "the run's config says which key it was"


def test_other_limits_hold_beside_the_milliseconds() -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": [64, 64]}}
    config["search"] = search(solve="width", ms=1e6, params=1e5)
    budget.solve(config, by_macs((64, 64)))
    by_time = config["model"]["channels"]
    config["search"] = search(solve="width", params=1e5)
    budget.solve(config, never)
    assert by_time == config["model"]["channels"]


def test_nothing_is_fast_enough() -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": [64, 64]}}
    config["search"] = search(solve="width", ms=0.5)
    with pytest.raises(BrokenOff, match=r"even with channels=16 one picture has .* ms"):
        budget.solve(config, by_macs((64, 64)))


def test_what_was_solved_for_stays() -> None:
    config = {"model": {**LAPX, "channels": None}, "data": {"input_size": [64, 64]}}
    config["search"] = search(solve="width", ms=5.0)
    assert budget.solve(config, never, solved=44) is None
    assert config["model"]["channels"] == 44


@pytest.mark.parametrize("name", ["lapx", "lapx_fast", "le_hrnet", "rtmpose_t", "hrformer_t"])
def test_every_network_with_a_width_has_one_at_its_budget(name: str) -> None:
    cfg = composed([f"model={name}", "data=coco", "data.input_size=[256,192]"]).model
    model: Any = OmegaConf.to_container(cfg, resolve=True)
    own = sum(each.numel() for each in on_meta(model).parameters())
    config = {"model": model, "data": {"input_size": [256, 192]}}
    config["search"] = search(solve="width", params=1.5 * own)
    budget.solve(config, never)
    found = sum(each.numel() for each in on_meta(config["model"]).parameters())
    key = config["search"]["solve"]
    values = widths(model, key)
    wider = values[values.index(config["model"][key]) + 1]
    above = sum(each.numel() for each in on_meta({**model, key: wider}).parameters())
    assert found <= 1.5 * own < above


def test_a_network_without_a_width_says_so() -> None:
    config = {"model": {"_target_": "featherpose.models.repose.RePose", "levels": 3}}
    config |= {"data": {"input_size": None}, "search": search(solve="width", params=1e6)}
    with pytest.raises(PoseError, match="has no width to choose; its keys are _target_, levels"):
        budget.solve(config, never)


def test_the_record_says_over_budget(tmp_path: Path) -> None:
    with pytest.raises(BrokenOff), Recording(tmp_path):
        budget.refuse("too wide")
    record = RunRecord.read(tmp_path)
    assert record is not None
    assert (record.state, record.error, record.exit_code) == ("over budget", "too wide", 1)
