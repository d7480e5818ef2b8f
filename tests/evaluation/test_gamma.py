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
    without, with_it = gamma.receptive_fields(Tiny(), images, (0.0, 1.0))
    assert [without.name, with_it.name] == ["gamma x 0", "gamma x 1"]
    seen = np.argwhere(without.gradient > 0)
    # 3x3 about each of the four cells of the middle
    assert (seen.min(0).tolist(), seen.max(0).tolist()) == ([6, 6], [9, 9])
    assert (with_it.gradient > 0).all()
    assert without.beyond == 0 < with_it.beyond
