"""int8: convolutions with 8-bit weights and activations, calibrated on crops; what it costs is scored, not assumed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.dataset import CropDataset
from featherpose.inference.backends import describe, numbers, open_session
from featherpose.inference.description import KEY, Description
from featherpose.inference.pose import Estimator

BATCH = 8


class Crops:
    """Calibration crops as onnxruntime's quantiser asks for them, one batch at a time."""

    def __init__(self, crops: Tensor, description: Description, name: str) -> None:
        self.parts: Iterator[dict[str, np.ndarray]] = (
            {name: numbers(part, description)} for part in torch.split(crops, 1)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.parts, None)


def quantise(source: Path, target: Path, crops: Tensor, keep: Sequence[str] = ()) -> None:
    """Writes the int8 file of an exported float32 file.

    Convolutions are quantised per output channel, weights signed and activations unsigned, which is what AVX-512 VNNI
    multiplies. Depthwise 1x1 convolutions (soft gates, lone batch norms) and the heads stay float32: they are cheap,
    and the heads' error is the keypoints'.

    Args:
        source: the float32 file.
        target: the int8 file, replaced whole.
        crops: calibration crops, uint8 (N, 3, H, W).
        keep: names of further nodes that stay float32.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    session = open_session(source, 1)
    description = describe(source, session)
    beside = target.with_name(f".{target.stem}.{os.getpid()}.onnx")
    model = onnx.load(source)
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it recommends a pre-processing that the exporter has done
    try:
        quantize_static(
            str(source),
            str(beside),
            Crops(crops, description, session.get_inputs()[0].name),  # ty: ignore[invalid-argument-type]
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[*cheap_or_last(model), *keep],
        )
        quantised = onnx.load(beside)
        onnx.helper.set_model_props(
            quantised, {KEY: replace(description, precision="int8").to_json()}
        )
        onnx.save(quantised, beside)
        os.replace(beside, target)
    finally:
        log.setLevel(level)
        beside.unlink(missing_ok=True)


def cheap_or_last(model: onnx.ModelProto) -> list[str]:
    """Depthwise 1x1 convolutions, and those whose output is a heatmap (a convolution no convolution reads)."""
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    heads = behind(model, {output.name for output in model.graph.output})
    found = []
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        shape = shapes.get(node.input[1], [])
        if shape[1:] == [1, 1, 1] or node.name in heads:
            found.append(node.name)
    return found


def behind(model: onnx.ModelProto, values: set[str]) -> set[str]:
    """The first convolutions met on the way back from these values."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found, waiting, seen = set(), list(values), set()
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


def score(estimator: Estimator, data: PoseDataModule, most: int) -> dict[str, Any]:
    """The dataset's main score on up to `most` validation people spread over the set."""
    persons = data.val_people.persons
    chosen = np.unique(
        np.linspace(0, len(persons) - 1, min(most, len(persons))).round().astype(int)
    )
    picked = replace(data.val_people, persons=[persons[i] for i in chosen])
    dataset = CropDataset(picked, data.load, data.skeleton, data.input_size)
    metric = data.metric(picked.persons)
    for start in range(0, len(dataset), BATCH):
        samples = [dataset[i] for i in range(start, min(start + BATCH, len(dataset)))]
        points, confidence = estimator(torch.stack([sample["image"] for sample in samples]))
        matrices = torch.stack([sample["matrix"] for sample in samples])
        back = torch.linalg.inv(matrices[:, :, :2])
        keypoints = torch.einsum(
            "bij,bkj->bki", back, torch.from_numpy(points).double() - matrices[:, None, :, 2]
        )
        index = torch.tensor([sample["index"] for sample in samples])
        metric.update(index, keypoints, torch.from_numpy(confidence))
    return {
        "name": metric.main,
        "score": float(metric.compute()[metric.main]),
        "persons": len(chosen),
    }
