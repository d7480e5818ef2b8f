"""The papers' losses between predicted heatmaps and Gaussian targets made on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from featherpose import vectors
from featherpose.errors import PoseError
from featherpose.heatmaps import encode
from featherpose.settings import choice, number, numbers, switch

Outputs = Sequence[Tensor]  # what a network gives, the last one final
Losses = tuple[Tensor, Tensor]  # the total, and each output's own


def lapx(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """LAPX (4.1): 1 / 2N times the masked squared L2 norms of the N joints' errors; mean over the batch.

    The norm is the sum over pixels, as the paper says. Code of this family usually takes the mean over pixels:
    with Adam, whose step does not depend on the loss's scale, both train alike.
    """
    error = (output - target).square().sum(dim=(2, 3))
    return 0.5 * (error * weight).mean()


def le_hrnet(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """LE-HRNet (1): squared error, mean over joints and pixels; joints without a target weigh 0, as in HRNet."""
    return ((output - target).square() * weight[:, :, None, None]).mean()


def repose(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """RePose (3): per person the mean over annotated joints of the squared error per pixel; mean over the batch."""
    error = (output - target).square().mean(dim=(2, 3))
    annotated = weight.sum(dim=1).clamp(min=1)
    return ((error * weight).sum(dim=1) / annotated).mean()


REDUCTIONS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor], Tensor], bool]] = {
    "lapx": (lapx, True),  # (4.2): mean over the stages
    "le_hrnet": (le_hrnet, True),
    "repose": (repose, False),  # sum over the sets of heatmaps
}


class HeatmapLoss:
    """Targets and loss of one paper.

    Args:
        reduction: whose equations: `lapx`, `le_hrnet` or `repose`.
        sigma: of the Gaussian, in heatmap pixels.
        quantised: round the target's centre to a heatmap pixel (the reference protocol).
        truncate: cut the Gaussian at so many sigma; None keeps all of it.
        stage_weights: one weight per output instead of equal ones.
        mask_outside: joints outside the crop have no target, as in LAPX. Else those whose Gaussian still touches the
            heatmap have one, as in HRNet's code, and where it is not cut (RePose) all annotated joints.
    """

    def __init__(
        self,
        reduction: str = "lapx",
        sigma: float = 2.0,
        quantised: bool = True,
        truncate: float | None = 3.0,
        stage_weights: Sequence[float] | None = None,
        mask_outside: bool = True,
    ) -> None:
        self.single, self.average = REDUCTIONS[
            choice("loss.reduction", reduction, tuple(REDUCTIONS))
        ]
        self.sigma = number("loss.sigma", sigma, above=0)
        self.quantised = switch("loss.quantised", quantised)
        self.truncate = None if truncate is None else number("loss.truncate", truncate, above=0)
        self.mask_outside = switch("loss.mask_outside", mask_outside)
        self.stage_weights = stage_weights
        if stage_weights is not None:
            self.stage_weights = numbers("loss.stage_weights", stage_weights, least=0)
            if not any(self.stage_weights):
                raise PoseError("loss.stage_weights are all 0, so nothing would be learned.")

    def __call__(self, outputs: Outputs, joints: Tensor, visible: Tensor, stride: int) -> Losses:
        """The total and, detached, each output's own loss. `joints` are crop pixels."""
        if vectors.is_pair(outputs):
            raise PoseError("This network gives two vectors a joint: add loss=simcc.")
        height, width = outputs[-1].shape[2:]
        if self.mask_outside:
            visible = visible * inside(joints, (width * stride, height * stride))
        target, weight = encode(
            joints / stride, visible, (height, width), self.sigma, self.quantised, self.truncate
        )
        each = torch.stack([self.single(output.float(), target, weight) for output in outputs])
        return self.combine(each), each.detach()

    def taught(
        self, outputs: Sequence[Tensor], maps: Tensor, weight: Tensor, stride: int
    ) -> Tensor:
        """Each output's loss to a teacher's heatmaps; `weight` (B, K) by joint."""
        return torch.stack([self.single(output.float(), maps, weight) for output in outputs])

    def combine(self, each: Tensor) -> Tensor:
        if self.stage_weights is None:
            return each.mean() if self.average else each.sum()
        if len(self.stage_weights) != len(each):
            raise PoseError(
                f"loss.stage_weights has {len(self.stage_weights)} numbers for {len(each)} outputs."
            )
        weights = torch.tensor(self.stage_weights, device=each.device, dtype=each.dtype)
        total = (each * weights).sum()
        return total / weights.sum() if self.average else total


def inside(joints: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Which joints (B, K, 2) lie on one of the crop's pixels; an integer is a pixel's centre."""
    last = torch.tensor(size_wh, device=joints.device) - 0.5
    return ((joints >= -0.5) & (joints < last)).all(dim=-1)


def names_of(loss: object, count: int) -> list[str]:
    """Under which names the parts of a loss are logged: one for each output, then the loss's own terms."""
    terms: Sequence[str] = getattr(loss, "terms", ())
    stages = [f"stage{i + 1}" for i in range(count - len(terms))]
    return [f"train/loss/{name}" for name in (*stages, *terms)]
