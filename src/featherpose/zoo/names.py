"""How other projects name the entries of networks that are here too.

Each map goes from one of our names to theirs, without the parts that frameworks put in front (`backbone.`, `head.`,
`keypoint_head.`). They were compared with the sources' own code: equal outputs for equal numbers.

| network | whose names |
|---|---|
| Hourglass | the LAPX authors |
| HRNet | leoxiaobin/deep-high-resolution-net.pytorch, mmpose, timm's hrnet_w32 |
| SimpleBaseline with ResNet-50 | the same repository, mmpose, torchvision's resnet50 |
| SimpleBaseline with MobileNetV2 | mmpose, torchvision's mobilenet_v2 |
| StackedHourglass | bearpaw/pytorch-pose, anibali/pytorch-stacked-hourglass |
| LiteHRNet, NaiveLiteHRNet | HRNet/Lite-HRNet, mmpose |
| RTMPose | mmpose |
| HRFormer | HRNet/HRFormer |
| HFHRNet | zhanghao5201/HF-HRNet |
| LPN | zhang943/lpn-pytorch |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from featherpose.models.hourglass import Hourglass
from featherpose.models.hrnet import HRNet
from featherpose.models.layers import ConvNorm
from featherpose.models.peers.branches import Branches, Transition
from featherpose.models.peers.hf_hrnet import HFHRNet
from featherpose.models.peers.hrformer import HRFormer
from featherpose.models.peers.lite_hrnet import LiteHRNet, NaiveLiteHRNet
from featherpose.models.peers.lpn import LPN
from featherpose.models.peers.rtmpose import RTMPose
from featherpose.models.peers.simple_baseline import InvertedResidual, SimpleBaseline
from featherpose.models.peers.stacked_hourglass import StackedHourglass
from featherpose.models.weights import published_names

# HRFormer's files keep an index that follows from the window's size, and a table of biases that their public pose
# code reads and does not add: it counts for nothing in what they learned
_INDEX, _UNUSED = "attn.relative_position_index", "attn.relative_position_bias_table"
_CONTEXT = "att.channel_add_conv."
_FRONT = re.compile(r"^(backbone|keypoint_head|head)\.")
Rename = Callable[[str], str]
_CONV_NORM = ("conv", "bn")  # mmcv's names for a convolution and the norm behind it


def to_ours(network: nn.Module, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's entries under the network's names; those that no map knows keep theirs."""
    ours = network.state_dict()
    given = {_FRONT.sub("", name): v for name, v in theirs.items() if not name.endswith(_INDEX)}
    given |= {n: torch.zeros_like(v) for n, v in given.items() if n.endswith(_UNUSED)}
    # LPN's perceptrons of one place are 1x1 convolutions and norms over (C, 1, 1) there
    given |= {n: v[..., 0, 0] for n, v in given.items() if _CONTEXT in n and v.ndim > 2}

    def fitting(names: Mapping[str, str], entries: Mapping[str, Tensor]) -> int:
        shapes = ((value.shape, entries.get(names[name])) for name, value in ours.items())
        return sum(there is not None and there.shape == shape for shape, there in shapes)

    best = max(name_maps(network), key=lambda names: fitting(names, given), default={})
    if not best or fitting(best, given) <= fitting({name: name for name in ours}, theirs):
        return dict(theirs)
    found = {name: given.pop(their) for name, their in best.items() if their in given}
    return found | _without_biases(network, found, best, given)


def name_maps(network: nn.Module) -> list[dict[str, str]]:
    """Their names by ours, once for each way to name such a network that is known."""
    if isinstance(network, Hourglass):
        return [published_names(network)]
    return [{name: rename(name) for name in network.state_dict()} for rename in _renamers(network)]


def _without_biases(
    network: nn.Module,
    found: Mapping[str, Tensor],
    names: Mapping[str, str],
    left: dict[str, Tensor],
) -> dict[str, Tensor]:
    """What is left over; a bias before a norm, which our layer does without, moves into the norm's mean."""
    means = {}
    for name, module in network.named_modules():
        if not isinstance(module, ConvNorm):
            continue
        mean = f"{name}.1.running_mean"
        bias = names[f"{name}.0.weight"].removesuffix("weight") + "bias"
        if mean in found and bias in left and left[bias].shape == found[mean].shape:
            means[mean] = found[mean] - left.pop(bias)
    return means | left


def _renamers(network: nn.Module) -> list[Rename]:
    """The functions from our names to theirs; the hourglasses of LAPX and LAP have theirs in `models.weights`."""
    match network:
        case HRNet():
            return [_hrnet]
        case SimpleBaseline(backbone=nn.Sequential(channels=1280)):
            return [_mobilenet_of_mmpose(network), _mobilenet_of_torchvision(network)]
        case SimpleBaseline():
            return [_resnet(network)]
        case StackedHourglass():
            return [lambda name: _hourglass(name, network.depth)]
        case LiteHRNet() | NaiveLiteHRNet() | HFHRNet():
            return [_lite(network)]
        case RTMPose():
            return [_rtmpose]
        case HRFormer():
            return [_hrformer]
        case LPN():
            return [_lpn(network)]
    return []


def _by_rules(name: str, rules: Mapping[str, str]) -> str:
    """By the first rule that the whole name fits; a name that fits none stays."""
    for pattern, replacement in rules.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return name


def _hrnet(name: str) -> str:
    rules = {
        r"transition1\.1\.(.*)": r"transition1.1.0.\1",
        r"transition2\.(.*)": r"transition2.2.0.\1",
        r"transition3\.(.*)": r"transition3.3.0.\1",
    }
    return _by_rules(name, rules)


def _head_of_baseline(name: str) -> str:
    """Three transposed convolutions, each followed by its norm and a ReLU, in one row."""
    if match := re.fullmatch(r"upsample\.(\d)\.(\d)\.(.*)", name):
        return f"deconv_layers.{3 * int(match[1]) + int(match[2])}.{match[3]}"
    return re.sub(r"^heatmaps\.", "final_layer.", name)


def _resnet(network: SimpleBaseline) -> Rename:
    """torchvision's names; a block with a convolution beside it begins a new layer."""
    places: dict[int, tuple[int, int]] = {}
    layer = block = 0
    for number, module in enumerate(network.backbone):
        if number >= 2:  # behind the first convolution and the pooling
            first = isinstance(module.skip, ConvNorm)
            layer, block = (layer + 1, 0) if first else (layer, block + 1)
            places[number] = (layer, block)

    def rename(name: str) -> str:
        match = re.fullmatch(r"backbone\.(\d+)\.(.*)", name)
        if match is None:
            return _head_of_baseline(name)
        number, rest = int(match[1]), match[2]
        if number == 0:
            return re.sub(r"^([01])", lambda m: ("conv1", "bn1")[int(m[1])], rest)
        layer, block = places[number]
        if body := re.fullmatch(r"body\.(\d)\.(\d)\.(.*)", rest):
            kind = ("conv", "bn")[int(body[2])]
            rest = f"{kind}{int(body[1]) + 1}.{body[3]}"
        return f"layer{layer}.{block}." + re.sub(r"^skip\.", "downsample.", rest)

    return rename


_CONTEXT_PLACES = {"reduce": "0", "norm": "1", "expand": "3"}


def _lpn(network: LPN) -> Rename:
    """ResNet's names around the global context; a block with a convolution beside it begins a new layer."""
    places: dict[int, tuple[int, int]] = {}
    layer = block = 0
    for number, module in enumerate(network.layers):
        # the first layer is as wide as the stem, so its first block has none
        first = number == 0 or isinstance(module.skip, ConvNorm)
        layer, block = (layer + 1, 0) if first else (layer, block + 1)
        places[number] = (layer, block)

    def rename(name: str) -> str:
        if match := re.fullmatch(r"stem\.0\.([01])\.(.*)", name):
            return f"{_CONV_NORM[int(match[1])]}1.{match[2]}"
        if match := re.fullmatch(r"upsample\.(\d)\.(?:3\.)?(\d)\.(.*)", name):
            inside = int(match[2]) + (3 if ".3." in name else 0)
            return f"deconv_layers.{6 * int(match[1]) + inside}.{match[3]}"
        match = re.fullmatch(r"layers\.(\d+)\.(.*)", name)
        if match is None:
            return re.sub(r"^heatmaps\.", "final_layer.", name)
        layer, block = places[int(match[1])]
        return f"layer{layer}.{block}." + _lpn_block(match[2])

    return rename


def _lpn_block(rest: str) -> str:
    match rest.split("."):
        case ["body", "3", "attend", leaf]:
            return f"att.conv_mask.{leaf}"
        case ["body", "3", which, leaf]:
            return f"{_CONTEXT}{_CONTEXT_PLACES[which]}.{leaf}"
        case ["body", number, part, leaf]:
            return f"{_CONV_NORM[int(part)]}{int(number) + 1}.{leaf}"
    return re.sub(r"^skip\.", "downsample.", rest)


def _mobilenet_of_torchvision(network: SimpleBaseline) -> Rename:
    """`features.N`; of a block's last convolution and norm each stands in the row for itself."""
    last = len(network.backbone) - 1

    def rename(name: str) -> str:
        match = re.fullmatch(r"backbone\.(\d+)\.(.*)", name)
        if match is None:
            return _head_of_baseline(name)
        number, rest = int(match[1]), match[2]
        if number not in (0, last):
            module = network.backbone[number]
            assert isinstance(module, InvertedResidual)
            layers = len(module.body)
            _, layer, part, leaf = rest.split(".")
            if int(layer) == layers - 1:
                rest = f"conv.{layers - 1 + int(part)}.{leaf}"
            else:
                rest = f"conv.{layer}.{part}.{leaf}"
        return f"features.{number}.{rest}"

    return rename


def _mobilenet_of_mmpose(network: SimpleBaseline) -> Rename:
    """`layerN.I` counts the rows of the paper's table, which the width of the blocks tells apart."""
    places: dict[int, tuple[int, int]] = {}
    layer = block = 0
    width = None
    for number, module in enumerate(list(network.backbone)[1:-1], start=1):
        assert isinstance(module, InvertedResidual)
        layer, block = (layer, block + 1) if module.outputs == width else (layer + 1, 0)
        places[number] = (layer, block)
        width = module.outputs
    last = len(network.backbone) - 1

    def rename(name: str) -> str:
        match = re.fullmatch(r"backbone\.(\d+)\.(?:body\.(\d)\.)?([01])\.(.*)", name)
        if match is None:
            return _head_of_baseline(name)
        number, leaf = int(match[1]), f"{_CONV_NORM[int(match[3])]}.{match[4]}"
        if number in (0, last):
            return f"conv{1 if number == 0 else 2}.{leaf}"
        layer, block = places[number]
        return f"layer{layer}.{block}.conv.{match[2]}.{leaf}"

    return rename


_RESIDUAL = {"0": "bn1", "2": "conv1", "3": "bn2", "5": "conv2", "6": "bn3", "8": "conv3"}


def _hourglass(name: str, depth: int) -> str:
    """Levels are counted from the smallest: hg.STAGE.hg.LEVEL.PLACE, PLACE 0 skip, 1 down, 2 up, 3 the smallest one."""
    name = re.sub(r"body\.(\d)\.", lambda m: f"{_RESIDUAL[m[1]]}.", name)
    if match := re.fullmatch(r"stages\.(\d+)\.0\.((?:inner\.)*)(skip|down|up)?\.?(.*)", name):
        stage, inner, place, leaf = match.groups()
        inside = inner.count("inner.")
        level = depth - 1 - inside
        if (
            inside == depth
        ):  # the residual that the smallest level holds; its own skip cannot be there
            return f"hg.{stage}.hg.0.3.0.{leaf}"
        number = ("skip", "down", "up").index(place)
        return f"hg.{stage}.hg.{level}.{number}.0.{leaf}"
    name = re.sub(r"(?<=\d\.)skip\.", "downsample.0.", name)
    rules = {
        r"stem\.0\.0\.(.*)": r"conv1.\1",
        r"stem\.0\.1\.(.*)": r"bn1.\1",
        r"stem\.1\.(.*)": r"layer1.0.\1",
        r"stem\.3\.(.*)": r"layer2.0.\1",
        r"stem\.4\.(.*)": r"layer3.0.\1",
        r"stages\.(\d+)\.1\.(.*)": r"res.\1.0.\2",
        r"stages\.(\d+)\.2\.(.*)": r"fc.\1.\2",
        r"heatmaps\.(.*)": r"score.\1",
        r"returns\.(\d+)\.features\.(.*)": r"fc_.\1.\2",
        r"returns\.(\d+)\.\w+\.(.*)": r"score_.\1.\2",
    }
    return _by_rules(name, rules)


def _lite(network: Branches) -> Rename:
    """Transitions and fusion modules are counted apart there, and a separable convolution's four layers are one row."""
    stage, module = -1, 0
    places: dict[int, tuple[int, int]] = {}
    for number, each in enumerate(network.stages):
        stage, module = (stage + 1, -1) if isinstance(each, Transition) else (stage, module + 1)
        places[number] = (stage, module)
    coarsest = len(network.head.projects) - 1

    def rename(name: str) -> str:
        parts = name.split(".")
        match parts:
            case ["stem", *rest]:
                return _lite_stem(rest)
            case ["stages", number, *rest]:
                return _lite_stage(*places[int(number)], rest)
            case ["head", "projects", number, half, layer, leaf]:
                kind = ("depthwise_conv", "pointwise_conv")[int(half)]
                behind = f"{kind}.{_CONV_NORM[int(layer)]}.{leaf}"
                return f"head_layer.projects.{coarsest - int(number)}.{behind}"
        return re.sub(r"^heatmaps\.", "final_layer.", name)

    return rename


def _lite_stem(rest: list[str]) -> str:
    match rest:
        case ["short", half, layer, leaf]:
            return f"stem.conv2.dwonsample.{2 * int(half) + int(layer)}.{leaf}"
        case ["cascade", number, layer, leaf]:
            place = ("conv1", "conv2", "global1", "conv3", "global2")[int(number)]
            return f"stem.conv2.{place}.{1 if layer == 'mix' else layer}.{leaf}"
        case ["conv", layer, leaf]:
            place = "conv1"
        case ["first", half, layer, leaf]:
            place = f"branch1.{half}"
        case ["second", "0", layer, leaf]:
            place = "expand_conv"
        case ["second", "1", half, layer, leaf]:
            place = ("depthwise_conv", "linear_conv")[int(half)]
        case _:
            return ".".join(("stem", *rest))
    return f"stem.{place}.{_CONV_NORM[int(layer)]}.{leaf}"


def _lite_stage(stage: int, module: int, rest: list[str]) -> str:
    front = f"stage{stage}.{module}"
    match rest:
        case ["kept", branch, half, layer, leaf]:
            return f"transition{stage}.{branch}.{2 * int(half) + int(layer)}.{leaf}"
        case ["new", half, layer, leaf]:
            return f"transition{stage}.{stage + 1}.0.{2 * int(half) + int(layer)}.{leaf}"
        case [_, "targets", target, source, *link]:
            return f"{front}.fuse_layers.{target}.{source}.{_link(link)}"
        case [block, "across", which, layer, leaf]:
            conv = {"reduce": "conv1", "expand": "conv2"}[which]
            behind = f"{conv}.{_CONV_NORM[int(layer)]}.{leaf}"
            return f"{front}.layers.{block}.cross_resolution_weighting.{behind}"
        case [block, "cascades", branch, number, layer, leaf]:
            place = ("depthwise_convsfirst", "global1", "depthwise_convslast", "global2")
            inside = 1 if layer == "mix" else _CONV_NORM[int(layer)]
            return f"{front}.layers.{block}.{place[int(number)]}.{branch}.{inside}.{leaf}"
        case [block, "depthwise", branch, layer, leaf]:
            behind = f"{branch}.{_CONV_NORM[int(layer)]}.{leaf}"
            return f"{front}.layers.{block}.depthwise_convs.{behind}"
        case [block, "spatial", branch, _, number, leaf]:
            conv = {"1": "conv1", "3": "conv2"}[number]
            return f"{front}.layers.{block}.spatial_weighting.{branch}.{conv}.conv.{leaf}"
        case [unit, "units", branch, *convs, layer, leaf]:
            place = {("0",): 0, ("1", "0"): 1, ("1", "1"): 2}[tuple(convs)]
            behind = f"branch2.{place}.{_CONV_NORM[int(layer)]}.{leaf}"
            return f"{front}.layers.{branch}.{unit}.{behind}"
    return ".".join((front, *rest))


def _link(parts: list[str]) -> str:
    """To a finer branch: a convolution and its norm. To a coarser one: halvings of a separable convolution each."""
    if len(parts) == 3:
        return ".".join(parts[1:])
    halving, half, layer, leaf = parts
    return f"{halving}.{2 * int(half) + int(layer)}.{leaf}"


_CSP_PLACES = ("stem.0", "stem.1", "stem.2", "stage1.0", "stage1.1", "stage2.0", "stage2.1")
_CSP_PLACES += ("stage3.0", "stage3.1", "stage4.0", "stage4.1", "stage4.2")


def _rtmpose(name: str) -> str:
    if match := re.fullmatch(r"backbone\.(\d+)\.(.*)", name):
        place = _CSP_PLACES[int(match[1])]
        return f"{place}.{_csp(match[2], pooling=place == 'stage4.1')}"
    rules = {
        r"places\.(.*)": r"final_layer.\1",
        r"tokens\.0\.scale": "mlp.0.g",
        r"tokens\.1\.(.*)": r"mlp.1.\1",
        r"attention\.norm\.scale": "gau.ln.g",
        r"attention\.enter\.(.*)": r"gau.uv.\1",
        r"attention\.leave\.(.*)": r"gau.o.\1",
        r"attention\.shortcut": "gau.res_scale.scale",
        r"attention\.(gamma|beta)": r"gau.\1",
        r"([xy])\.(.*)": r"cls_\1.\2",
    }
    return _by_rules(name, rules)


def _csp(rest: str, pooling: bool) -> str:
    """Within one place of the trunk; the one with the pyramid of poolings calls its convolutions otherwise."""
    *place, layer, leaf = rest.split(".")
    match place:
        case ["weights"]:
            return f"attention.fc.{leaf}"
        case ["main", "0"]:
            place = ["main_conv"]
        case ["main", number, "body", conv]:
            block = int(number) - 1
            convs = ("conv1", "conv2.depthwise_conv", "conv2.pointwise_conv")
            place = [f"blocks.{block}.{convs[int(conv)]}"]
        case ["reduce"]:
            place = ["conv1"]
        case ["short"]:
            place = ["short_conv"]
        case ["mix"]:
            place = ["conv2" if pooling else "final_conv"]
    return ".".join((*place, _CONV_NORM[int(layer)], leaf))


_FEEDFORWARD = {"0": "fc1", "1": "norm1", "3": "dw3x3", "4": "norm2", "6": "fc2", "7": "norm3"}


def _hrformer(name: str) -> str:
    rules = {
        r"stem\.0\.0\.(.*)": r"conv1.\1",
        r"stem\.0\.1\.(.*)": r"bn1.\1",
        r"stem\.1\.0\.(.*)": r"conv2.\1",
        r"stem\.1\.1\.(.*)": r"bn2.\1",
        r"stem\.2\.(.*)": r"layer1.0.\1",
        r"stem\.3\.(.*)": r"layer1.1.\1",
        r"transition\.0\.(.*)": r"transition1.0.\1",
        r"transition\.1\.(.*)": r"transition1.1.0.\1",
        r"new\.0\.(.*)": r"transition2.2.0.\1",
        r"new\.1\.(.*)": r"transition3.3.0.\1",
        r"heatmaps\.(.*)": r"final_layer.\1",
    }
    match = re.fullmatch(r"stages\.(\d)\.(\d+)\.([01])\.(.*)", name)
    if match is None:
        return _by_rules(name, rules)
    front, rest = f"stage{int(match[1]) + 2}.{match[2]}", match[4]
    if match[3] == "1":
        _, target, source, *link = rest.split(".")
        return f"{front}.fuse_layers.{target}.{source}.{_link(link)}"
    rest = re.sub(r"feedforward\.(\d)\.", lambda m: f"mlp.{_FEEDFORWARD[m[1]]}.", rest)
    rest = re.sub(r"attention\.(query|key|value)\.", lambda m: f"attn.attn.{m[1][0]}_proj.", rest)
    rest = rest.replace("attention.out.", "attn.attn.out_proj.")
    rest = rest.replace("attention.bias", "attn.attn.relative_position_bias_table")
    return f"{front}.{rest}"
