"""From `_target_` nodes to objects, and which of them a file may ask for.

`build` makes whatever a node says: it is for what a person typed or wrote into a config. What came from a checkpoint
or a run folder goes through `build_listed`, which makes nothing but the names on a list: whoever can name a target can
run any command. A name is looked up before anything is imported, since an import runs code too.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from featherpose.errors import PoseError

TARGET, PARTIAL, ARGUMENTS = "_target_", "_partial_", "_args_"
OF_HYDRA = ("_recursive_", "_convert_")  # keys of Hydra's instantiate that change nothing here


def _names(module: str, words: str) -> set[str]:
    return {f"{module}.{word}" for word in words.split()}


NETWORKS = (
    _names("featherpose.models", "fast.FastHourglass hourglass.Hourglass hrnet.HRNet repose.RePose")
    | {"featherpose.models.simcc.VectorHourglass"}
    | _names("featherpose.models.peers.dite_hrnet", "DiteHRNet")
    | _names("featherpose.models.peers.hf_hrnet", "HFHRNet")
    | _names("featherpose.models.peers.hrformer", "HRFormer")
    | _names("featherpose.models.peers.lite_hrnet", "LiteHRNet NaiveLiteHRNet")
    | _names("featherpose.models.peers.lpn", "LPN")
    | _names("featherpose.models.peers.rtmpose", "RTMPose")
    | _names("featherpose.models.peers.shuffle_hourglass", "ShuffleHourglass")
    | _names("featherpose.models.peers.simple_baseline", "SimpleBaseline")
    | _names("featherpose.models.peers.stacked_hourglass", "StackedHourglass")
)
LOSSES = {
    "featherpose.training.losses.HeatmapLoss",
    "featherpose.training.distil.DistilLoss",
    "featherpose.training.simcc.SimCCLoss",
}
DATA = (
    {"featherpose.data.datamodule.PoseDataModule", "featherpose.data.augment.Augment"}
    | _names("featherpose.data.readers.coco", "read ground_truth")
    | _names("featherpose.data.readers.lsp", "read read_extended")
    | _names("featherpose.data.readers.people17", "read load")
    | {"featherpose.data.readers.joint.read", "featherpose.data.readers.mpii.read"}
    | {"featherpose.image.load"}
    | _names("featherpose.synthetic.painted", "read load")
)
METRICS = _names("featherpose.metrics.pck", "PCK PCKh") | {"featherpose.metrics.oks.OKS"}
OPTIMISERS = _names(
    "torch.optim",
    "Adadelta Adafactor Adagrad Adam Adamax AdamW ASGD LBFGS NAdam RAdam RMSprop Rprop SGD",
) | _names(
    "torch.optim.lr_scheduler",
    "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR "
    "MultiStepLR OneCycleLR PolynomialLR ReduceLROnPlateau StepLR",
)
TRANSFORMS = _names(
    "albumentations",
    "AdditiveNoise AdvancedBlur AutoContrast Blur ChannelDropout ChannelShuffle ChromaticAberration "
    "CLAHE CoarseDropout ColorJitter Defocus Downscale Emboss Equalize FancyPCA GaussianBlur "
    "GaussNoise GlassBlur GridDropout HueSaturationValue Illumination ImageCompression InvertImg "
    "ISONoise MedianBlur MotionBlur MultiplicativeNoise PlanckianJitter PlasmaBrightnessContrast "
    "PlasmaShadow Posterize RandomBrightnessContrast RandomFog RandomGamma RandomRain RandomShadow "
    "RandomSnow RandomSunFlare RandomToneCurve RGBShift RingingOvershoot SaltAndPepper Sharpen "
    "ShotNoise Solarize Spatter ToGray ToSepia UnsharpMask XYMasking ZoomBlur",
)
LISTED = frozenset(NETWORKS | LOSSES | DATA | METRICS | OPTIMISERS | TRANSFORMS)

# Names that checkpoints and run folders made before the modules moved still hold
MOVED = {
    "featherpose.data.coco.ground_truth": "featherpose.data.readers.coco.ground_truth",
    "featherpose.data.coco.read": "featherpose.data.readers.coco.read",
    "featherpose.data.joint.read": "featherpose.data.readers.joint.read",
    "featherpose.data.lsp.read": "featherpose.data.readers.lsp.read",
    "featherpose.data.lsp.read_extended": "featherpose.data.readers.lsp.read_extended",
    "featherpose.data.mpii.read": "featherpose.data.readers.mpii.read",
    "featherpose.data.picture.load": "featherpose.image.load",
    "featherpose.data.synthetic.load": "featherpose.synthetic.painted.load",
    "featherpose.data.synthetic.read": "featherpose.synthetic.painted.read",
    "featherpose.losses.HeatmapLoss": "featherpose.training.losses.HeatmapLoss",
}


class NotListed(PoseError):
    """A file asks for what no file may: nothing goes on without it, as with data that are merely not there."""


def build(node: Mapping[str, Any], *arguments: Any, **changes: Any) -> Any:
    """The object that a node describes, its inner nodes first; `changes` replace or add arguments."""
    inner = {key: _built(value, key) for key, value in node.items() if key not in changes}
    return _called({**inner, **changes}, "", arguments)


def build_listed(node: Any, origin: str, trust: bool = False, **changes: Any) -> Any:
    """The same of a node that came from `origin`, a file: unless it is trusted, only names on the list."""
    if not isinstance(node, Mapping) or not isinstance(node.get(TARGET), str):
        raise PoseError(f"{origin} does not say what to build: a mapping with {TARGET} is missing.")
    try:
        node = renamed({key: value for key, value in node.items() if key not in changes})
        if not trust:
            check(node, origin)
        return build(node, **changes)
    except RecursionError as error:
        raise PoseError(f"{origin} is nested too deeply to be a config.") from error


def renamed(node: Any) -> Any:
    """The node with the present names of what has moved since it was written."""
    if isinstance(node, Mapping):
        moved = {key: renamed(value) for key, value in node.items()}
        name = moved.get(TARGET)
        return {**moved, TARGET: MOVED.get(name, name)} if isinstance(name, str) else moved
    return [renamed(each) for each in node] if isinstance(node, (list, tuple)) else node


def check(node: Any, origin: str) -> None:
    """Refuses a target that is not on the list, however deep it lies."""
    if isinstance(node, Mapping):
        if TARGET in node:
            _check_name(node[TARGET], origin)
        for value in node.values():
            check(value, origin)
    elif isinstance(node, (list, tuple)):
        for value in node:
            check(value, origin)


def _check_name(name: Any, origin: str) -> None:
    if not isinstance(name, str) or name not in LISTED:
        raise NotListed(
            f"{origin} asks for {_short(name)}, which is none of featherpose's own parts, so it is not built: "
            "a file could run any command in this way. If it is your own network and your own file, say trust=true."
        )
    found = find(name)
    home, kind = getattr(found, "__module__", ""), getattr(found, "__qualname__", "")
    if home.partition(".")[0] != name.partition(".")[0] or kind != name.rpartition(".")[2]:
        raise NotListed(f"{origin} asks for {name}, but that name leads to {home}.{kind}.")


def find(name: str) -> Any:
    """What a full name stands for: the longest part of it that is a module, then attributes."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        module = ".".join(words[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if module == error.name or module.startswith(f"{error.name}."):
                continue
            raise PoseError(f"{name} needs {error.name}, which is not installed.") from error
        try:
            for word in words[length:]:
                found = getattr(found, word)
        except AttributeError as error:
            raise PoseError(f"There is no {name}: {error}.") from error
        return found
    raise PoseError(f"There is no {name}: no such module.")


def _built(node: Any, place: str) -> Any:
    """A value of a node: an object where it is a node itself."""
    if isinstance(node, Mapping):
        inner = {key: _built(value, f"{place}.{key}") for key, value in node.items()}
        return _called(inner, place, ()) if TARGET in inner else inner
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        return [_built(value, f"{place}[{i}]") for i, value in enumerate(node)]
    return node


def _called(node: dict[str, Any], place: str, arguments: Sequence[Any]) -> Any:
    """A target with its arguments: called, or kept as a partial function."""
    name = node.pop(TARGET)
    target = find(name) if isinstance(name, str) else name
    is_partial = node.pop(PARTIAL, False)
    arguments = (*node.pop(ARGUMENTS, ()), *arguments)
    for key in OF_HYDRA:
        node.pop(key, None)
    if is_partial:
        return partial(target, *arguments, **node)
    _check_arguments(target, name, place, arguments, node)
    return target(*arguments, **node)


def _check_arguments(
    target: Any, name: Any, place: str, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> None:
    """One sentence for a setting that does not exist, instead of Python's TypeError from within."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # built-in functions need not have one
        return
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        known = ", ".join(p for p in signature.parameters if p not in ("self", "args", "kwargs"))
        where = f" at {place}" if place else ""
        raise PoseError(f"{_short(name)}{where}: {error}; it knows {known}.") from error


def _short(name: Any) -> str:
    text = str(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
