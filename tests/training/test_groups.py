"""The optimiser's groups: rates by part, and what has no weight decay."""

from __future__ import annotations

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.training.groups import is_of, parameter_groups

LAPX = {"stages": 2, "channels": 16, "soft_gate": True, "neck": "eca_nonlocal_at_ends"}


def test_nothing_asked_is_one_group_in_the_networks_order() -> None:
    network = Hourglass(5, **LAPX)
    (group,) = parameter_groups(network, 0.01)
    assert all(a is b for a, b in zip(group["params"], network.parameters(), strict=True))
    assert group["lr"] == 0.01 and "weight_decay" not in group


def test_each_part_has_its_rate_and_single_numbers_no_decay() -> None:
    network = Hourglass(5, **LAPX)
    names = {id(p): name for name, p in network.named_parameters()}
    rates = {"trunk": 0.1, "stages.1": 0.5}
    groups = parameter_groups(network, 0.01, no_decay=True, part_rates=rates)
    optimiser = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05)
    rate = {names[id(p)]: g["lr"] for g in optimiser.param_groups for p in g["params"]}
    decay = {names[id(p)]: g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert set(rate) == set(names.values())
    assert rate["stem.conv.0.weight"] == pytest.approx(0.001)
    assert rate["stages.0.heatmaps.weight"] == 0.01
    assert rate["stages.1.heatmaps.weight"] == pytest.approx(0.005)
    assert decay["stem.conv.0.weight"] == 0.05 and decay["stem.conv.1.weight"] == 0
    assert decay["stages.0.heatmaps.bias"] == 0
    assert all(value == 0 for name, value in decay.items() if name.endswith(("gamma", "alpha")))
    assert {g["name"] for g in groups} == {
        "network", "network, no decay", "trunk", "trunk, no decay", "stages.1", "stages.1, no decay"
    }  # fmt: skip


def test_parts_are_names_globs_trunk_and_heads() -> None:
    assert is_of("stages.0.block.norm1.weight", "stages.0")
    assert not is_of("stages.01.block", "stages.0")
    assert is_of("stages.0.block.norm1.weight", "*.norm1.*")
    assert is_of("stages.0.heatmaps.weight", "heads") and not is_of("stem.conv", "heads")
    assert is_of("stem.conv", "trunk") and not is_of("final_layer.bias", "trunk")


def test_a_part_that_is_not_there_is_told() -> None:
    network = Hourglass(5, **LAPX)
    with pytest.raises(PoseError, match="no part 'body'; it has stem, stages, returns"):
        parameter_groups(network, 0.01, part_rates={"body": 0.1})
    with pytest.raises(PoseError, match=r"schedule\.part_rates\.stem is 0"):
        parameter_groups(network, 0.01, part_rates={"stem": 0})
