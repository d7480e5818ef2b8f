"""Weights between trainings of one network: half the way to a fine-tuned one may keep most of what it gained and
forget less of what it knew (Wortsman et al., Robust fine-tuning, CVPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from featherpose.errors import PoseError
from featherpose.training.checkpoint_io import write_light
from featherpose.zoo.checkpoint import PREFIX, find_checkpoint, load_checkpoint
from featherpose.zoo.weight_files import load_weights


def write_mixed(target: str | Path, shares: Mapping[str, float]) -> None:
    """A checkpoint whose weights are the sources' in these shares, statistics of norms too.

    Args:
        target: the file.
        shares: of each source: a run or a checkpoint first, which says what network it is, then whatever `init=` takes
            for that network. They add up to 1; one may be above 1 and others below 0, to go on in a direction.
    """
    total = math.fsum(shares.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise PoseError(f"The shares add up to {total:g}, and have to add up to 1.")
    path = find_checkpoint(next(iter(shares)))
    network = load_checkpoint(path).network()
    own = {name: value.clone() for name, value in network.state_dict().items()}
    mixed = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in own.items()}
    for source, share in shares.items():
        load_weights(network, source)
        for name, value in network.state_dict().items():
            mixed[name] += share * value.double()
    kept = {f"{PREFIX}{name}": mixed[name].to(value.dtype) for name, value in own.items()}
    write_light(path, target, state_dict=kept)
