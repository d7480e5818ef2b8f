"""How long a network takes as `export` would write it, known in seconds: a search asks before it trains.

torch's older exporter, by TorchScript, is some eight times as fast as today's; rewritten both give the same arithmetic.
What is trained is exported by today's.
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import nn

from featherpose.export.onnx import Deployed, exportable, fold, quiet
from featherpose.export.rewrite import rewrite
from featherpose.inference.backends import open_session
from featherpose.models.network import PoseNetwork
from featherpose.skeletons import COCO

OPSET = 20
WARM = 2  # passes that do not count
LEAST, LONG = 9, 1.0  # then at least so many, and so many CPU seconds of them


def milliseconds(network: PoseNetwork, size: Sequence[int]) -> float:
    """CPU time of one picture in ONNX Runtime at one thread: of the fastest pass.

    Whatever else runs, here or on the same processor, makes passes slower and none faster.
    """
    network = settle(copy.deepcopy(network).cpu(), size)
    model = quick_graph(Deployed(network, COCO), size)  # without the flip test no joint has a name
    session = open_session(ir.to_proto(model).SerializeToString(), threads=1)
    picture = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
    spent = [seconds(session, picture) for _ in range(WARM + LEAST)][WARM:]
    while sum(spent) < LONG:
        spent.append(seconds(session, picture))
    return 1000 * min(spent)


def seconds(session: Any, picture: np.ndarray) -> float:
    began = time.process_time()
    session.run(None, {"images": picture})
    return time.process_time() - began


def quick_graph(deployed: Deployed, size: Sequence[int]) -> ir.Model:
    """The rewritten graph for one picture, by way of TorchScript."""
    module = exportable(copy.deepcopy(deployed)).requires_grad_(False).eval()
    picture = torch.randn(1, 3, *size)
    file = io.BytesIO()
    with torch.no_grad(), quiet():
        module(picture)  # constants that are made once are made here, not while tracing
        torch.onnx.export(
            module,
            (picture,),
            file,  # ty: ignore[invalid-argument-type]  # the older exporter takes it
            input_names=["images"],
            output_names=list(deployed.all_names),
            opset_version=OPSET,
            dynamo=False,
        )
        shaped = onnx.shape_inference.infer_shapes(onnx.load_from_string(file.getvalue()))
        model = ir.from_proto(shaped)
        fold(model)
        rewrite(model)
    return model


def settle(network: PoseNetwork, size: Sequence[int]) -> PoseNetwork:
    """A random network whose activations have the scale of a trained one's.

    Gates that start at 0 would hide half of the network, and values that shrink from layer to layer end as
    denormals, which cost a CPU a hundred times as much: one pass in training mode fills the batch norms' statistics.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if key.endswith(("alpha", "gamma")) and not parameter.any():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.5 + 0.25)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        network.train()(torch.randn(2, 3, *size, generator=generator))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return network.eval()
