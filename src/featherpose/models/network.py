"""What every network keeps to, ours and people's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError

NATURAL_HEIGHT = 256  # of a network that does not say what it was made for


class PoseNetwork(nn.Module):
    """Normalised images (B, 3, H, W) to heatmaps (B, K, h, w): one list entry a supervised output, the last one final.

    A network of one's own need not be one: any module with `joints` and `stride` is taken.
    """

    joints: int  # K
    stride: int  # H / h
    natural_height: int = NATURAL_HEIGHT  # of the images it was made for

    def forward(self, images: Tensor) -> list[Tensor]:
        raise NotImplementedError


def natural_height_of(network: nn.Module) -> int:
    """Also of a network of one's own, which may leave it out."""
    return int(getattr(network, "natural_height", NATURAL_HEIGHT))


def check_joints(network: PoseNetwork, skeleton: str, joints: int) -> None:
    if network.joints != joints:
        raise PoseError(
            f"The network gives {network.joints} heatmaps but the skeleton {skeleton} has "
            f"{joints} joints: leave model.joints to follow data.joints."
        )


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """In place; torch's own stubs know no `to` with a layout alone."""
    network.to(memory_format=layout)  # ty: ignore[no-matching-overload]
