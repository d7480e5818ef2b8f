"""Half-size files: weights stored in 16 bits, arithmetic in float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.files import replacing
from featherpose.inference.backends import FileBackend
from featherpose.inference.description import KEY
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output

SMALLEST = 64  # numbers; scalars and short vectors stay as they are
LARGEST = 60_000.0  # near the largest number that 16 bits hold
TOLERANCE = 2e-2  # of heatmaps, relative to the highest: rounding to three digits, a hundred layers deep, gave 0.9e-2
TOLERANCE_PIXELS = 0.25  # of nine keypoints of ten, in crop pixels


def halve(source: Path, target: Path, crops: Tensor) -> tuple[float, float]:
    """Writes the half-size file of an exported one, once it agrees with it on the crops.

    The runtime turns each weight back into float32 when it opens the file, so the arithmetic is the same and only
    the weights are rounded. Gives the largest difference of heatmaps, relative to their highest value, and the
    distance in crop pixels that nine keypoints of ten stay below.
    """
    model = onnx.load(source)
    halve_weights(model)
    note = replace(FileBackend(source, threads=1).description, precision="float16 weights")
    helper.set_model_props(model, {KEY: note.to_json()})
    with replacing(target) as beside:
        onnx.save(model, beside)
        return agreeing(source, beside, target, crops)


def agreeing(source: Path, beside: Path, target: Path, crops: Tensor) -> tuple[float, float]:
    """How far the half-size file is from its source on the crops; PoseError where that is too far."""
    before, after = (Estimator(FileBackend(file, threads=1)) for file in (source, beside))
    worst, moved = compare(before, after, crops.numpy())
    if not (worst <= TOLERANCE and moved <= TOLERANCE_PIXELS):
        raise PoseError(
            f"{target} is not written: with weights of 16 bits its heatmaps differ by {worst:.1e} of the "
            f"highest value ({TOLERANCE:.0e} is allowed) and a tenth of its keypoints by more than "
            f"{moved:.2f} pixels ({TOLERANCE_PIXELS} allowed)."
        )
    return worst, moved


def halve_weights(model: onnx.ModelProto) -> None:
    """In place: large arrays in 16 bits, each turned back by a node of the graph."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST or np.abs(values).max() > LARGEST:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        cast = helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_whole", to=1)
        casts.append(cast)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)


def compare(one: Estimator, other: Estimator, crops: np.ndarray) -> tuple[float, float]:
    first, second = one.outputs(crops)[-1], other.outputs(crops)[-1]
    points, others = one.decode(first)[0], other.decode(second)[0]
    values, rounded = values_of(first), values_of(second)
    worst = np.abs(values - rounded).max() / np.abs(values).max()
    return float(worst), float(np.quantile(np.linalg.norm(points - others, axis=-1), 0.9))


def values_of(output: Output) -> np.ndarray:
    if isinstance(output, Heatmaps):
        return output.values
    return np.concatenate([output.x, output.y], axis=2)
