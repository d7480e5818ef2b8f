"""RTMPose's loss: the Kullback-Leibler divergence between two vectors a joint and smoothed one-hot bins."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from featherpose import heatmaps, vectors
from featherpose.errors import PoseError
from featherpose.settings import number, numbers
from featherpose.training.losses import Losses, Outputs


class SimCCLoss:
    """Targets and loss of networks that give two vectors a joint: RTMPose's `model.output=vectors`, `model=lapx_simcc`.

    It is mmpose's KLDiscretLoss with label_softmax, divided by the batch as well: theirs is a sum over people, which
    Adam's steps do not tell apart.

    Args:
        sigma: of the Gaussians along x and y, in bins; None: the square root of an eighth of the crop's side, which is
            RTMPose's 4.9 and 5.66 for 256x192.
        beta: sharpness of both softmaxes.
    """

    def __init__(self, sigma: Sequence[float] | None = None, beta: float = 10.0) -> None:
        self.sigma = None if sigma is None else numbers("loss.sigma", sigma, 2, above=0)
        self.beta = number("loss.beta", beta, above=0)

    def __call__(self, outputs: Outputs, joints: Tensor, visible: Tensor, stride: int) -> Losses:
        """The total and, detached, the one output's own loss. `joints` are crop pixels."""
        each = self.against(outputs, joints, visible, visible)
        return self.combine(each), each.detach()

    def taught(
        self, outputs: Sequence[Tensor], maps: Tensor, weight: Tensor, stride: int
    ) -> Tensor:
        """The same to the places that a teacher's heatmaps are highest at; `weight` (B, K) by joint."""
        points, peaks = heatmaps.decode(maps, "quarter")
        return self.against(outputs, points * stride, (peaks > 0).to(weight), weight)

    def against(
        self, outputs: Sequence[Tensor], joints: Tensor, visible: Tensor, weight: Tensor
    ) -> Tensor:
        if not vectors.is_pair(outputs):
            raise PoseError(
                "loss=simcc is for networks that give two vectors a joint, and this one gives heatmaps: add "
                "model.output=vectors to RTMPose, or take model=lapx_simcc."
            )
        x, y = (output.float() for output in outputs)
        width, height = x.shape[-1] // vectors.BINS, y.shape[-1] // vectors.BINS
        sigma = tuple(self.sigma or (sqrt(width / 8), sqrt(height / 8)))
        *targets, drawn = vectors.encode(
            joints, visible, (height, width), (sigma[0], sigma[1]), vectors.BINS
        )
        losses = [self.divergence(o, t) for o, t in zip((x, y), targets, strict=True)]
        return ((losses[0] + losses[1]) * drawn * weight).mean()[None]

    def divergence(self, output: Tensor, target: Tensor) -> Tensor:
        """(B, K): of softmax(output) from softmax(target), mean over the bins."""
        wanted = (target * self.beta).softmax(-1)
        found = (output * self.beta).log_softmax(-1)
        return torch.nn.functional.kl_div(found, wanted, reduction="none").mean(-1)

    def combine(self, each: Tensor) -> Tensor:
        return each.mean()
