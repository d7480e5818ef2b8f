"""Weights out of any file that people have: checkpoints and run folders, .pth, .tar, .safetensors, .onnx, .xml."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.weights import load_published, read, state_dict_of
from featherpose.skeletons import COCO, Skeleton, skeleton_of
from featherpose.zoo import names
from featherpose.zoo.checkpoint import description_of, find_checkpoint
from featherpose.zoo.known import path_of_name
from featherpose.zoo.onnx_weights import read_onnx
from featherpose.zoo.openvino_weights import read_convolutions
from featherpose.zoo.safetensors import read_safetensors
from featherpose.zoo.tinypose import state_of


@dataclass(frozen=True)
class Weights:
    """A state dict under our names, and where it comes from.

    `skeleton` is that of its heads, where the file says it. `folded`: its norms were folded into the convolutions,
    so they hold no statistics.
    """

    path: Path
    state: dict[str, Tensor]
    skeleton: Skeleton | None = None
    folded: bool = False


def read_weights(source: str | Path, network: nn.Module) -> Weights:
    """What a run folder or a file has for this network; names that are not its own stay as they are."""
    path = file_of(source)
    if path.suffix == ".xml":
        return Weights(path, state_of(read_convolutions(path), network, str(path)), COCO, True)
    if path.suffix == ".onnx":
        return Weights(path, *read_onnx(path, network), True)
    content = read_file(path)
    state = names.to_ours(network, state_dict_of(content, str(path)))
    return Weights(path, state, _skeleton(content), _folded(state))


def read_file(path: Path) -> Any:
    """What a .safetensors file, or one of torch's, holds."""
    return read_safetensors(path) if path.suffix == ".safetensors" else read(path)


def load_weights(network: nn.Module, source: str | Path) -> None:
    """Load a file that fits the network as a whole; otherwise one error lists what does not, and nothing is loaded."""
    weights = read_weights(source, network)
    load_published(network, weights.state, str(source))


def file_of(source: str | Path) -> Path:
    """The file itself, a run folder's best checkpoint, or the file of a name that the zoo knows."""
    named = None if Path(source).exists() else path_of_name(source)
    path = named or find_checkpoint(source)
    if not path.is_file():
        raise PoseError(f"There is no weights file {path}.")
    return path


def sha256_of(path: Path) -> str:
    """Of the file that holds the numbers: of OpenVINO's and ncnn's two that is the .bin.

    An .onnx with its numbers in a file beside it (NAME.onnx.data) counts with that file.
    """
    numbers = path.with_suffix(".bin") if path.suffix in (".xml", ".param") else path
    digest = hashlib.sha256(numbers.read_bytes())
    beside = path.with_name(f"{path.name}.data")
    if path.suffix == ".onnx" and beside.is_file():
        digest.update(beside.read_bytes())
    return digest.hexdigest()


def _skeleton(content: Any) -> Skeleton | None:
    """A checkpoint of ours says which joints its heads are of."""
    described = description_of(content) if isinstance(content, Mapping) else None
    return skeleton_of(described["skeleton"]) if described and described.get("skeleton") else None


def _folded(state: Mapping[str, Tensor]) -> bool:
    """Norms that were folded, and are scale and bias since, have mean 0 and a variance just below an untrained 1."""
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    variances = [value for name, value in state.items() if name.endswith("running_var")]
    untouched = not any(mean.any() for mean in means)
    return bool(means) and untouched and all(bool((value < 1).all()) for value in variances)
