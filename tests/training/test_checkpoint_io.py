"""A checkpoint made light: the averaged weights, openable, and nothing that only a resume needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.training.checkpoint_io import FOR_RESUMING, write_light

WHOLE = {
    "state_dict": {"network.a": torch.tensor([1.0])},
    "hyper_parameters": {"config": {"model": {}}},
    "epoch": 3,
    **{key: {"large": torch.zeros(10)} for key in FOR_RESUMING},
}


def test_only_what_resuming_needs_is_left_out(tmp_path: Path):
    torch.save(WHOLE, tmp_path / "best.ckpt")
    write_light(tmp_path / "best.ckpt", tmp_path / "light.ckpt")
    light = torch.load(tmp_path / "light.ckpt", weights_only=True)
    assert set(light) == {"state_dict", "hyper_parameters", "epoch"}
    assert torch.equal(light["state_dict"]["network.a"], torch.tensor([1.0]))


def test_no_checkpoint_is_a_sentence(tmp_path: Path):
    with pytest.raises(PoseError, match="no checkpoint that can be read"):
        write_light(tmp_path / "none.ckpt", tmp_path / "light.ckpt")
