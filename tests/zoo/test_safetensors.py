"""Tensors survive the way into a safetensors file and back; a broken file is one sentence."""

from __future__ import annotations

import pytest
import torch

from featherpose.errors import PoseError
from featherpose.zoo.safetensors import read_safetensors, write_safetensors


def test_there_and_back(tmp_path):
    state = {
        "a.weight": torch.randn(3, 2, 1, 1),
        "a.half": torch.randn(5).half(),
        "number": torch.tensor(7),
        "nothing": torch.empty(0, 4),
    }
    write_safetensors(tmp_path / "a.safetensors", state)
    found = read_safetensors(tmp_path / "a.safetensors")
    assert list(found) == list(state)
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


@pytest.mark.parametrize("keep", [0, 5, 20, -1])
def test_a_part_of_a_file_is_refused(tmp_path, keep):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": torch.randn(8)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PoseError, match="not a safetensors file, or only a part of one"):
        read_safetensors(path)


def test_a_length_from_a_hostile_file_allocates_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + b'{"a": 1}')
    with pytest.raises(PoseError, match="not a safetensors file"):
        read_safetensors(path)
