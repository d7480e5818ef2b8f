"""The convolutions of an OpenVINO IR (.xml and .bin), read without OpenVINO and without running anything in it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import torch
from torch import Tensor

from featherpose.errors import PoseError

NUMBERS = {"f16": np.dtype("<f2"), "f32": np.dtype("<f4")}


@dataclass(frozen=True)
class Convolution:
    """One convolution: the names of all that was fused into it, its weight (out, in / groups, h, w) and its bias."""

    names: tuple[str, ...]
    weight: Tensor
    bias: Tensor | None


def read_convolutions(path: str | Path) -> list[Convolution]:
    """Every convolution of the graph, in the file's order; its .bin lies beside the .xml."""
    path = Path(path)
    numbers = path.with_suffix(".bin")
    for file in (path, numbers):
        if not file.is_file():
            raise PoseError(
                f"There is no file {file}: an OpenVINO network is a .xml and a .bin side by side."
            )
    try:
        graph = _Graph(ElementTree.parse(path).getroot(), numbers.read_bytes())
        return graph.convolutions()
    except (ElementTree.ParseError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise PoseError(
            f"{path} and its .bin are not an OpenVINO network that can be read: "
            f"{type(error).__name__}: {error}"
        ) from error


class _Graph:
    def __init__(self, root: Element, numbers: bytes) -> None:
        self.numbers = numbers
        self.layers = {layer.attrib["id"]: layer for layer in root.find("layers") or ()}
        self.inputs: dict[str, dict[str, str]] = defaultdict(
            dict
        )  # layer: {port: the layer before}
        self.readers: dict[str, list[str]] = defaultdict(list)
        for edge in root.find("edges") or ():
            source, target = edge.attrib["from-layer"], edge.attrib["to-layer"]
            self.inputs[target][edge.attrib["to-port"]] = source
            self.readers[source].append(target)

    def convolutions(self) -> list[Convolution]:
        kinds = ("Convolution", "GroupConvolution")
        found = (key for key, layer in self.layers.items() if layer.attrib["type"] in kinds)
        return [self._convolution(key) for key in found]

    def _convolution(self, key: str) -> Convolution:
        weight = self._constant(self.inputs[key]["1"])
        if weight is None:
            raise ValueError(f"the convolution {self.layers[key].attrib['name']} has no weights")
        if self.layers[key].attrib["type"] == "GroupConvolution":
            weight = weight.flatten(0, 1)  # (groups, out / groups, ...) -> (out, ...)
        fused = (
            each.attrib.get("value", "")
            for each in self.layers[key].iter("attribute")
            if each.attrib.get("name") == "fused_names"
        )
        names = tuple(name.strip() for name in ",".join(fused).split(",") if name.strip())
        return Convolution(names, weight, self._bias(key, len(weight)))

    def _bias(self, key: str, channels: int) -> Tensor | None:
        """What an Add behind the convolution adds, where that is one constant a channel."""
        for reader in self.readers[key]:
            if self.layers[reader].attrib["type"] == "Add":
                others = [source for source in self.inputs[reader].values() if source != key]
                added = self._constant(others[0]) if others else None
                if added is not None and added.numel() == channels:
                    return added.flatten()
        return None

    def _constant(self, key: str) -> Tensor | None:
        """A constant's numbers; a file in half precision has a Convert between them and their use."""
        layer = self.layers[key]
        if layer.attrib["type"] == "Convert":
            return self._constant(self.inputs[key]["0"])
        if layer.attrib["type"] != "Const":
            return None
        data = layer.find("data")
        assert data is not None
        kind = NUMBERS.get(data.attrib["element_type"])
        if kind is None:
            return None
        shape = [int(side) for side in data.attrib["shape"].split(",") if side.strip()]
        start, size = int(data.attrib["offset"]), int(data.attrib["size"])
        if size != math.prod(shape) * kind.itemsize or not 0 <= start <= len(self.numbers) - size:
            raise ValueError(f"the constant {layer.attrib['name']} lies outside the .bin")
        values = np.frombuffer(self.numbers, kind, math.prod(shape), start)
        return torch.from_numpy(values.astype(np.float32).reshape(shape))
