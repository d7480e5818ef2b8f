"""Heatmaps: Gaussian targets from joints, joints from heatmaps, and the mirrored picture's heatmaps turned back.

Coordinates are heatmap pixels: crop pixels divided by the network's stride. Everything is batched and stays on its
device. The arithmetic of `encode` (quantised, cut at 3 sigma), `decode(how="quarter")` and `flip_back` is that of
HRNet's reference code; `decode(how="dark")` is that of DARK (Zhang et al., CVPR 2020), tests compare with both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from featherpose.protocol import DECODERS
from featherpose.settings import choice
from featherpose.vectors import flip_mean, is_pair

DARK_KERNEL = 11  # width of DARK's smoothing, for targets of sigma 2
FLOOR = 1e-10  # DARK takes the logarithm of heatmaps not below this


def encode(
    joints: Tensor,
    visible: Tensor,
    size: tuple[int, int],
    sigma: float,
    quantised: bool = True,
    truncate: float | None = 3.0,
) -> tuple[Tensor, Tensor]:
    """Gaussian targets of peak 1.

    Args:
        joints: (B, K, 2) heatmap pixels.
        visible: (B, K), above 0 where the joint has a target.
        size: height and width of the heatmaps.
        sigma: of the Gaussian, in heatmap pixels.
        quantised: the centre is `int(x + 0.5)`, as in HRNet; else it is exact.
        truncate: only the square of so many sigma around the centre is kept; None keeps the whole Gaussian.

    Returns:
        targets (B, K, h, w) and weights (B, K): 0 without a target, or where the square lies outside the heatmap.
    """
    height, width = size
    drawn = visible > 0
    centre = torch.where(
        drawn[..., None], joints, 0.0
    )  # junk coordinates (NaN too) of joints without a target
    if quantised:
        centre = (centre + 0.5).trunc()
    if truncate is not None:
        radius = truncate * sigma
        x, y = centre.unbind(-1)
        # HRNet's test: it lets pass a square that ends one pixel before the first row or column
        drawn = drawn & (centre + radius + 1 >= 0).all(dim=-1)
        drawn = drawn & (x - radius < width) & (y - radius < height)
    weights = drawn.to(joints.dtype)
    across = _gaussian(centre[..., 0], width, sigma, truncate)
    down = _gaussian(centre[..., 1], height, sigma, truncate) * weights[..., None]
    return down[..., :, None] * across[..., None, :], weights


def _gaussian(centre: Tensor, length: int, sigma: float, truncate: float | None) -> Tensor:
    distance = torch.arange(length, device=centre.device, dtype=centre.dtype) - centre[..., None]
    values = distance.square().mul_(-0.5 / sigma**2).exp_()
    if truncate is not None:
        values *= distance.abs() <= truncate * sigma
    return values


def decode(heatmaps: Tensor, how: str = "quarter") -> tuple[Tensor, Tensor]:
    """Where each heatmap (B, K, h, w) has its joint.

    Args:
        heatmaps: of any device; only coordinates leave it.
        how: `argmax`: the highest pixel; `quarter`: moved a quarter pixel towards the higher neighbours; `dark`:
            moved to the peak of the Gaussian that fits the smoothed heatmap.

    Returns:
        points (B, K, 2) float32 heatmap pixels, 0 where no value is above 0, and the peaks' values (B, K).
    """
    choice("decoder", how, DECODERS)
    heatmaps = heatmaps.detach()
    if not heatmaps.is_floating_point() or heatmaps.dtype in (torch.float16, torch.bfloat16):
        heatmaps = heatmaps.float()
    flat = heatmaps.flatten(2)
    place, confidence = _highest(flat)
    place = place * (confidence > 0)
    width = heatmaps.shape[3]
    peak = torch.stack([place % width, place.div(width, rounding_mode="floor")], dim=-1)
    if how == "argmax":
        return peak.float(), confidence
    refine = _quarter if how == "quarter" else _dark
    return peak + refine(heatmaps, peak, place), confidence


def _highest(flat: Tensor) -> tuple[Tensor, Tensor]:
    """The first highest pixel of each map and its value."""
    # On the CPU NumPy's argmax is several times faster than torch's max with index; an exported graph has no NumPy
    if flat.device.type == "cpu" and not torch.compiler.is_exporting():
        place = torch.from_numpy(flat.numpy().argmax(axis=2))
        return place, flat.gather(2, place[..., None]).squeeze(2)
    confidence, place = flat.max(dim=2)
    return place, confidence


def _quarter(heatmaps: Tensor, peak: Tensor, place: Tensor) -> Tensor:
    height, width = heatmaps.shape[2:]
    steps = torch.tensor([1, -1, width, -width], device=place.device)
    neighbours = (place[..., None] + steps).clamp_(0, height * width - 1)
    beside = heatmaps.flatten(2).gather(2, neighbours).unflatten(2, (2, 2))
    slope = (beside[..., 0] - beside[..., 1]).sign()
    return torch.where(_inside(peak, width, height, 1), slope, 0.0).float() * 0.25


def _inside(peak: Tensor, width: int, height: int, margin: int) -> Tensor:
    """(B, K, 1): above 1 in both coordinates and `margin` below width and height, the references' conditions."""
    last = torch.tensor([width - margin, height - margin], device=peak.device)
    return ((peak > 1) & (peak < last)).all(dim=-1, keepdim=True)


def _dark(heatmaps: Tensor, peak: Tensor, place: Tensor) -> Tensor:
    """One Newton step on the logarithm of the smoothed heatmap, from its highest pixel.

    Only the 5 x 5 smoothed values that the step needs are computed, from a patch around each peak. The reference
    smooths whole maps and scales them to keep their maximum: that adds a constant to the logarithm, so changes nothing.
    """
    height, width = heatmaps.shape[2:]
    half = DARK_KERNEL // 2
    reach = half + 2
    padded = torch.nn.functional.pad(heatmaps, (reach,) * 4)
    offsets = torch.arange(2 * reach + 1, device=heatmaps.device)
    line = padded.shape[3]
    corner = peak[..., 1] * line + peak[..., 0]
    places = corner[..., None, None] + (offsets * line)[:, None] + offsets
    side = len(offsets)
    patch = padded.flatten(2).gather(2, places.flatten(2)).unflatten(2, (side, side))
    smoothing = _smoothing(side).to(heatmaps.device)
    # in float64, out of the reach of autocast and TF32
    log = (smoothing @ patch.double() @ smoothing.T).clamp_(min=FLOOR).log_()
    dx = (log[..., 2, 3] - log[..., 2, 1]) / 2
    dy = (log[..., 3, 2] - log[..., 1, 2]) / 2
    dxx = (log[..., 2, 4] - 2 * log[..., 2, 2] + log[..., 2, 0]) / 4
    dyy = (log[..., 4, 2] - 2 * log[..., 2, 2] + log[..., 0, 2]) / 4
    dxy = (log[..., 3, 3] - log[..., 1, 3] - log[..., 3, 1] + log[..., 1, 1]) / 4
    determinant = dxx * dyy - dxy.square()
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1) / determinant[..., None]
    return torch.where(
        _inside(peak, width, height, 2) & (determinant != 0)[..., None], step, 0.0
    ).float()


@lru_cache
def _smoothing(side: int) -> Tensor:
    """(5, side) matrix that smooths a patch's line to its five middle pixels; sigma as OpenCV derives it: 2 for 11."""
    sigma = 0.3 * ((DARK_KERNEL - 1) / 2 - 1) + 0.8
    kernel = [math.exp(-0.5 * ((i - DARK_KERNEL // 2) / sigma) ** 2) for i in range(DARK_KERNEL)]
    matrix = torch.zeros(5, side, dtype=torch.float64)
    for i in range(5):
        matrix[i, i : i + DARK_KERNEL] = torch.tensor(kernel, dtype=torch.float64) / sum(kernel)
    return matrix


def to_picture(points: Tensor, matrix: Tensor, stride: int) -> Tensor:
    """Heatmap pixels (..., B, K, 2) in picture coordinates, float64, by each crop's matrix (B, 2, 3)."""
    back = torch.linalg.inv(matrix[:, :, :2])
    return ((points.double() * stride - matrix[:, None, :, 2]).unsqueeze(-2) * back[:, None]).sum(
        dim=-1
    )


def flip_test(
    outputs_of: Callable[[Tensor], list[Tensor]],
    images: Tensor,
    flip_order: Sequence[int],
    shift: bool,
    passes: bool = False,
) -> list[Tensor]:
    """Each output of images (B, 3, H, W), averaged with those of the mirrored images, turned back.

    Args:
        outputs_of: the network.
        images: normalised or not, as the network takes them.
        flip_order: the joint that stands at each place once the picture is mirrored.
        shift: see `flip_back`.
        passes: images and mirrored images one after the other, not as one batch.
    """
    if passes:
        mirrored = outputs_of(images.flip(3))
        plain = outputs_of(images)
    else:
        both = outputs_of(torch.cat([images, images.flip(3)]))
        plain = [output[: images.shape[0]] for output in both]
        mirrored = [output[images.shape[0] :] for output in both]
    if is_pair(plain):
        return flip_mean(plain, mirrored, flip_order)
    return [
        (here + flip_back(there, flip_order, shift)) / 2
        for here, there in zip(plain, mirrored, strict=True)
    ]


def flip_back(heatmaps: Tensor, flip_order: Sequence[int], shift: bool) -> Tensor:
    """A mirrored picture's heatmaps as those of the picture itself: mirrored, left and right joints swapped.

    Args:
        heatmaps: (B, K, h, w) of the mirrored picture.
        flip_order: the joint that stands at each place once the picture is mirrored.
        shift: move them one pixel to the right, as HRNet does; `Protocol.shifts` says where that is right.
    """
    back = heatmaps.flip(3)[:, list(flip_order)]
    if shift:
        back = torch.cat([back[..., :1], back[..., :-1]], dim=3)
    return back
