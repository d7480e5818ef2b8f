"""HRFormer (Yuan et al., NeurIPS 2021, arXiv 2110.09408): HRNet with window attention and depthwise FFNs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.hrnet import Bottleneck
from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork
from featherpose.models.peers.branches import Fusion, check_multiple


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each offset between two places of a window."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window, self.scale = heads, window, (channels // heads) ** -0.5
        self.query, self.key, self.value, self.out = (
            nn.Linear(channels, channels) for _ in range(4)
        )
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        with torch.device(
            "cpu"
        ):  # plain numbers, also where the network itself is built without memory
            places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
            offsets = places[:, None] - places[None] + window - 1
            index = (offsets[..., 0] * (2 * window - 1) + offsets[..., 1]).flatten()
        self.register_buffer("offsets", index, persistent=False)
        self.offsets: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(windows, places, channels) to the same."""
        queries, keys, values = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        bias = (
            self.bias[self.offsets]
            .view(self.window**2, self.window**2, self.heads)
            .permute(2, 0, 1)
        )
        weights = (self.scale * queries @ keys.transpose(2, 3) + bias).softmax(-1).to(values.dtype)
        return self.out((weights @ values).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention within windows, then 1x1, depthwise 3x3 and 1x1 convolutions that let windows exchange."""

    def __init__(self, channels: int, heads: int, window: int = 7, widen: int = 4):
        super().__init__()
        self.window, inner = window, widen * channels
        self.norm1, self.attention = (
            nn.LayerNorm(channels, eps=1e-6),
            WindowAttention(channels, heads, window),
        )
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        # Convolutions with biases, as published, though batch norms follow
        self.feedforward = nn.Sequential(
            *(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner), nn.GELU()),
            *(
                nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
                nn.BatchNorm2d(inner),
                nn.GELU(),
            ),
            *(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels), nn.GELU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to the same."""
        places = x.permute(0, 2, 3, 1)
        places = places + self.attend(self.norm1(places))
        x = places.permute(0, 3, 1, 2)
        return x + self.feedforward(self.norm2(places).permute(0, 3, 1, 2))

    def attend(self, x: Tensor) -> Tensor:
        """Pads to whole windows, evenly at both ends, and cuts back."""
        _, height, width, channels = x.shape
        size = self.window
        tall, wide = -height % size, -width % size
        x = F.pad(x, (0, 0, wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        rows, columns = (height + tall) // size, (width + wide) // size
        x = (
            x.reshape(-1, rows, size, columns, size, channels)
            .transpose(2, 3)
            .reshape(-1, size * size, channels)
        )
        x = self.attention(x).reshape(-1, rows, columns, size, size, channels).transpose(2, 3)
        x = x.reshape(-1, height + tall, width + wide, channels)
        return x[:, tall // 2 : tall // 2 + height, wide // 2 : wide // 2 + width]


class BranchBlocks(nn.Module):
    """Two transformer blocks on each branch."""

    def __init__(self, widths: Sequence[int], blocks: int = 2):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(TransformerBlock(w, 2**i) for _ in range(blocks)))
            for i, w in enumerate(widths)
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        return [branch(x) for branch, x in zip(self.branches.children(), xs, strict=True)]


class HRFormer(PoseNetwork):
    """HRFormer-T: 18 channels, `modules` (1, 3, 2), two bottlenecks before the first branches."""

    stride = 4
    natural_height = 256

    def __init__(self, joints: int, channels: int = 18, modules: Sequence[int] = (1, 3, 2)):
        super().__init__()
        if len(modules) != 3 or min(modules) < 1:
            raise PoseError(
                f"model.modules takes three numbers of at least 1, not {list(modules)}."
            )
        self.joints, self.channels = joints, channels
        self.stem = nn.Sequential(
            ConvNorm(3, 64, 3, 2, nn.ReLU(inplace=True)),
            ConvNorm(64, 64, 3, 2, nn.ReLU(inplace=True)),
            Bottleneck(64),
            Bottleneck(256),
        )
        w = [channels * 2**i for i in range(4)]
        self.transition = nn.ModuleList(
            [
                ConvNorm(256, w[0], 3, 1, nn.ReLU(inplace=True)),
                ConvNorm(256, w[1], 3, 2, nn.ReLU(inplace=True)),
            ]
        )
        self.new = nn.ModuleList(
            ConvNorm(w[i], w[i + 1], 3, 2, nn.ReLU(inplace=True)) for i in (1, 2)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    nn.Sequential(
                        BranchBlocks(w[:n]),
                        Fusion(
                            w[:n], 1 if n == 4 and m == number - 1 else None, grow_by="bilinear"
                        ),
                    )
                    for m in range(number)
                )
            )
            for n, number in zip((2, 3, 4), modules, strict=True)
        )
        self.heatmaps = nn.Conv2d(w[0], joints, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_multiple(*images.shape[2:])
        x = self.stem(images)
        xs = [transition(x) for transition in self.transition.children()]
        for i, stage in enumerate(self.stages.children()):
            xs = stage(xs if i == 0 else [*xs, self.new[i - 1](xs[-1])])
        return [self.heatmaps(xs[0])]
