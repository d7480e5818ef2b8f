"""int8: convolutions with 8-bit weights and activations, calibrated on crops; what it costs is scored, not assumed."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import count
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.inference.backends import OnnxRuntime, numbers, open_session, run
from featherpose.inference.description import KEY, Description


class Crops:
    """Calibration crops as onnxruntime's quantiser asks for them, one at a time."""

    def __init__(self, crops: Tensor, description: Description, name: str) -> None:
        self.crops = crops
        self.description = description
        self.name = name
        self.set_range(0, len(crops))

    def __len__(self) -> int:
        return len(self.crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.left = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, np.ndarray] | None:
        index = next(self.left, None)
        if index is None:
            return None
        return {self.name: numbers(self.crops[index : index + 1], self.description)}


def quantise(source: Path, target: Path, crops: Tensor) -> None:
    """Writes the int8 file of an exported float32 file, once it has been opened and run on the crops.

    Convolutions are quantised per output channel, weights signed, activations unsigned. Weights take 7 bits: CPUs
    without VNNI add the products of two neighbours in 16 bits, which 8 bits overflow in silence (random weights were
    off by 35% of the highest value on AVX2, with 7 bits by 2%), and one file has to be right on every machine.
    Depthwise convolutions (soft gates and lone batch norms among them) and the heads stay float32: they are cheap,
    and the heads' error is the keypoints'. The highest thousandth of the activations is cut off, so that one
    outlier doesn't coarsen all others.

    Args:
        source: the float32 file.
        target: the int8 file, replaced whole.
        crops: calibration crops, uint8 (N, 3, H, W).
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    runtime = OnnxRuntime(source, 1)
    description = runtime.description
    check(source, target, crops[:2], description)
    model = onnx.load(source)
    unshare_biases(model)
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it recommends a pre-processing that the exporter has done
    try:
        with replacing(target) as beside, redirect_stdout(StringIO()):  # it prints its steps
            quantize_static(
                model,
                str(beside),
                Crops(crops, description, runtime.input),  # ty: ignore[invalid-argument-type]
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": 99.9,
                    "CalibStridedMinMax": 1,
                },  # a crop at a time in memory
                nodes_to_exclude=cheap_or_last(model),
            )
            quantised = onnx.load(beside)
            onnx.helper.set_model_props(
                quantised, {KEY: replace(description, precision="int8").to_json()}
            )
            onnx.save(quantised, beside)
            check(beside, target, crops[:2], description)
    finally:
        log.setLevel(level)


def check(file: Path, called: Path, crops: Tensor, description: Description) -> None:
    """PoseError where the file cannot be opened or does not give heatmaps of numbers."""
    try:
        found = run(open_session(file, 1), numbers(crops, description))
    except PoseError as error:
        reason = str(error).partition(": ")[2] or error
        raise PoseError(f"{called} is not written, as it cannot be run: {reason}") from error
    if not all(np.isfinite(each).all() for each in found.values()):
        raise PoseError(f"{called} is not written: its heatmaps are NaN or infinite.")


def unshare_biases(model: onnx.ModelProto) -> None:
    """Gives each convolution a bias of its own, under a name that nothing else has.

    onnxruntime's quantiser copies a shared bias itself, but looks for a free name among the initializers only: the
    copy of `val_153` became `val_1531`, another node's output (microsoft/onnxruntime issue 24705, not mended).
    """
    graph = model.graph
    initializers = {each.name: each for each in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(
        initializers
    )
    used: set[str] = set()
    for node in graph.node:
        if node.op_type != "Conv" or len(node.input) < 3 or node.input[2] not in initializers:
            continue
        bias = node.input[2]
        if bias in used:
            name = next(n for i in count() if (n := f"{bias}_copy{i}") not in taken)
            copied = graph.initializer.add()
            copied.CopyFrom(initializers[bias])
            copied.name = node.input[2] = name
            taken.add(name)
        used.add(bias)


def cheap_or_last(model: onnx.ModelProto) -> list[str]:
    """Depthwise convolutions, and those whose output is a heatmap (a convolution no convolution reads)."""
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    heads = behind(model, {output.name for output in model.graph.output})
    found = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        shape = shapes.get(node.input[1], [])
        if shape[1:2] == [1] or node.name in heads:
            found.append(node.name)
    return found


def behind(model: onnx.ModelProto, values: set[str]) -> set[str]:
    """The first convolutions met on the way back from these values."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found = set()
    waiting = list(values)
    seen = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.add(node.name)
        else:
            waiting.extend(node.input)
    return found
