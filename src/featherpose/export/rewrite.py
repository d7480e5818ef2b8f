"""Faster ONNX graphs of the same function, in standard operators.

A plain export of LAPX spends over half of its time outside its convolutions: in the runtime's scalar Elu kernel, in
reductions over channels (strided memory), and in layers that could be part of a convolution. Each function below
replaces one such form wherever it stands, in any network's graph; `rewrite` applies all of them.
Shapes must be static but for the batch, as `torch.onnx.export` leaves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common


class OnnxGraph:
    """An ONNX graph and the few edits that the rewrites need."""

    def __init__(self, model: ir.Model):
        self.graph = model.graph
        self.made = 0

    def constant(self, array: np.ndarray, name: str) -> ir.Value:
        self.made += 1
        tensor = ir.tensor(np.asarray(array, order="C"), name=f"{name}_{self.made}")
        value = ir.Value(
            name=tensor.name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.initializers[value.name or ""] = value
        return value

    def add(
        self,
        before: ir.Node,
        op: str,
        *inputs: ir.Value | None,
        outputs: int = 1,
        **attributes: Any,
    ) -> ir.Node:
        self.made += 1
        node = ir.node(
            op,
            list(inputs),
            attributes,
            num_outputs=outputs,
            name=f"{op.lower()}_rewritten_{self.made}",
        )
        for output in node.outputs:
            output.name = f"{node.name}_{output.index()}"
        self.graph.insert_before(before, node)
        return node

    def replace(self, node: ir.Node, value: ir.Value) -> None:
        """Lets everything that read the node's only output read `value` instead, the graph's outputs included."""
        old = node.outputs[0]
        value.shape, value.type = old.shape, old.type
        if old.is_graph_output():  # the output's name stays
            value.name, old.name = old.name, f"{old.name}_before"
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)


def array_of(value: ir.Value | None) -> np.ndarray | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    found = node.attributes.get(name)
    return default if found is None else found.value


def only_user(value: ir.Value, node: ir.Node) -> bool:
    return not value.is_graph_output() and {user for user, _ in value.uses()} == {node}


def is_pointwise(node: ir.Node | None) -> bool:
    """A 1x1 convolution of one group, stride 1, no padding, with constant weights."""
    if node is None or node.op_type != "Conv" or array_of(node.inputs[1]) is None:
        return False
    weight = array_of(node.inputs[1])
    plain = (
        weight is not None
        and weight.ndim == 4
        and weight.shape[2:] == (1, 1)
        and attribute(node, "group", 1) == 1
    )
    auto = attribute(node, "auto_pad", "NOTSET")
    unpadded = not any(attribute(node, "pads", [0])) and auto in ("NOTSET", "VALID")
    return plain and unpadded and all(step == 1 for step in attribute(node, "strides", [1]))


def matrix_of(node: ir.Node) -> np.ndarray:
    """The weights (outputs, inputs) of a pointwise convolution, in float64."""
    weight = array_of(node.inputs[1])
    assert weight is not None, "is_pointwise asks for constant weights"
    return weight[:, :, 0, 0].astype(np.float64)


def bias_of(node: ir.Node, channels: int) -> np.ndarray | None:
    """A convolution's bias in float64; None when it is not constant."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels)
    bias = array_of(node.inputs[2])
    return None if bias is None else bias.astype(np.float64)


def merge_pointwise(graph: OnnxGraph, node: ir.Node) -> bool:
    """`conv(x) + conv(conv(x))`, all 1x1, is one 1x1 convolution: what an inner stage hands on without its head."""
    if node.op_type != "Add":
        return False
    for direct, second in (node.inputs, node.inputs[::-1]):
        # The sum's two sides: a(x), and c(b(x)), whichever way round they stand
        a = None if direct is None else direct.producer()
        c = None if second is None else second.producer()
        if a is None or c is None or a is c or not (is_pointwise(a) and is_pointwise(c)):
            continue
        b = c.inputs[0].producer() if c.inputs[0] is not None else None
        if b is None or not is_pointwise(b) or b.inputs[0] is not a.inputs[0]:
            continue
        # Nobody else may read what is merged
        if not (
            only_user(a.outputs[0], node)
            and only_user(c.outputs[0], node)
            and only_user(b.outputs[0], c)
        ):
            continue
        wa, wb, wc = (matrix_of(n) for n in (a, b, c))
        biases = [bias_of(n, w.shape[0]) for n, w in ((a, wa), (b, wb), (c, wc))]
        if any(bias is None for bias in biases):
            continue
        # a(x) + c(b(x)) = (Wa + Wc Wb) x + ba + Wc bb + bc
        weight = (wa + wc @ wb)[:, :, None, None].astype(np.float32)
        bias = (biases[0] + wc @ biases[1] + biases[2]).astype(np.float32)
        merged = graph.add(
            node,
            "Conv",
            a.inputs[0],
            graph.constant(weight, "merged_weight"),
            graph.constant(bias, "merged_bias"),
        )
        graph.replace(node, merged.outputs[0])
        return True
    return False


def fold_norm(graph: OnnxGraph, node: ir.Node) -> bool:
    """A batch norm becomes part of the convolution before it, or, where none is, a depthwise 1x1 convolution."""
    if node.op_type != "BatchNormalization" or len(node.outputs) > 1:
        return False
    scale, shift, mean, variance = (array_of(value) for value in node.inputs[1:5])
    if scale is None or shift is None or mean is None or variance is None:
        return False
    # The norm is x * factor + offset, channel by channel
    epsilon = attribute(node, "epsilon", 1e-5)
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    offset = shift - mean * factor
    source = node.inputs[0]
    before = source.producer() if source is not None else None
    # Into the convolution whose output nobody else reads
    if before is not None and before.op_type == "Conv" and only_user(before.outputs[0], node):
        weight = array_of(before.inputs[1])
        bias = None if weight is None else bias_of(before, weight.shape[0])
        if weight is not None and bias is not None:
            folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
            values = (
                before.inputs[0],
                graph.constant(folded.astype(np.float32), "folded_weight"),
                graph.constant((bias * factor + offset).astype(np.float32), "folded_bias"),
            )
            conv = graph.add(node, "Conv", *values)
            for name, value in before.attributes.items():
                conv.attributes[name] = value
            graph.replace(node, conv.outputs[0])
            return True
    # Or on its own
    if source is None or source.shape is None or len(source.shape) != 4:
        return False
    graph.replace(node, per_channel(graph, node, source, factor, offset).outputs[0])
    return True


def per_channel(
    graph: OnnxGraph, node: ir.Node, x: ir.Value, factor: np.ndarray, offset: np.ndarray | None
) -> ir.Node:
    """`factor * x + offset` as a depthwise 1x1 convolution, which keeps the runtime's blocked layout."""
    values = [x, graph.constant(factor.reshape(-1, 1, 1, 1).astype(np.float32), "factor")]
    if offset is not None:
        values.append(graph.constant(offset.astype(np.float32), "offset"))
    return graph.add(node, "Conv", *values, group=len(factor))


def gate(graph: OnnxGraph, node: ir.Node) -> bool:
    """One constant factor for each channel (the soft gate) as a depthwise 1x1 convolution."""
    if node.op_type != "Mul":
        return False
    for x, factor in (node.inputs, node.inputs[::-1]):
        array = array_of(factor)
        if (
            x is None
            or array is None
            or x.shape is None
            or len(x.shape) != 4
            or array_of(x) is not None
        ):
            continue
        channels = x.shape[1]
        if (
            not isinstance(channels, int)
            or array.shape[-3:] != (channels, 1, 1)
            or array.size != channels
        ):
            continue
        graph.replace(node, per_channel(graph, node, x, array.reshape(-1), None).outputs[0])
        return True
    return False


def elu(graph: OnnxGraph, node: ir.Node) -> bool:
    """Elu from vectorised operators: `max(x, exp(min(x, 0)) - 1)`; exp(x) - 1 lies above x but for x > 0.

    Clip takes the minimum on all threads; the runtime's Min runs on one.
    """
    if node.op_type != "Elu" or attribute(node, "alpha", 1.0) != 1.0:
        return False
    x = node.inputs[0]
    zero, one = (graph.constant(np.full((), value, np.float32), "scalar") for value in (0, 1))
    negative = graph.add(node, "Clip", x, None, zero)
    risen = graph.add(node, "Sub", graph.add(node, "Exp", negative.outputs[0]).outputs[0], one)
    graph.replace(node, graph.add(node, "Max", x, risen.outputs[0]).outputs[0])
    return True


def axes_of(node: ir.Node) -> list[int] | None:
    """Of a reduction of a 4-D value of known sides."""
    x = node.inputs[0]
    if (
        x is None
        or x.shape is None
        or len(x.shape) != 4
        or not all(isinstance(d, int) for d in list(x.shape)[1:])
    ):
        return None
    axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "axes", None)
    return None if axes is None else sorted(int(axis) % 4 for axis in np.ravel(np.asarray(axes)))


def keeps_dimensions(node: ir.Node) -> bool:
    return attribute(node, "keepdims", 1) == 1


def sizes_of(value: ir.Value, *axes: int) -> list[int]:
    """How long these axes are, which is known of all but the batch."""
    assert value.shape is not None
    sizes = [value.shape[axis] for axis in axes]
    return [size for size in sizes if isinstance(size, int)]


def channel_maximum(graph: OnnxGraph, node: ir.Node) -> bool:
    """The maximum over channels as a tree of pairwise maxima over halves: whole planes at a time, no strides."""
    if node.op_type != "ReduceMax" or axes_of(node) != [1] or not keeps_dimensions(node):
        return False
    x = node.inputs[0]
    assert x is not None
    (channels,) = sizes_of(x, 1)
    while channels > 1:
        half = (
            channels + 1
        ) // 2  # odd: the middle channel is in both halves, which a maximum does not mind
        axis, step = graph.constant(np.array([1]), "axis"), graph.constant(np.array([1]), "step")
        ends = [graph.constant(np.array([e]), "end") for e in (0, half, channels - half, channels)]
        low = graph.add(node, "Slice", x, ends[0], ends[1], axis, step)
        high = graph.add(node, "Slice", x, ends[2], ends[3], axis, step)
        x, channels = graph.add(node, "Max", low.outputs[0], high.outputs[0]).outputs[0], half
    graph.replace(node, x)
    return True


def global_maximum(graph: OnnxGraph, node: ir.Node) -> bool:
    """The maximum over a map's pixels as the pooling that it is; ncnn's converter knows no other."""
    if node.op_type != "ReduceMax" or axes_of(node) != [2, 3]:
        return False
    x = node.inputs[0]
    assert x is not None
    found = graph.add(node, "GlobalMaxPool", x)
    if not keeps_dimensions(node):
        shape = graph.constant(np.array([0, *sizes_of(x, 1)]), "channels")
        found = graph.add(node, "Reshape", found.outputs[0], shape)
    graph.replace(node, found.outputs[0])
    return True


def channel_mean(graph: OnnxGraph, node: ir.Node) -> bool:
    """The mean over channels as a product with a row of 1/C."""
    if node.op_type != "ReduceMean" or axes_of(node) != [1] or not keeps_dimensions(node):
        return False
    x = node.inputs[0]
    assert x is not None
    channels, height, width = sizes_of(x, 1, 2, 3)
    row = graph.constant(np.full((1, channels), 1 / channels, np.float32), "mean_row")
    planes = graph.add(
        node, "Reshape", x, graph.constant(np.array([0, channels, height * width]), "planes")
    )
    mean = graph.add(node, "MatMul", row, planes.outputs[0])
    image = graph.add(
        node, "Reshape", mean.outputs[0], graph.constant(np.array([0, 1, height, width]), "image")
    )
    graph.replace(node, image.outputs[0])
    return True


CHANGES = {
    "merge_pointwise": merge_pointwise,
    "fold_norm": fold_norm,
    "gate": gate,
    "elu": elu,
    "channel_maximum": channel_maximum,
    "global_maximum": global_maximum,
    "channel_mean": channel_mean,
}


def rewrite(model: ir.Model, names: Sequence[str] = tuple(CHANGES)) -> dict[str, int]:
    """Rewrites the model in place; says how often each change was made."""
    common.ShapeInferencePass()(model)
    graph = OnnxGraph(model)
    made = dict.fromkeys(names, 0)
    for name in names:
        for node in list(graph.graph):
            if node.graph is not None:  # not removed by an earlier change
                made[name] += CHANGES[name](graph, node)
        common.RemoveUnusedNodesPass()(model)
    return made
