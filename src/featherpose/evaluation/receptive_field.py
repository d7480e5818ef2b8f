"""The effective receptive field: which pixels of a crop move the heatmaps' centre, and how much.

As Luo et al. measure it (NeurIPS 2016, arXiv 1701.04128): the gradient of one place of the output with respect to the
input, in absolute values, summed over colours and pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.layers import NonLocal
from featherpose.pixels import normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.5, 0.9)  # of the gradient, drawn as circles
DECADES = 4  # of the picture's scale: far places count a thousandth of near ones


@dataclass(frozen=True)
class Field:
    """One network's field."""

    name: str
    gradient: np.ndarray  # (H, W), sums to 1

    def radius(self, share: float) -> float:
        """Pixels from the centre within which this share of the gradient lies."""
        height, width = self.gradient.shape
        y, x = np.mgrid[:height, :width]
        distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2).ravel()
        order = np.argsort(distance)
        inside = np.cumsum(self.gradient.ravel()[order])
        return float(distance[order][min(np.searchsorted(inside, share), len(order) - 1)])

    @property
    def beyond(self) -> float:
        """The share of the gradient that lies further out than a quarter of the crop's shorter side."""
        height, width = self.gradient.shape
        y, x = np.mgrid[:height, :width]
        far = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) > min(height, width) / 4
        return float(self.gradient[far].sum())


def receptive_field(network: nn.Module, images: Tensor) -> np.ndarray:
    """How much each pixel moves the final heatmaps' centre: (H, W), sums to 1.

    The centre is the four cells around the crop's middle, so that the field of an even map has its middle there too.

    Args:
        network: as it predicts; its mode is given back as it was.
        images: (B, 3, H, W) uint8, taken one by one.
    """
    training = network.training
    network.eval()
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    try:
        for image in images:
            x = normalise(image[None]).requires_grad_()
            heatmaps = network(x)[-1]  # (1, K, h, w)
            height, width = heatmaps.shape[2:]
            rows = slice((height - 1) // 2, height // 2 + 1)
            columns = slice((width - 1) // 2, width // 2 + 1)
            (gradient,) = torch.autograd.grad(heatmaps[:, :, rows, columns].sum(), x)
            total += gradient[0].abs().sum(0)
    finally:
        network.train(training)
    if not total.sum() > 0:
        raise PoseError(
            f"No pixel moves the centre of {type(network).__name__}'s heatmaps: its weights are zero or not finite."
        )
    return (total / total.sum()).numpy()


@torch.no_grad()
def settle(network: nn.Module, images: Tensor, gamma: float | None = None) -> None:
    """Makes an untrained network one that passes gradients as it does in training, in place.

    Batch norms take the statistics of these images: with those they start from, deep networks pass on next to nothing.
    `gamma`, 0 at first, is what Non-Local modules add of their context.
    """
    for module in network.modules():
        if isinstance(module, NonLocal) and gamma is not None:
            module.gamma.fill_(gamma)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.momentum = 1.0
    network.train()
    network(normalise(images))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
    network.eval()


def figure(fields: Sequence[Field]) -> Figure:
    """The fields side by side in one scale, each relative to its own largest value, with the circles of `SHARES`."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    drawn = Figure(figsize=(3.1 * len(fields) + 0.9, 3.9), layout="constrained")
    panels = drawn.subplots(1, len(fields), squeeze=False)[0]
    for axes, field in zip(panels, fields, strict=True):
        height, width = field.gradient.shape
        level = np.log10(np.maximum(field.gradient / field.gradient.max(), 10.0**-DECADES))
        axes.imshow(level, vmin=-DECADES, vmax=0, cmap="inferno")
        for share, style in zip(SHARES, ("-", "--"), strict=True):
            centre = ((width - 1) / 2, (height - 1) / 2)
            axes.add_patch(
                Circle(centre, field.radius(share), fill=False, color="white", linestyle=style)
            )
        radii = ", ".join(f"{s:.0%} within {field.radius(s):.0f} px" for s in SHARES)
        axes.set_title(f"{field.name}\n{radii}", fontsize=8, parse_math=False)
        axes.tick_params(labelsize=7)
    bar = drawn.colorbar(panels[0].images[0], ax=list(panels), shrink=0.8)
    bar.set_label("gradient of the centre, powers of ten", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return drawn
