"""LAPX made lighter: the same interface, within LAPX's budget of parameters, about half of its operations."""

from __future__ import annotations

import pytest
import torch
from hydra import compose, initialize_config_dir

from featherpose.errors import PoseError
from featherpose.models.count import macs
from featherpose.models.fast import FastHourglass
from featherpose.models.hourglass import Hourglass
from featherpose.models.layers import NonLocal
from featherpose.models.weights import load_published, to_published
from featherpose.targets import build


def small(**keys) -> FastHourglass:
    torch.manual_seed(0)
    return FastHourglass(16, channels=(16, 24, 32), **keys)


@pytest.mark.parametrize("name", ["lapx", "lapx_fast"])
def test_size(root, name):
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        cfg = compose("train", [f"model={name}", "data.joints=17"])
    with torch.device("meta"):
        network = build(cfg.model)
    parameters = sum(p.numel() for p in network.parameters())
    assert (parameters, macs(network, 256, 192)) == {
        "lapx": (2_312_154, 2_511_652_528),
        "lapx_fast": (2_153_378, 1_255_990_256),
    }[name]
    assert cfg.schedule.name == "lapx"


def test_heatmaps_of_every_stage_and_every_parameter_learns():
    network = small().train()
    for module in network.modules():
        if isinstance(module, NonLocal):
            module.gamma.data.fill_(0.3)
    outputs = network(torch.randn(2, 3, 64, 96))
    assert [tuple(output.shape) for output in outputs] == [(2, 16, 16, 24)] * 3
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    still = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [key for key in still if not key.endswith("bias")]
    assert sum(isinstance(module, NonLocal) for module in network.modules()) == 2


def test_norms_and_activations_melt_into_convolutions(tmp_path):
    """That is what the blocks are for: the exported graph has no batch norm, and the runtime no activation, left."""
    onnxruntime = pytest.importorskip("onnxruntime")
    import onnx

    network, path = (
        small(stages=1, neck=None, stem_attention=None, stage_attention=None).eval(),
        tmp_path / "n.onnx",
    )
    torch.onnx.export(
        network,
        (torch.randn(1, 3, 64, 64),),
        str(path),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(str(path)).graph.node}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "o.onnx"), 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "o.onnx")).graph.node}
    assert "Relu" not in kinds and "Conv" in kinds


def test_the_smallest_there_is():
    tiny = FastHourglass(1, stages=1, channels=(16, 16), stem_attention=None, neck=None).eval()
    assert [tuple(each.shape) for each in tiny(torch.zeros(1, 3, 64, 48))] == [(1, 1, 16, 12)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FastHourglass(16, channels=(20, 24)), "multiples of 8"),
        (lambda: FastHourglass(0), "one joint"),
        (lambda: FastHourglass(16, channels=(32,)), "two sizes"),
        (lambda: FastHourglass(16, stages=0), "at least one stage"),
        (lambda: small()(torch.empty(1, 3, 66, 64)), "multiples of 4 and at least 16"),
    ],
)
def test_a_wrong_choice_is_told_in_one_sentence(make, says):
    with pytest.raises(PoseError, match=says):
        make()


def test_lapx_weights_for_it_are_refused_in_one_sentence():
    """It is no `Hourglass`: once, the authors' names were looked for in it and a KeyError came out."""
    theirs = to_published(Hourglass(4, stages=1, channels=16))
    with pytest.raises(PoseError, match=r"LAPX\.pth does not fit this FastHourglass of 4 joints"):
        load_published(FastHourglass(4, 1, (16, 16)), theirs, "LAPX.pth")
