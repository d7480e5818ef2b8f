"""The finder of people as an ONNX file: YOLOX's rows, pictures of any size, weights in 16 bits."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.export.half import halve_weights
from featherpose.export.onnx import graph_of, quiet
from featherpose.export.rewrite import rewrite
from featherpose.files import replacing
from featherpose.inference.backends import open_session, run
from featherpose.inference.detector import AREA_KEY
from featherpose.models.peers.yolox import rows_of, with_chances

EXAMPLE = (64, 96)  # height and width while tracing
TOLERANCE = 1e-4  # of the rows' numbers (boxes in cells) times the score
TOLERANCE_HALF = 5e-2  # with weights rounded to three digits, a hundred layers deep


class Rows(nn.Module):
    """What YOLOX's exports give: (B, N, 6), the last two as chances."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = copy.deepcopy(network).eval().cpu().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return rows_of(with_chances(self.network(images)))


def write(network: nn.Module, path: Path, area: int, images: Sequence[np.ndarray]) -> float:
    """Writes the file once it gives torch's rows on the images (3, H, W); gives the largest difference.

    Args:
        network: gives a map (B, 6, h, w) at each stride.
        path: of the file.
        area: pixels of a picture for which it was trained; kept in the file.
        images: BGR, 0 to 255, sides multiples of 32, of several sizes.
    """
    rows = Rows(network)
    model = graph_of(rows, EXAMPLE, ("rows",), batch=1)
    with quiet():
        rewrite(model)
    proto = ir.to_proto(model)
    open_sides(proto)
    helper.set_model_props(proto, {AREA_KEY: json.dumps(area)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        check(rows, proto, beside, path, images, TOLERANCE)
        halve_weights(proto)
        return check(rows, proto, beside, path, images, TOLERANCE_HALF)


def check(
    rows: Rows,
    proto: onnx.ModelProto,
    beside: Path,
    path: Path,
    images: Sequence[np.ndarray],
    tolerance: float,
) -> float:
    onnx.save(proto, beside)
    worst = max(difference(rows, beside, image) for image in images)
    if not worst <= tolerance:
        raise PoseError(
            f"{path} is not written: its rows differ from torch's by {worst:.1e}, more than {tolerance}."
        )
    return worst


def open_sides(model: onnx.ModelProto) -> None:
    """In place: height and width of pictures are open; what is flattened takes what is left."""
    graph = model.graph
    del graph.value_info[:]
    for value, names in ((graph.input[0], (2, 3)), (graph.output[0], (1,))):
        for at in names:
            side = value.type.tensor_type.shape.dim[at]
            side.Clear()
            side.dim_param = {1: "rows", 2: "height", 3: "width"}[at]
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
        if node.op_type == "Reshape":
            shape = constants[node.input[1]]
            sizes = numpy_helper.to_array(shape).copy()
            sizes[-1] = -1
            shape.CopyFrom(numpy_helper.from_array(sizes, shape.name))


@torch.no_grad()
def difference(rows: Rows, file: Path, image: np.ndarray) -> float:
    images = np.ascontiguousarray(image[None], np.float32)
    given = run(open_session(file, threads=1), images)["rows"]
    wanted = rows(torch.from_numpy(images)).numpy()
    if given.shape != wanted.shape:
        raise PoseError(f"The file gives {given.shape}, torch {wanted.shape}.")
    return float((np.abs(given - wanted) * wanted[..., 4:].prod(axis=-1, keepdims=True)).max())
