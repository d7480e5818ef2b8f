"""One suite over all networks: what each must do, whatever it is."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass, necks
from featherpose.models.hrnet import HRNet
from featherpose.models.layers import ConvNorm, DepthwiseBlock, NonLocalFromZero, attention
from featherpose.models.lean import MultiscaleAttention
from featherpose.models.repose import RePose

FULL = {
    "soft_gate": True,
    "stem_attention": "eca_cbam",
    "stage_attention": "eca_cbam",
    "neck": "eca_nonlocal_at_ends",
}
OTHER = FULL | {
    "neck": "eca_nonlocal_from_zero_at_ends",
    "activation": "hard_swish",
    "expansion": 0.75,
    "kernel": 5,
}
CBAM = {"stem_attention": "cbam", "stage_attention": "cbam", "neck": "cbam"}
JOINT = {"heatmaps": "joint", "order": "top_down", "update": "replace"}
ARM = {
    14: {},
    16: {},
    17: {},
    3: {"update_blocks": 1},
}  # three joints of one's own keep the suite short
ARM[3]["skeleton"] = {
    "name": "arm",
    "joints": ["shoulder", "elbow", "wrist"],
    "limbs": ["shoulder-elbow", "elbow-wrist"],
}
SHALLOW = {"modules": (1, 1, 1), "blocks": 1}
# name: (network with few channels, its input, its number of outputs). The paper's sizes are counted in test_sizes.py.
NETWORKS = {
    "lapx": (lambda joints=16: Hourglass(joints, channels=32, depth=2, **FULL), (64, 64), 3),
    "lap": (
        lambda joints=16: Hourglass(joints, stages=2, channels=64, depth=2, **CBAM),
        (64, 64),
        2,
    ),
    "hourglass": (lambda joints=16: Hourglass(joints, stages=2, channels=16, depth=1), (64, 32), 2),
    "lapx of other parts": (
        lambda joints=16: Hourglass(joints, stages=2, channels=32, depth=1, **OTHER),
        (64, 32),
        2,
    ),
    "hrnet_w32": (lambda joints=16: HRNet(joints, 4, **SHALLOW), (64, 64), 1),
    "leanblock": (lambda joints=16: HRNet(joints, 8, "lean", "branches", **SHALLOW), (64, 64), 1),
    "le_hrnet": (lambda joints=16: HRNet(joints, 32, "leema", "all", **SHALLOW), (64, 64), 1),
    "repose": (lambda joints=16: RePose(joints, update_blocks=1), (32, 32), 5),
    "repose of 2 stages": (
        lambda joints=3: RePose(joints, stages=2, levels=1, **ARM[joints]),
        (16, 16),
        6,
    ),
    "repose, joint and top down": (
        lambda joints=3: RePose(joints, levels=1, **ARM[joints], **JOINT),
        (32, 32),
        3,
    ),
    "repose, sequential": (
        lambda joints=14: RePose(joints, updates="sequential", update_blocks=1),
        (32, 32),
        5,
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, **keys: int) -> nn.Module:
    """The network with gates and statistics that are not at their start, where much would be invisible."""
    torch.manual_seed(0)
    network = NETWORKS[name][0](**keys)
    for key, parameter in network.named_parameters():
        if key.endswith("gamma"):
            nn.init.constant_(parameter, 0.35)
        elif parameter.ndim == 0:  # of RePose's updates, which start at 1
            nn.init.constant_(parameter, 0.3)
        elif key.endswith("alpha"):
            nn.init.uniform_(parameter, 0.3, 0.6)
        elif isinstance(network, HRNet) and parameter.ndim == 4:
            nn.init.kaiming_uniform_(
                parameter
            )  # its own start, 0.001, leaves outputs at the rounding error
    for module in network.modules():
        if isinstance(module, NonLocalFromZero):
            nn.init.normal_(module.project.weight, std=0.1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for (
        norm
    ) in norms:  # statistics that fit the weights: with random ones a hundred layers would blow up
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, *(2 * side for side in NETWORKS[name][1])))
    for norm in norms:
        norm.momentum = 0.1
    return network


def images(name: str, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *NETWORKS[name][1], generator=torch.Generator().manual_seed(1))


def assert_right(network: nn.Module, x: Tensor, found: list[Tensor]) -> None:
    """As near to the network in double precision as the network in single precision is, give or take a factor of 8.

    Random networks amplify rounding errors by up to a thousand, each by its own factor; no fixed tolerance fits all.
    """
    with torch.no_grad():
        exact, single = copy.deepcopy(network).double()(x.double()), network(x)
    assert len(found) == len(exact)
    for truth, own, other in zip(exact, single, found, strict=True):
        rounding = float((own - truth).abs().max())
        assert rounding < 1e-3 * float(truth.abs().max())
        assert float((other - truth).abs().max()) <= 8 * rounding + 1e-6 * float(truth.abs().max())


@every_network
@pytest.mark.parametrize("joints", [14, 16, 17])
def test_a_list_of_heatmaps(name, joints):
    network, (height, width) = NETWORKS[name][0](joints).to("meta").eval(), NETWORKS[name][1]
    outputs = network(torch.empty(2, 3, height, width, device="meta"))
    assert len(outputs) == NETWORKS[name][2]
    assert len(set(network.output_names(len(outputs)))) == len(outputs)
    size = (2, joints, height // network.stride, width // network.stride)
    assert all(tuple(output.shape) == size for output in outputs)
    assert network.joints == joints


@every_network
def test_every_parameter_learns(name):
    network = build(name).train()
    height, width = NETWORKS[name][1]
    outputs = network(
        torch.randn(2, 3, 2 * height, 2 * width)
    )  # a neck of one pixel has nothing to attend to
    weights = [torch.randn_like(output) for output in outputs]
    sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True)).backward()
    without = [
        key
        for key, p in network.named_parameters()
        if p.grad is None or not p.grad.isfinite().all()
    ]
    assert not without
    # Biases may be idle: one before a batch norm, or phi's, which shifts all scores of a query alike.
    still = [
        key
        for key, p in network.named_parameters()
        if not p.grad.any() and not key.endswith("bias")
    ]
    assert not still


@every_network
@torch.no_grad()
def test_weights_survive_saving(name):
    network, file = build(name).eval(), io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = NETWORKS[name][0]()
    again.load_state_dict(torch.load(file, weights_only=True))
    for one, other in zip(network(images(name)), again.eval()(images(name)), strict=True):
        assert torch.equal(one, other)


@every_network
@torch.no_grad()
def test_channels_last_changes_nothing(name):
    network = build(name).eval()
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert_right(network, images(name), last(images(name).to(memory_format=torch.channels_last)))


@every_network
def test_bf16_autocast_keeps_bf16_and_stays_near(name):
    network, rounded = build(name).eval(), build(name).eval()
    for parameter in rounded.parameters():
        parameter.data = parameter.bfloat16().float()
    with torch.no_grad():
        exact, near = network(images(name)), rounded(images(name).bfloat16().float())
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images(name))
    for truth, once, other in zip(exact, near, rough, strict=True):
        assert other.dtype == torch.bfloat16
        # Random networks amplify errors, each by its own factor: rounding weights and images once shows by how much.
        assert (other - truth).norm() < 5 * (once - truth).norm()
    first = exact[
        0
    ]  # before errors have grown through every stage; unrelated maps would be 1.4 apart
    assert (rough[0] - first).norm() < 0.6 * first.norm()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(output.float().square().mean() for output in network.train()(images(name)))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@every_network
def test_in_place_activations_leave_gradients_right(name):
    """The gradient of a step along itself, in double precision, agrees with the change of the output."""
    network = build(name).double().eval()
    x = images(name, batch=1).double().requires_grad_()
    target = [torch.randn_like(output) for output in network(x)]

    def value(x: Tensor) -> Tensor:
        return sum((output * t).sum() for output, t in zip(network(x), target, strict=True))

    (gradient,) = torch.autograd.grad(value(x), x)
    direction, step = gradient / gradient.norm(), 1e-8
    with torch.no_grad():
        slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=1e-3)


@pytest.mark.slow
@every_network
def test_onnx_gives_the_same_heatmaps(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build(name).eval()
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(
        network, (images(name),), path, dynamo=True, external_data=False, verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: images(name).numpy()})
    assert_right(network, images(name), [torch.from_numpy(maps) for maps in found])


@pytest.mark.parametrize(
    "size", [(384, 288), (256, 192), (256, 256), (320, 224), (192, 384)], ids=str
)
@pytest.mark.parametrize(
    "make", [lambda: Hourglass(17, **FULL), lambda: HRNet(17, **SHALLOW), lambda: RePose(17)]
)
def test_any_suitable_size(make, size):
    """384x288 is the odd one: at its fourth level an hourglass is 9 wide, of which pooling leaves 4."""
    with torch.device("meta"):
        network = make().eval()
    final = network(torch.empty(1, 3, *size, device="meta"))[-1]
    assert tuple(final.shape[2:]) == (size[0] // network.stride, size[1] // network.stride)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("lapx", (66, 64), "multiples of 4 and at least 16, not 66x64"),
        ("lapx", (64, 12), "at least 16"),
        ("le_hrnet", (256, 208), "multiples of 32 and at least 64, not 256x208"),
        ("repose", (128, 100), "multiples of 8 and at least 16, not 128x100"),
    ],
)
def test_an_unsuitable_size_is_told_in_one_sentence(name, size, says):
    with pytest.raises(PoseError, match=says):
        NETWORKS[name][0]().to("meta")(torch.empty(1, 3, *size, device="meta"))


@pytest.mark.parametrize(("name", "least"), [("lapx", 16), ("le_hrnet", 64), ("repose", 16)])
def test_the_least_size_that_is_named_is_taken(name, least):
    with torch.device("meta"):
        network = NETWORKS[name][0]()
    assert network.check(least, least) is None
    with pytest.raises(PoseError, match=f"at least {least}"):
        network.check(least // 2, least)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Hourglass(16, channels=190), "multiple of 4"),
        (
            lambda: Hourglass(16, activation="gelu"),
            "no model.activation=gelu; known: elu, relu, re",
        ),
        (lambda: Hourglass(16, expansion=0), "model.expansion is 0"),
        (lambda: Hourglass(16, kernel=4), "model.kernel is 1, 3, 5, 7 or 9, not 4"),
        (lambda: Hourglass(16, neck="ecca"), "no attention module 'ecca'"),
        (lambda: Hourglass(16, neck=["eca"]), "lists 1 modules for 3 stages"),
        (lambda: Hourglass(16, stages=0), "at least 1"),
        (lambda: HRNet(16, block="heavy"), "basic, lean or leema"),
        (lambda: HRNet(16, channels=48, block="leema"), "multiple of 32"),
        (lambda: HRNet(16, channels=0), "multiple of 1, not 0"),
        (lambda: HRNet(16, modules=(1, 4)), "three numbers"),
        (lambda: RePose(15), "No kinematic graph is known for 15 joints"),
        (lambda: RePose(16, skeleton="lsp"), "has 14 joints, but model.joints is 16"),
        (lambda: RePose(16, update="mix"), "trainable, add, replace"),
        (lambda: RePose(16, order="feet_first"), "no update order"),
    ],
)
def test_a_wrong_choice_is_told_in_one_sentence(make, says):
    with torch.device("meta"), pytest.raises(PoseError, match=says):
        make()


def test_the_narrowest_hrnet_has_one_channel():
    with torch.device("meta"):
        assert HRNet(16, channels=1, **SHALLOW).final_layer.in_channels == 1


def test_the_first_output_of_a_fresh_gate_ignores_its_skip():
    """Alpha and gamma start at 0, as the papers say."""
    network = Hourglass(16, channels=32, **FULL)
    scales = {key: p for key, p in network.named_parameters() if key.endswith(("alpha", "gamma"))}
    assert sum(key.endswith("gamma") for key in scales) == 2
    assert sum(key.endswith("alpha") for key in scales) == 3 * 13  # thirteen blocks an hourglass
    assert all(not p.any() for p in scales.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lapx", "lap", "le_hrnet", "hrnet_w32", "repose of 2 stages"])
@torch.no_grad()
def test_torch_compile_takes_the_network_as_one_graph(name):
    network = build(name).eval()
    torch._dynamo.reset()
    assert_right(
        network,
        images(name),
        torch.compile(network, fullgraph=True, backend="aot_eager")(images(name)),
    )


class Parts(nn.Module):
    """Everything that an hourglass is made of, once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, 7, 2, nn.ELU(inplace=True))
        self.block = DepthwiseBlock(16, 16, soft_gate=True)
        self.neck = attention("eca_nonlocal", 16)
        self.attention = attention("eca_cbam", 16)
        self.heatmaps = nn.Conv2d(16, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        low = self.neck(self.block(F.max_pool2d(x, 2)))
        return self.heatmaps(self.attention(x + F.interpolate(low, size=x.shape[2:])))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torch_compile_generates_right_code():
    """Compiled for real; a full network takes minutes of the compiler's time."""
    torch.manual_seed(0)
    network = Parts()
    for key, parameter in network.named_parameters():
        if key.endswith(("alpha", "gamma")):
            nn.init.constant_(parameter, 0.4)
    x, again = torch.randn(2, 3, 32, 32), copy.deepcopy(network)
    expected, found = network(x), torch.compile(again)(x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    for output in (expected, found):
        output.square().sum().backward()
    for (key, one), other in zip(network.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(
            other.grad, one.grad, rtol=1e-2, atol=1e-2 * float(one.grad.abs().max() + 1e-3), msg=key
        )


@pytest.mark.parametrize("channels", [32, 64, 128])
@torch.no_grad()
def test_the_exported_form_of_an_ema_is_the_same_function(channels):
    torch.manual_seed(channels)
    ema = MultiscaleAttention(channels).eval()
    for parameter in ema.parameters():
        parameter.normal_()
    x = torch.randn(2, channels, 12, 9)
    torch.testing.assert_close(ema.for_export()(x), ema(x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_non_local_from_zero_adds_nothing_at_first():
    x = torch.randn(2, 32, 4, 3)
    module = NonLocalFromZero(32)
    assert torch.equal(module(x), x)
    nn.init.normal_(module.project.weight)
    assert not torch.equal(module(x), x)


def test_what_stands_at_the_ends():
    assert necks("eca_nonlocal_at_ends", 4) == ["eca_nonlocal", "eca", "eca", "eca_nonlocal"]
    assert necks("cbam_at_ends", 3) == ["cbam", "eca", "cbam"]
    assert necks("cbam_at_ends", 1) == ["cbam"]
