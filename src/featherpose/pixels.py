"""From uint8 pictures to what every network here sees: float, ImageNet mean and deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def normalise(images: Tensor, channels_last: bool = False) -> Tensor:
    """uint8 RGB crops (B, 3, H, W), on their device, to normalised floats.

    They are float32, or float64 where a trainer of precision 64-true makes that torch's default.
    """
    import torch  # here, since predicting with an exported file needs the numbers above and no torch

    kind = torch.get_default_dtype()
    # Made on the CPU and sent without waiting: torch.tensor(..., device=cuda) waits for all that the GPU still does
    mean = torch.tensor(MEAN).mul(255).view(1, 3, 1, 1).to(images.device, non_blocking=True)
    deviation = torch.tensor(DEVIATION).mul(255).view(1, 3, 1, 1)
    deviation = deviation.to(images.device, non_blocking=True)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(kind, memory_format=memory_format).sub_(mean).div_(deviation)
