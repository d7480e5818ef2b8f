"""Two vectors a joint (SimCC, Li et al. 2022): where it lies along x and along y, in bins of a part of a pixel.

A network that speaks so gives one pair, x (B, K, bins * W) and y (B, K, bins * H), and no heatmaps. Coordinates are
crop pixels. The arithmetic is mmpose's as RTMPose uses it; `inference.outputs.Vectors` does the same in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BINS = 2  # to a crop pixel, as in RTMPose


def is_pair(outputs: Sequence[Tensor]) -> bool:
    """Whether a network's outputs are one pair of vectors and not heatmaps."""
    return len(outputs) == 2 and outputs[0].ndim == 3


def encode(
    joints: Tensor, visible: Tensor, size: tuple[int, int], sigma: tuple[float, float], bins: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussians of peak 1 over the bins.

    Args:
        joints: (B, K, 2) crop pixels.
        visible: (B, K), above 0 where the joint has a target.
        size: the crop's height and width.
        sigma: along x and along y, in bins.
        bins: to a pixel.

    Returns:
        x (B, K, bins * W), y (B, K, bins * H) and weights (B, K): 0 without a target, or where three sigma around it
        lie outside the crop.
    """
    lengths = [bins * size[1], bins * size[0]]
    drawn = visible > 0
    centre = torch.where(drawn[..., None], joints * bins, 0.0).round()
    lines = []
    for axis, (length, width) in enumerate(zip(lengths, sigma, strict=True)):
        at, reach = centre[..., axis], 3 * width
        drawn = drawn & (at - reach < length) & (at + reach + 1 >= 0)
        distance = torch.arange(length, device=at.device, dtype=at.dtype) - at[..., None]
        lines.append((distance.square() / (-2 * width**2)).exp())
    weights = drawn.to(joints.dtype)
    x, y = (line * weights[..., None] for line in lines)
    return x, y, weights


def decode(x: Tensor, y: Tensor, bins: float) -> tuple[Tensor, Tensor]:
    """Places (B, K, 2) in crop pixels and confidence (B, K), from the two vectors of each joint."""
    (best_x, at_x), (best_y, at_y) = x.float().max(-1), y.float().max(-1)
    return torch.stack((at_x, at_y), -1).float() / bins, torch.minimum(best_x, best_y)


def flip_mean(
    plain: Sequence[Tensor], mirrored: Sequence[Tensor], flip_order: Sequence[int]
) -> list[Tensor]:
    """The mean with the mirrored crops' vectors, turned back. As mmpose does it nothing is moved."""
    order = list(flip_order)
    x, y = mirrored
    return [(plain[0] + x[:, order].flip(-1)) / 2, (plain[1] + y[:, order]) / 2]
