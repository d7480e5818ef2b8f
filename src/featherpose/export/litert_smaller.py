"""Smaller TFLite files of an exported one: weights in 16 bits, or convolutions in int8."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.export.half import agreeing
from featherpose.export.litert import silent
from featherpose.files import replacing
from featherpose.inference.backends import FileBackend
from featherpose.inference.description import Description
from featherpose.inference.litert import add_note

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")  # all that have weights
IN_INT8 = ("CONV_2D", "FULLY_CONNECTED")


def check_quantiser() -> None:
    """PoseError where it is not installed; it comes with the converter."""
    if find_spec("ai_edge_quantizer") is None:
        raise PoseError(
            "half=true and int8=true of format=litert need ai-edge-quantizer, which comes with litert-torch: "
            "pip install 'featherpose[formats]'."
        )


def halve_litert(source: Path, target: Path, crops: Tensor) -> tuple[float, float]:
    """Writes the half-size file of an exported one, once it agrees with it on the crops, as `half.halve` does.

    The runtime turns each weight back into float32 when it opens the file.
    """
    with replacing(target) as beside:
        smaller(source, beside, "float16 weights", whole=())
        return agreeing(source, beside, target, crops)


def quantise_litert(source: Path, target: Path, crops: Tensor) -> list[str]:
    """Writes the int8 file, once it has been run on the crops; gives the layers that stay float32.

    Convolutions get weights of 8 bits with a scale for each output channel. The runtime measures and rounds each
    convolution's input as it runs, picture by picture, so there is nothing to calibrate. What is not a convolution
    stays float32, and so do depthwise convolutions and the heads: they are cheap, depthwise ones lose most (in `light`
    13 points of AP) and run slower, and the heads' error is the keypoints'.
    """
    whole = heads(source.read_bytes())
    with replacing(target) as beside:
        smaller(source, beside, "int8", whole)
        backend = FileBackend(beside)
        (output,) = backend(crops.numpy()[:2])
        found = output.decode("argmax")[1]
        if not np.isfinite(found).all():
            raise PoseError(f"{target} is not written: its heatmaps are NaN or infinite.")
    return whole


def smaller(source: Path, beside: Path, precision: str, whole: Any) -> None:
    """Writes the graph with all convolutions' weights in this precision but those whose outputs are `whole`."""
    check_quantiser()
    with silent():
        from ai_edge_quantizer import algorithm_manager, quantizer

    names = algorithm_manager.AlgorithmName
    note: Description = FileBackend(source, threads=1).description
    made = quantizer.Quantizer(source.read_bytes())
    for kind in IN_INT8 if precision == "int8" else CONVOLUTIONS:
        if precision == "int8":
            made.add_dynamic_config(".*", kind, num_bits=8)
        else:
            made.add_weight_only_config(".*", kind, num_bits=16, algorithm_key=names.FLOAT_CASTING)
        for name in whole:
            made.update_quantization_recipe(
                f"^{re.escape(name)};?$", kind, algorithm_key=names.NO_QUANTIZE
            )
    with silent(), contextlib.redirect_stderr(io.StringIO()):  # it draws bars all the same
        result = made.quantize(enable_progress_bar=False, enable_progress_report=False)
    beside.write_bytes(bytes(result.quantized_model))
    add_note(beside, replace(note, precision=precision).to_json())


def heads(content: bytes) -> list[str]:
    """The outputs of the first convolutions on the way back from what the graph gives."""
    from ai_edge_litert import schema_py_generated as tfl

    model = tfl.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    kinds = [getattr(tfl.BuiltinOperator, kind) for kind in CONVOLUTIONS]
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    makers = {output: node for node in graph.operators for output in node.outputs}
    found, seen, waiting = [], set(), list(graph.outputs)
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if node is None or tensor in seen:
            continue
        seen.add(tensor)
        if codes[node.opcodeIndex] in kinds:
            found.append(graph.tensors[tensor].name.decode())
        else:
            waiting.extend(node.inputs)
    return found
