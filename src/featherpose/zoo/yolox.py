"""YOLOX-nano's numbers for people alone, out of its ONNX file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from featherpose.models.peers.yolox import YOLOXNano
from featherpose.zoo.onnx_weights import read_convolutions, state_of

PERSON = 0  # COCO's first class


def read_yolox(path: Path, network: YOLOXNano) -> dict[str, Tensor]:
    """The file as a state dict; of its eighty classes the person alone."""
    first, *others = read_convolutions(path)[0]
    if first.weight.shape[1:] == (12, 3, 3):
        first = replace(first, weight=spread(first.weight))
    state = state_of([first, *others], network, str(path))
    for name, tensor in state.items():
        if ".person." in name:
            state[name] = tensor[PERSON : PERSON + 1]
    return state


def spread(weight: Tensor) -> Tensor:
    """A 3x3 convolution of every second pixel, four times, as one of 6x6.

    The four: left above, left below, right above, right below.
    """
    outputs = len(weight)
    parts = weight.reshape(outputs, 2, 2, 3, 3, 3)  # x, y, colour, row, column
    return parts.permute(0, 3, 4, 2, 5, 1).reshape(outputs, 3, 6, 6).contiguous()
