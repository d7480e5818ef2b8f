"""A graph traced with a fixed batch gives each picture what it gave, however many there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from featherpose.export.onnx import graph_of, traced
from featherpose.export.open_batch import EXAMPLE, open_batch

SIZE = (16, 8)


class Reshaped(nn.Module):
    """What names the batch in LAPX and LAP: flattening, attention over the pictures, growing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        found = self.conv(images)
        both = torch.stack([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))]).sum(dim=0)  # (B, 4)
        attention = found.flatten(2).softmax(dim=-1) @ found.flatten(2).transpose(1, 2)  # (B, 4, 4)
        weighed = found * (both + attention.sum(dim=-1))[:, :, None, None]
        return nn.functional.interpolate(weighed, scale_factor=2)


class AmongAll(nn.Module):
    """What one picture gets depends on the others, which no fixed number of pictures can say."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - images.flatten().reshape(1, -1).cumsum(dim=1)[:, -1])[:, :, ::2]


def test_every_number_of_pictures_gives_torchs_output(tmp_path: Path) -> None:
    network = Reshaped().eval()
    model = traced(network, SIZE, ("heatmaps",), EXAMPLE, False)
    assert open_batch(model)
    ir.save(model, tmp_path / "open.onnx")
    session = ort.InferenceSession(tmp_path / "open.onnx")
    assert session.get_outputs()[0].shape == ["batch", 4, 32, 16]
    for pictures in (1, 2, 5):
        images = torch.randn(pictures, 3, *SIZE)
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_opened_is_traced_with_a_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    model = traced(AmongAll(), SIZE, ("heatmaps",), EXAMPLE, False)
    assert not open_batch(model)
    shape = graph_of(AmongAll(), SIZE, ("heatmaps",), None).graph.inputs[0].shape
    assert shape is not None
    assert str(shape[0]) == "batch"
