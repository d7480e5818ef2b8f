"""Who meets whom: every pair of a picture, once, whatever the size of a block."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from featherpose.metrics import pairs


@pytest.mark.parametrize("size", [1, 7, 1 << 14])
def test_every_pair_of_a_picture_once(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(pairs, "PAIRS", size)
    mix = np.random.default_rng(0)
    one, other = np.sort(mix.integers(0, 9, 40)), mix.integers(3, 12, 60)
    found = []
    for block in pairs.blocks(one, other):
        at = np.arange(len(one))[block.one][block.at]
        found += list(zip(at.tolist(), block.other[block.of].tolist(), strict=True))
    expected = np.argwhere(one[:, None] == other)
    assert found == [tuple(pair) for pair in expected.tolist()]


def test_a_block_is_of_whole_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "PAIRS", 10)
    one = np.repeat(np.arange(20), 3)
    parts = [one[block.one] for block in pairs.blocks(one, np.repeat(np.arange(20), 2))]
    assert len(parts) > 5
    assert all(a[-1] < b[0] for a, b in itertools.pairwise(parts))


def test_nobody_on_a_side() -> None:
    none = np.zeros(0, int)
    assert not list(pairs.blocks(none, np.arange(3)))
    assert [len(block.at) for block in pairs.blocks(np.arange(3), none)] == [0]


def test_runs_start_where_the_value_changes() -> None:
    assert pairs.runs(np.array([5, 5, 1, 1, 1, 5])).tolist() == [0, 2, 5]
    assert pairs.runs(np.zeros(0)).tolist() == []
