"""A TFLite file of the same function, checked like an ONNX file before it is written."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.export.elementary import Elementary
from featherpose.export.onnx import TOLERANCE, Deployed, Parity, compare, exportable, named, quiet
from featherpose.files import replacing
from featherpose.inference.description import Description
from featherpose.inference.litert import ChannelsFirst, LiteRT, add_note


def export_litert(
    deployed: Deployed,
    path: Path,
    crops: Tensor,
    description: Description,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Writes `path` (.tflite), in float32, for one image at a time: the network alone, which a phone's GPU runs whole.

    Images and heatmaps have their channels last, as it holds them. The flip test and the decoding are left to whoever
    runs it.
    """
    deployed = deployed.alone()
    description = description.of_network_alone("tflite")
    content = converted(deployed, description.input_size)
    with replacing(path) as beside:
        beside.write_bytes(content)
        add_note(beside, description.to_json())
        runner = named(deployed, ChannelsFirst(beside, LiteRT(beside)).run)
        return compare(deployed, beside, crops, description, path, tolerance, 1, runner)


def converted(module: nn.Module, input_size: tuple[int, int]) -> bytes:
    """The TFLite graph of a network that gives heatmaps, or both vectors of a joint."""
    check_converter()
    with silent():
        import litert_torch

    module = Elementary(exportable(copy.deepcopy(module)).requires_grad_(False)).eval()
    example = torch.randn(1, 3, *input_size)
    with torch.no_grad(), silent():
        found = module(example)  # constants that are made once are made here, not while tracing
        last = litert_torch.to_channel_last_io(
            module, args=[0], outputs=[0] if isinstance(found, Tensor) and found.ndim == 4 else []
        )
        model = litert_torch.convert(last.eval(), (example.permute(0, 2, 3, 1).contiguous(),))
    return model.model_content()


def check_converter() -> None:
    """PoseError where it is not installed; it is not imported, which takes seconds."""
    if find_spec("litert_torch") is None:
        raise PoseError(
            "format=litert needs litert-torch: pip install 'featherpose[formats]'; docs/formats.md says how it lives "
            "beside [train]."
        )


@contextmanager
def silent() -> Generator[None]:
    """The converter tells of each of its steps, and of what Google's own machines would do."""
    os.environ.setdefault("LITERT_TORCH_SHOW_PROGRESS", "n")
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        log.setLevel(level)
