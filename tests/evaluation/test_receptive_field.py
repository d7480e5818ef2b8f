"""The effective receptive field, on networks whose field is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.evaluation.receptive_field import Field, figure, receptive_field, settle
from featherpose.models.layers import NonLocal
from featherpose.pixels import normalise

IMAGES = torch.randint(
    0, 256, (2, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


class Small(nn.Module):
    """Two 3x3 convolutions, and global context of strength gamma behind them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.local = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.context = NonLocal(8)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.context(self.local(x))]


def test_only_pixels_that_the_kernels_reach_move_the_centre() -> None:
    seen = receptive_field(Small().train(), IMAGES)
    assert seen.shape == (20, 20)
    assert seen.sum() == pytest.approx(1)
    rows, columns = np.nonzero(seen)  # two cells at the middle, two pixels further on each side
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 12, 7, 12)


def test_global_context_reaches_everywhere_once_gamma_lets_it() -> None:
    network = Small()
    settle(network, IMAGES, gamma=0.2)
    seen = receptive_field(network, IMAGES)
    assert (seen > 0).all()
    assert Field("", seen).beyond > 0
    (norm,) = (m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.momentum == 0.1
    features = network.local[0](normalise(IMAGES))
    torch.testing.assert_close(norm.running_mean, features.mean((0, 2, 3)))


def test_radius_and_share_of_a_known_field() -> None:
    even = Field("even", np.full((40, 40), 1 / 1600))
    assert even.radius(0.5) == pytest.approx(np.sqrt(800 / np.pi), abs=0.6)
    assert even.beyond == pytest.approx(1 - np.pi / 16, abs=0.01)
    point = np.zeros((41, 41))
    point[20, 20] = 1
    assert Field("point", point).radius(0.9) == 0
    assert Field("point", point).beyond == 0


def test_fields_are_drawn_side_by_side_in_one_scale() -> None:
    fields = [Field(f"$network_{n}", np.full((8, 6), 1 / 48)) for n in range(2)]
    panels = figure(fields).axes[:2]
    assert [axes.get_title().splitlines()[0] for axes in panels] == ["$network_0", "$network_1"]
    assert len({axes.images[0].get_clim() for axes in panels}) == 1


def test_a_network_that_sees_nothing_is_refused() -> None:
    network = Small()
    nn.init.zeros_(network.local[2].weight)
    with pytest.raises(PoseError, match="No pixel moves the centre of Small"):
        receptive_field(network, IMAGES)
