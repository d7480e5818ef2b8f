"""Data workers are forked from processes that have done other things before."""

from __future__ import annotations

import gc

import onnxruntime
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import featherpose.data.dataset
from featherpose.zoo import shipped


class Collects(Dataset):
    """Tidies up in the worker, as Python does by itself now and then."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        gc.collect()
        return torch.tensor(index)


@pytest.fixture
def dropped_session():
    """A session with threads in a cycle that nobody holds and the collector has not seen yet."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    file = str(shipped.FOLDER / "light.onnx")
    gc.disable()
    cycle: list = [onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])]
    cycle.append(cycle)
    del cycle
    yield
    gc.enable()
    gc.collect()


def test_a_session_that_the_parent_dropped_does_not_hold_a_worker_up(dropped_session):
    assert featherpose.data.dataset  # every worker's module
    loader = DataLoader(Collects(), 2, num_workers=1, timeout=60, multiprocessing_context="fork")
    assert torch.cat(list(loader)).tolist() == [0, 1, 2, 3]
