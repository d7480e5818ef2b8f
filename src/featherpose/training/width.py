"""The one value of a network that says how wide it is, and which values it may have."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from featherpose.errors import PoseError
from featherpose.targets import build

WIDTH = ("channels", "widen")  # what the networks of conf/model call it
LEAST, MOST = 16, 1024  # channels
STEPS = (4, 8, 16, 32)  # some networks take multiples of the larger ones only


def width_of(model: Mapping[str, Any]) -> str:
    """The key that `search.solve=width` stands for."""
    found = next((key for key in WIDTH if key in model), None)
    if found is None:
        raise PoseError(
            f"search.solve=width: this network has no width to choose; its keys are {', '.join(model)}."
        )
    return found


def widths(model: Mapping[str, Any], key: str) -> list[Any]:
    """From the narrowest to the widest that the network can be built with.

    A list, one width for each size, grows as a whole; a number with a point is a factor of channels.
    """
    now = model[key]
    if isinstance(now, Sequence) and not isinstance(now, str):
        most = max(now)
        tops = range(LEAST, MOST + 1, 8)
        return [[max(LEAST, 8 * round(each * top / most / 8)) for each in now] for top in tops]
    if isinstance(now, float):
        return [part / 16 for part in range(2, 33)]
    step = next((step for step in STEPS if can_be_built({**model, key: 5 * step})), STEPS[-1])
    return list(range(max(LEAST, step), MOST + 1, step))


def can_be_built(model: Mapping[str, Any]) -> bool:
    try:
        on_meta(model)
    except PoseError:
        return False
    return True


def on_meta(model: Mapping[str, Any]) -> Any:
    """The network's shapes only."""
    with torch.device("meta"):
        return build(copy.deepcopy(dict(model)))
