"""The time of a network as `export` would write it, without waiting for `export`."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
import torch
from omegaconf import OmegaConf

from featherpose.benchmarks.sizes import composed
from featherpose.export import quick
from featherpose.export.onnx import Deployed, graph_of
from featherpose.export.rewrite import rewrite
from featherpose.inference.backends import open_session
from featherpose.models.hourglass import Hourglass
from featherpose.models.network import PoseNetwork
from featherpose.skeletons import COCO
from featherpose.targets import build

SIZE = (64, 64)
ARITHMETIC = ("Conv", "MatMul", "Elu", "Exp", "Sigmoid", "Softmax", "MaxPool", "Resize")


def lapx() -> PoseNetwork:
    network = Hourglass(
        joints=17,
        stages=1,
        channels=32,
        depth=2,
        soft_gate=True,
        stem_attention="eca_cbam",
        stage_attention="eca_cbam",
        neck="eca_nonlocal",
    )
    return quick.settle(network, SIZE)


def operations(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def test_it_is_the_function_and_the_arithmetic_that_export_writes() -> None:
    deployed = Deployed(lapx(), COCO).eval()
    quickly = quick.quick_graph(deployed, SIZE)
    fully = graph_of(deployed, SIZE, deployed.all_names, 1)
    rewrite(fully)
    found, wanted = operations(quickly), operations(fully)
    assert {op: found[op] for op in ARITHMETIC} == {op: wanted[op] for op in ARITHMETIC}
    assert found["BatchNormalization"] == wanted["BatchNormalization"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lapx_simcc", "rtmpose_t"])
def test_other_networks_give_what_torch_gives(name: str) -> None:
    size = (128, 128)
    cfg = composed([f"model={name}", "data=coco", "data.input_size=[128,128]"]).model
    deployed = Deployed(quick.settle(build(OmegaConf.to_object(cfg)), size), COCO).eval()
    model = quick.quick_graph(deployed, size)
    session = open_session(ir.to_proto(model).SerializeToString(), 1)
    picture = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    found = session.run(None, {"images": picture.numpy()})
    with torch.no_grad():
        wanted = deployed.outputs(picture)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-3 * float(other.abs().max()))


def test_milliseconds_leave_the_network_as_it_was() -> None:
    network = lapx().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert quick.milliseconds(network, SIZE) > 0
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_what_else_runs_makes_no_pass_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest pass counts, of a second of them and of nine at least; the first two fill the caches."""
    for each, count in ((0.05, 20), (0.25, 9)):
        given = [0.001, 0.002, *[each] * 5, each / 2, *[each] * 100]
        passes = iter(given)
        monkeypatch.setattr(quick, "seconds", lambda *_, passes=passes: next(passes))
        assert quick.milliseconds(lapx(), SIZE) == pytest.approx(1000 * each / 2)
        assert len(given) - len(list(passes)) in (count + 2, count + 3)
