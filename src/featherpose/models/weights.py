"""The LAPX authors' published weights, read into our network and written back in their names.

Their checkpoints name the same tensors differently; the rules below are the whole difference. What a loaded network
computes depends on nothing but its state dict, however that was come by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass

_BLOCK = {
    "norm1": "bn1",
    "reduce": "pw_conv1",
    "norm2": "bn2",
    "depthwise": "dw_conv",
    "norm3": "bn3",
}
_BLOCK |= {"expand": "pw_conv2", "skip": "downsample.0", "alpha": "alpha"}
# Training scripts store their best score as a NumPy number, under a name that NumPy 2 has changed. Both only hold data.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]
_PREFIXES = ("module.", "model.", "network.")
SHOWN = 5  # names of each kind of what does not fit
_NESTS = ("state_dict", "model_state_dict", "model", "net", "network")


def published_name(name: str, depth: int = 4) -> str:
    """The authors' name of one entry of our hourglass network's state dict."""
    part, _, rest = name.partition(".")
    if part == "stem":
        return _stem_name(rest)
    index, _, rest = rest.partition(".")
    if part == "returns":
        which, leaf = rest.split(".")
        return f"{'fc_' if which == 'features' else 'score_'}.{index}{'.conv' if which == 'features' else ''}.{leaf}"
    where, _, leaf = rest.partition(".")
    match where:
        case "hourglass":
            return _hourglass_name(index, leaf, depth)
        case "block":
            return f"res.{index}.0.{_block_name(leaf)}"
        case "features":
            return f"fc.{index}.{_conv_norm(leaf, 'conv', 'bn')}"
        case "attention":
            return f"backbone_attention.{index}.{_attention_name(leaf)}"
    return f"score.{index}.{leaf}"


def _stem_name(rest: str) -> str:
    where, _, leaf = rest.partition(".")
    if where == "conv":
        return _conv_norm(leaf, "conv1", "bn1")
    if where == "attention":
        return f"stem_attention.{_attention_name(leaf)}"
    return f"layer{where[-1]}.0.{_block_name(leaf)}"


def _hourglass_name(stage: str, leaf: str, depth: int) -> str:
    """Theirs counts levels from the deepest: hg.STAGE.hg.LEVEL.PLACE, PLACE 0 skip, 1 down, 2 up, 3 the deepest one."""
    inside = leaf.count("inner.")
    leaf = leaf.replace("inner.", "")
    level = depth - 1 - inside
    where, _, rest = leaf.partition(".")
    if inside == depth:
        if where == "1":
            return f"hg.{stage}.attention.{_attention_name(rest)}"
        return f"hg.{stage}.hg.0.3.0.{_block_name(rest)}"
    return f"hg.{stage}.hg.{level}.{('skip', 'down', 'up').index(where)}.0.{_block_name(rest)}"


def _block_name(leaf: str) -> str:
    layer, _, rest = leaf.partition(".")
    return _BLOCK[layer] + (f".{rest}" if rest else "")


def _conv_norm(leaf: str, conv: str, norm: str) -> str:
    layer, _, rest = leaf.partition(".")
    return f"{(conv, norm)[int(layer)]}.{rest}"


def _attention_name(leaf: str) -> str:
    """ECA or CBAM's perceptron comes first, then the spatial half or Non-Local; an ECA alone has no name of its own."""
    which, _, rest = leaf.partition(".")
    if not which.isdigit():
        return leaf
    if which == "1" and rest.startswith("conv."):
        return rest.replace("conv", "spatial_conv", 1)
    return f"{('channel_attention', 'position_attention')[int(which)]}.{re.sub('^project', 'out_proj', rest)}"


def published_names(network: Hourglass) -> dict[str, str]:
    """The authors' names of all entries, by ours."""
    names = {name: published_name(name, network.depth) for name in network.state_dict()}
    ending = "channel_attention.reduce.weight"
    for name in [name for name, theirs in names.items() if theirs.endswith(ending)]:
        # their CBAM is one module, with other names than the halves of their ECA-CBAM
        inside = name.removesuffix("0.reduce.weight")
        outside = names[name].removesuffix(ending)
        names[name] = f"{outside}fc.0.weight"
        names[f"{inside}0.expand.weight"] = f"{outside}fc.2.weight"
        names[f"{inside}1.conv.weight"] = f"{outside}conv.weight"
    return names


def to_published(network: Hourglass) -> dict[str, Tensor]:
    """The network's weights under the authors' names: a state dict that their code would load."""
    names = published_names(network)
    return {names[name]: value for name, value in network.state_dict().items()}


def load_published(
    network: nn.Module, source: str | Path | Mapping[str, Any], origin: str = ""
) -> None:
    """Load weights that the LAPX authors published: a file, a state dict, or a checkpoint with one in it.

    Weights under our own names load too, for any network. Raises PoseError that counts the entries that are
    missing, unexpected or of another shape, and names the first of each; nothing is loaded then.
    """
    origin = origin or (str(source) if isinstance(source, (str, Path)) else "The given state dict")
    theirs = state_dict_of(read(source) if isinstance(source, (str, Path)) else source, origin)
    ours = network.state_dict()
    names = _file_names(network, theirs)
    wrong = _differences({names[name]: value for name, value in ours.items()}, theirs)
    if wrong:
        raise PoseError(f"{origin} does not fit this {_described(network)}:\n" + "\n".join(wrong))
    network.load_state_dict({name: theirs.get(names[name], value) for name, value in ours.items()})


def _file_names(network: nn.Module, theirs: Mapping[str, Tensor]) -> dict[str, str]:
    """Under which name the file would have each of the network's entries."""
    ours = network.state_dict()
    if isinstance(network, Hourglass) and not any(name in theirs for name in ours):
        return published_names(network)
    return {name: name for name in ours}


def _described(network: nn.Module) -> str:
    facts = (network.joints, "joints"), (getattr(network, "channels", None), "channels")
    return f"{type(network).__name__} of " + ", ".join(
        f"{n} {what}" for n, what in facts if n is not None
    )


def _differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """What does not fit, kind by kind; old files lack num_batches_tracked, which no output depends on."""
    missing = [
        name for name in ours if name not in theirs and not name.endswith("num_batches_tracked")
    ]
    extra = [name for name in theirs if name not in ours]
    misshapen = [
        f"  {name}: {tuple(theirs[name].shape)} in the file, {tuple(value.shape)} in the network"
        for name, value in ours.items()
        if name in theirs and theirs[name].shape != value.shape
    ]
    kinds = {
        "missing": [f"  {name}" for name in missing],
        "not in the network": [f"  {name}" for name in extra],
        "of another shape": misshapen,
    }
    return [line for kind, lines in kinds.items() if lines for line in _some(kind, lines)]


def _some(kind: str, lines: list[str]) -> list[str]:
    rest = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"{len(lines)} {kind}:", *lines[:SHOWN], *rest]


def read(path: str | Path) -> Any:
    """What a .pth, .pt or .tar file holds; never runs code from it."""
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(Path(path), map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise PoseError(f"There is no weights file {path}.") from error
    except Exception as error:  # torch's own words advise to run what is in the file
        raise PoseError(
            f"{path} is not a weights file that can be read safely: it is none of torch's, is cut short, "
            f"or holds more than numbers ({type(error).__name__})."
        ) from error


def state_dict_of(checkpoint: Any, origin: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint, without the prefixes that wrappers add to its names."""
    while isinstance(checkpoint, Mapping):
        nest = next((key for key in _NESTS if isinstance(checkpoint.get(key), Mapping)), None)
        if nest is None:
            break
        checkpoint = checkpoint[nest]
    if not isinstance(checkpoint, Mapping) or not any(
        isinstance(v, Tensor) for v in checkpoint.values()
    ):
        raise PoseError(
            f"{origin} holds no state dict; looked for tensors at the top and under {', '.join(_NESTS)}."
        )
    state = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
