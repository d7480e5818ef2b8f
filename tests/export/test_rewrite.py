"""What the rewrites add to a graph; that the files give torch's heatmaps is tested in test_onnx.py."""

from __future__ import annotations

import onnx_ir as ir

from featherpose.export.rewrite import OnnxGraph


def test_each_node_that_is_added_has_a_name_of_its_own() -> None:
    x = ir.Value(name="x", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT))
    last = ir.node("Relu", [x], name="last")
    graph = OnnxGraph(ir.Model(ir.Graph([x], list(last.outputs), nodes=[last]), ir_version=10))
    added = [graph.add(last, "Exp", x) for _ in range(3)]
    assert len({node.name for node in added}) == 3
    assert len({node.outputs[0].name for node in added}) == 3
