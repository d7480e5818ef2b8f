"""Hourglasses whose last heatmaps become two vectors a joint, by RTMPose's head: an ablation of LAPX's output."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.models.peers.rtmpose import GatedAttention, ScaleNorm
from featherpose.vectors import BINS

POOLED = 2  # the head reads the heatmaps at an eighth of the input: half as many cells a side, a quarter of its numbers
WIDTH = 256  # of a joint's token, as in RTMPose


class VectorHourglass(Hourglass):
    """Stacked hourglasses with vectors behind the last stage; the stages before it are not supervised.

    All other layers are named as in `Hourglass`, so `init=` takes over a run of it.

    Args:
        joints: how many.
        input_size: height and width, which the head fits; None: the natural height.
        aspect: width by height, where the size is left open.
        stages, channels, depth, soft_gate, stem_attention, stage_attention, neck: as of `Hourglass`.
    """

    gives_vectors = True

    def __init__(
        self,
        joints: int,
        input_size: Sequence[int] | None = None,
        aspect: float = 0.75,
        stages: int = 3,
        channels: int | None = None,
        depth: int = 4,
        soft_gate: bool = False,
        stem_attention: str | None = None,
        stage_attention: str | None = None,
        neck: str | Sequence[str | None] | None = None,
    ):
        super().__init__(
            joints, stages, channels, depth, soft_gate, stem_attention, stage_attention, neck
        )
        height, width = input_size or (self.natural_height, round(self.natural_height * aspect))
        side = self.stride * POOLED
        if height % side or width % side:
            raise PoseError(
                f"The vectors' head takes inputs in multiples of {side}, not {height}x{width}; set data.input_size."
            )
        self.input_size = int(height), int(width)
        cells = (height // side) * (width // side)
        self.tokens = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, WIDTH, bias=False))
        self.attention = GatedAttention(WIDTH)
        self.x = nn.Linear(WIDTH, BINS * width, bias=False)
        self.y = nn.Linear(WIDTH, BINS * height, bias=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[x (B, K, 2W), y (B, K, 2H)]."""
        self.check_size(images)
        maps = F.avg_pool2d(super().forward(images)[-1], POOLED)
        tokens = self.attention(self.tokens(maps.flatten(2)))
        return [self.x(tokens), self.y(tokens)]
