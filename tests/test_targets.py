"""What is built from a node, and what of a file's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from featherpose import targets
from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.targets import LISTED, MOVED, build, build_listed

SMALL = {
    "_target_": "featherpose.models.hourglass.Hourglass",
    "joints": 4,
    "stages": 1,
    "channels": 16,
}


def targets_in(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["_target_"]} if "_target_" in node else set()
        return own.union(*map(targets_in, node.values()))
    return set().union(*map(targets_in, node)) if isinstance(node, list) else set()


@pytest.mark.parametrize("group", ["model", "loss", "data", "augment", "schedule"])
def test_all_that_the_configs_offer_may_come_from_a_file(group: str, root: Path) -> None:
    for path in (root / "conf" / group).glob("*.yaml"):
        assert targets_in(yaml.safe_load(path.read_text())) <= LISTED, path


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_listed_name_leads_to_what_it_says(name: str) -> None:
    targets.check({"_target_": name}, "a file")


def test_nodes_within_nodes_are_built_and_arguments_are_added() -> None:
    made = build(
        {
            "_target_": "collections.OrderedDict",
            "sizes": [{"_target_": "builtins.complex", "_args_": [1, 2]}],
            "later": {"_target_": "builtins.int", "_partial_": True, "base": 2},
            "plain": {"a": 1},
        },
        more="added",
        plain=None,
    )
    assert made["sizes"] == [1 + 2j]
    assert made["later"]("101") == 5
    assert (made["more"], made["plain"]) == ("added", None)


def test_a_setting_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(PoseError, match=r"Hourglass: .*'wdith'; it knows joints, stages, channels"):
        build({**SMALL, "wdith": 3})
    with pytest.raises(PoseError, match=r"There is no featherpose\.models\.nothing"):
        build({"_target_": "featherpose.models.nothing.Net"})


HARMFUL = [
    {"_target_": "sympy.sympify", "a": "1"},
    {"_target_": "torch.load", "f": "x"},
    {"_target_": "pandas.read_pickle"},
    {"_target_": "featherpose.training.module.torch.load"},
    {"_target_": "torch.optim.adam.torch.load"},
    {"_target_": "featherpose.cli.app.os.system"},
    {**SMALL, "neck": {"_target_": "os.system", "command": "true"}},
    {**SMALL, "neck": [{"deep": ({"_target_": "os.system", "_partial_": True},)}]},
    {**SMALL, "_args_": [{"_target_": "os.system"}]},
    {"_target_": {"_target_": "os.system"}},
    {"_target_": {"_target_": "featherpose.models.hourglass.Hourglass", "_partial_": True}},
    {"_target_": ["featherpose.models.hourglass.Hourglass"]},
    {},
    "featherpose.models.hourglass.Hourglass",
]


@pytest.mark.parametrize("node", HARMFUL, ids=str)
def test_a_file_builds_nothing_that_is_not_listed(node: Any) -> None:
    with pytest.raises(PoseError, match=r"x\.ckpt (asks for|does not say)"):
        build_listed(node, "x.ckpt")


def test_an_unlisted_module_is_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_for_this_test.py").write_text("def net(joints): return joints\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "mine_for_this_test.net", "joints": 3}
    with pytest.raises(PoseError, match="say trust=true"):
        build_listed(node, "x.ckpt")
    assert "mine_for_this_test" not in sys.modules
    assert build_listed(node, "x.ckpt", trust=True) == 3


def test_a_listed_name_that_something_else_hides_behind_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    import featherpose.models.hourglass as module

    monkeypatch.setattr(module, "Hourglass", os.system)
    with pytest.raises(PoseError, match=r"that name leads to posix\.system"):
        build_listed(SMALL, "x.ckpt")


def test_names_from_before_the_move_still_build() -> None:
    loss = build_listed({"_target_": "featherpose.losses.HeatmapLoss"}, "old.ckpt")
    assert type(loss).__module__ == "featherpose.training.losses"
    assert set(MOVED.values()) <= LISTED
    assert isinstance(build_listed(SMALL, "x.ckpt"), Hourglass)


def test_a_bottomless_node_is_one_sentence() -> None:
    node: dict[str, Any] = {}
    for _ in range(5000):
        node = {"neck": node}
    with pytest.raises(PoseError, match="nested too deeply"):
        build_listed({**SMALL, "neck": node}, "x.ckpt")
