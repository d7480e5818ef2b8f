"""What Non-Local's gamma does in a trained network: the score, and how far a place sees, while gamma grows from 0."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.draw import contact_sheet
from featherpose.errors import PoseError
from featherpose.evaluation.by_network import score_sample
from featherpose.inference.checkpoints import Loaded, TorchBackend
from featherpose.inference.estimator import Estimator
from featherpose.models.layers import NonLocal
from featherpose.pixels import normalise

_TILE = (192, 192)  # pixels, width and height
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0)


def modules(network: nn.Module) -> dict[str, NonLocal]:
    """The network's Non-Local modules by their names."""
    found = {name: each for name, each in network.named_modules() if isinstance(each, NonLocal)}
    if not found:
        raise PoseError(f"{type(network).__name__} has no Non-Local modules in this configuration.")
    return found


@contextmanager
def scaled(network: nn.Module, factor: float) -> Generator[None]:
    """Every gamma times a factor, for a while: 0 is the network without global context."""
    gammas = [module.gamma for module in modules(network).values()]
    kept = [gamma.detach().clone() for gamma in gammas]
    try:
        with torch.no_grad():
            for gamma in gammas:
                gamma.mul_(factor)
        yield
    finally:
        with torch.no_grad():
            for gamma, value in zip(gammas, kept, strict=True):
                gamma.copy_(value)


def scores(
    trained: Loaded, data: PoseDataModule, factors: Sequence[float] = FACTORS, most: int = 200
) -> pd.DataFrame:
    """The score on up to `most` validation people with every gamma times each factor; 1 is the network as trained."""
    estimator = Estimator(TorchBackend(trained, "cpu"))
    rows = {}
    for factor in factors:
        with scaled(trained.network, factor):
            found = score_sample(estimator, data, most)
        rows[factor] = {found.name: found.score, "persons": found.persons}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("gamma times")
    return table.assign(mean_gamma=[_mean_gamma(trained.network) * f for f in factors])


def receptive_field(network: nn.Module, images: Tensor) -> np.ndarray:
    """How much each pixel of the crop moves the last output's centre: (H, W), the mean over crops, at most 1.

    The effective receptive field: the gradient's size, of all joints' maps together.

    Args:
        network: in evaluation mode, on the CPU.
        images: (B, 3, H, W) uint8.
    """
    pixels = normalise(images).detach().requires_grad_()
    output = network(pixels)[-1]
    centre = output[..., output.shape[-2] // 2, output.shape[-1] // 2]
    (gradient,) = torch.autograd.grad(centre.abs().sum(), pixels)
    seen = gradient.abs().sum(1).mean(0)
    return (seen / seen.max().clamp_min(1e-12)).numpy()


def outside(field: np.ndarray, share: float = 0.5) -> float:
    """Percent of a receptive field that lies outside the crop's middle, `share` of its height and width."""
    height, width = field.shape
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    middle = field[top : height - top, left : width - left].sum()
    return 100 * float(1 - middle / field.sum())


def receptive_field_sheet(
    network: nn.Module, images: Tensor, factors: Sequence[float] = FACTORS
) -> np.ndarray:
    """The receptive field with every gamma times each factor, in the square root, for far places are faint."""
    tiles, labels = [], []
    for factor in factors:
        with scaled(network, factor):
            field = receptive_field(network, images)
        grey = (255 * np.sqrt(field)).astype(np.uint8)
        tiles.append(cv2.resize(grey, _TILE, interpolation=cv2.INTER_NEAREST))
        labels.append(f"x {factor:g}: {outside(field):.1f} % outside")
    return contact_sheet(tiles, columns=len(tiles), labels=labels)


def _mean_gamma(network: nn.Module) -> float:
    return float(np.mean([module.gamma.item() for module in modules(network).values()]))
