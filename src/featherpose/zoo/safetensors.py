"""Files of numbers in the safetensors format: eight bytes of length, a JSON header, then the numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from featherpose.errors import PoseError

KINDS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of the file by its name."""
    content = bytearray(Path(path).read_bytes())
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8 : 8 + length]))
        header.pop("__metadata__", None)
        numbers = memoryview(content)[8 + length :]
        return {name: _tensor(entry, numbers) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise PoseError(
            f"{path} is not a safetensors file, or only a part of one: {error}"
        ) from error


def _tensor(entry: Mapping, numbers: memoryview) -> Tensor:
    kind, shape = KINDS[entry["dtype"]], [int(side) for side in entry["shape"]]
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= len(numbers) or end - start != math.prod(shape) * kind.itemsize:
        raise ValueError(f"a tensor of shape {shape} lies at {start} to {end}")
    if start == end:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(numbers[start:end], dtype=kind).reshape(shape).clone()


def write_safetensors(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """The tensors as they are, each with its own kind of number."""
    names = {kind: name for name, kind in KINDS.items()}
    header = {}
    parts = []
    end = 0
    for name, tensor in state.items():
        part = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        places = [end, end + len(part)]
        header[name] = {
            "dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": places
        }  # fmt: skip
        parts.append(part)
        end += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *parts]))
