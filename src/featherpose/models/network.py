"""What every network keeps to, ours and people's own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from featherpose.errors import PoseError

NATURAL_HEIGHT = 256  # of a network that does not say what it was made for


class PoseNetwork(nn.Module):
    """Normalised images (B, 3, H, W) to heatmaps (B, K, h, w): one list entry a supervised output, the last one final.

    One that gives vectors has one pair of them for its whole list, and fits one `input_size` (height, width).
    A network of one's own need not be one: any module with `joints` and `stride` is taken.
    """

    joints: int  # K
    stride: int  # H / h
    natural_height: int = NATURAL_HEIGHT  # of the images it was made for
    gives_vectors: bool = False  # two vectors a joint (`featherpose.vectors`) in place of heatmaps
    input_size: tuple[int, int]  # height, width; of one that fits no other
    channels_last_on_cpu: bool = True  # the memory layout that trains faster there

    def forward(self, images: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def check_size(self, images: Tensor) -> None:
        """PoseError where a network that fits one `input_size` is given another."""
        height, width = self.input_size
        if tuple(images.shape[2:]) != (height, width):
            raise PoseError(
                f"This network was built for {height}x{width}, not {images.shape[2]}x{images.shape[3]}: "
                "what it gives depends on the size; set data.input_size."
            )

    def output_names(self, count: int) -> list[str]:
        """What each of its `count` outputs is, in a word or two under a picture."""
        return stage_names(count)


def stage_names(count: int) -> list[str]:
    """Of outputs that nobody has named."""
    return [f"stage {number}" for number in range(1, count + 1)]


def output_names_of(network: nn.Module, count: int) -> list[str]:
    """Also of a network of one's own, which may leave it out."""
    named = getattr(network, "output_names", None)
    return named(count) if callable(named) else stage_names(count)


def natural_height_of(network: nn.Module) -> int:
    """Also of a network of one's own, which may leave it out."""
    return int(getattr(network, "natural_height", NATURAL_HEIGHT))


@contextmanager
def shapes_alone() -> Generator[None]:
    """Networks made within have names and shapes and no numbers; nothing is drawn, so torch's randomness stays.

    What is drawn on the meta device goes through Python, which was most of the time that a network took to make.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # torch.nn.init's come as a whole, since nothing that they call within is seen here
        if (
            func in (Tensor.uniform_, Tensor.normal_)
            or getattr(func, "__module__", "") == "torch.nn.init"
        ):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def check_joints(network: PoseNetwork, skeleton: str, joints: int) -> None:
    if network.joints != joints:
        raise PoseError(
            f"The network gives {network.joints} heatmaps but the skeleton {skeleton} has "
            f"{joints} joints: leave model.joints to follow data.joints."
        )


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """In place; torch's own stubs know no `to` with a layout alone."""
    network.to(memory_format=layout)  # ty: ignore[no-matching-overload]
