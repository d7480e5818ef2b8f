"""Gamma in a trained network: scaled for a while, and how far a place sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.evaluation import gamma
from featherpose.models.layers import NonLocal


class Tiny(nn.Module):
    """One convolution, then a Non-Local module."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.context = NonLocal(16)
        self.context.gamma.data.fill_(0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.context(self.first(images))]


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 255, (2, 3, 16, 16), dtype=torch.uint8)


def test_gamma_is_scaled_for_a_while_only() -> None:
    network = Tiny()
    with gamma.scaled(network, 3.0):
        assert network.context.gamma.item() == 1.5
    assert network.context.gamma.item() == 0.5
    assert list(gamma.modules(network)) == ["context"]
    with pytest.raises(PoseError, match="no Non-Local"):
        gamma.modules(nn.Conv2d(3, 3, 1))


def test_without_gamma_a_place_sees_its_convolutions_alone(images: Tensor) -> None:
    torch.manual_seed(0)
    network = Tiny()
    with gamma.scaled(network, 0.0):
        near = gamma.receptive_field(network, images)
    far = gamma.receptive_field(network, images)
    seen = np.argwhere(near > 0)
    assert (seen.min(0).tolist(), seen.max(0).tolist()) == ([7, 7], [9, 9])  # 3x3 about (8, 8)
    assert near.max() == far.max() == 1
    assert (far > 0).all()
    assert gamma.outside(near) == 0
    assert gamma.outside(far) > 0
    assert gamma.outside(np.ones((16, 16))) == 75


def test_a_tile_for_each_factor(images: Tensor) -> None:
    sheet = gamma.receptive_field_sheet(Tiny(), images, (0.0, 1.0))
    assert sheet.shape[1] > 2 * 192
