"""An OpenVINO file (.xml and .bin) of the same function, checked like an ONNX file before it is written."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.export.onnx import TOLERANCE, Deployed, Parity, compare, graph_of
from featherpose.files import replacing
from featherpose.inference.backends import OpenVINO
from featherpose.inference.description import KEY, Description


def export_openvino(
    deployed: Deployed,
    path: Path,
    crops: Tensor,
    description: Description,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Writes `path` (.xml) and its .bin, in float32. The graph is the plain one: OpenVINO's own kernels suit it."""
    try:
        import openvino
    except ImportError as error:
        raise PoseError(
            "openvino=true needs openvino: pip install 'featherpose[openvino]'."
        ) from error
    model = graph_of(deployed, description.input_size, deployed.all_names, None)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        ir.save(model, plain)
        found = openvino.convert_model(str(plain))
        found.set_rt_info(replace(description, extra={"format": "openvino"}).to_json(), [KEY])
        # OpenVINO names the .bin after the .xml, and so does `replacing`; the weights are put in place first
        with replacing(path) as converted, replacing(path.with_suffix(".bin")):
            openvino.save_model(found, str(converted), compress_to_fp16=False)
            runner = OpenVINO(converted).run
            return compare(deployed, converted, crops, description, path, tolerance, runner=runner)
