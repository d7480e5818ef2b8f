"""A graph that was traced with a fixed batch, opened to any number of pictures.

Tracing with a symbol for the batch takes twice the time (LAPX: 52 against 25 CPU seconds), for a few reshapes
and resizes that name it. Here they are told to take what is left. Whoever writes a file runs it on two batch sizes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from featherpose.export.rewrite import OnnxGraph, array_of

EXAMPLE = 97  # pictures while tracing: a number that is no size of any network
# What gives the same for each picture, however many there are
EACH = {
    *("Conv", "Add", "Mul", "Sub", "Div", "Relu", "Elu", "Sigmoid", "Exp", "Max", "Min", "Clip", "Erf", "Sqrt"),
    *("BatchNormalization", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "AveragePool", "MatMul", "Gemm"),
    *("Softmax", "Pad", "Tanh", "HardSigmoid", "HardSwish", "Concat", "InstanceNormalization", "ConvTranspose"),
    *("Transpose", "Slice", "Split", "Gather", "Unsqueeze", "Squeeze", "ReduceMean", "ReduceMax", "ReduceSum"),
    *("Reciprocal", "Floor", "Log", "Abs", "Where"),
    *("Pow", "Neg", "Cast", "Gelu", "LayerNormalization", "GroupNormalization", "PRelu", "LeakyRelu", "Identity"),
}  # fmt: skip


def open_batch(model: ir.Model) -> bool:
    """Whether it could be done; where not, the graph is as it was or useless, and has to be traced with a symbol."""
    graph = OnnxGraph(model)
    for node in list(model.graph):
        if any(_constant_with_batch(value) for value in node.inputs):
            return False
        if node.op_type == "Reshape":
            if not _reshape(graph, node):
                return False
        elif node.op_type == "Resize":
            if not _resize(graph, node):
                return False
        elif node.op_type not in EACH:
            return False
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        if value.shape is not None and EXAMPLE in value.shape:
            value.shape = ir.Shape(["batch" if side == EXAMPLE else side for side in value.shape])
    return True


def _leads(value: ir.Value) -> bool:
    """The batch stands first, and nowhere else."""
    shape = value.shape
    return shape is not None and len(shape) > 0 and shape[0] == EXAMPLE


def _constant_with_batch(value: ir.Value | None) -> bool:
    """A constant that was made for the example's pictures, e.g. a grid that is added to each."""
    array = array_of(value)
    return array is not None and array.ndim > 1 and array.shape[0] == EXAMPLE


def _reshape(graph: OnnxGraph, node: ir.Node) -> bool:
    out = node.outputs[0]
    source = node.inputs[0]
    if source is None or not _leads(source) or not _leads(out) or out.shape is None:
        return False
    sizes = np.array([-1, *out.shape.numpy()[1:]])
    node.replace_input_with(1, graph.constant(sizes, "sizes"))
    node.attributes.pop("allowzero", None)
    return True


def _resize(graph: OnnxGraph, node: ir.Node) -> bool:
    """Sizes name the batch; scales do not."""
    sizes = array_of(node.inputs[3]) if len(node.inputs) > 3 else None
    source = node.inputs[0]
    if sizes is None or source is None or source.shape is None:
        return sizes is None
    given = source.shape.numpy()
    scales = np.array([1.0, 1.0, *(sizes[i] / given[i] for i in (2, 3))], np.float32)
    if not np.array_equal(scales.round(), scales):  # rounding may give another size
        return False
    node.replace_input_with(3, None)
    node.replace_input_with(2, graph.constant(scales, "scales"))
    return True
