"""A network that starts from other weights: trunk by names and shapes, heads joint by joint by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.network import PoseNetwork, shapes_alone
from featherpose.skeletons import COCO, LSP, MPII, Skeleton
from featherpose.zoo.weight_files import Weights, read_weights, sha256_of

KNOWN = {len(skeleton): skeleton for skeleton in (COCO, MPII, LSP)}


@dataclass(frozen=True)
class Start:
    """What a network took over, entry by entry of its state dict."""

    source: Path
    sha256: str
    taken: tuple[str, ...]  # as they are
    mapped: tuple[str, ...]  # heads, joint by joint
    new: tuple[str, ...]  # not in the file, or of another shape there
    left: tuple[str, ...]  # in the file only
    joints: tuple[str, ...] = ()  # those that came along, where heads were mapped
    fresh_joints: tuple[str, ...] = ()

    def rows(self) -> dict[str, str]:
        """The one table: a line a kind, with the first few names."""
        found = {
            "taken": f"{len(self.taken)} entries",
            "mapped": _some(self.mapped),
            "joints that came along": ", ".join(self.joints),
            "joints that start anew": ", ".join(self.fresh_joints),
            "starts anew": _some(self.new),
            "left over": _some(self.left),
        }
        return {"start from": str(self.source), **{k: text for k, text in found.items() if text}}

    def facts(self) -> dict[str, Any]:
        """What a run's record keeps."""
        counts = {kind: len(getattr(self, kind)) for kind in ("taken", "mapped", "new", "left")}
        return {"source": str(self.source), "sha256": self.sha256, **counts}


def start_from(
    source: str | Path,
    network: PoseNetwork,
    skeleton: Skeleton,
    build: Callable[[int], nn.Module],
    strict: bool = False,
) -> Start:
    """Load what fits into the network.

    Args:
        source: a run folder, a checkpoint, or a file of numbers.
        network: gets the weights.
        skeleton: the joints of its heads.
        build: the same network for another number of joints, which shows where an entry has its joints.
        strict: refuse all but a full fit.
    """
    weights = read_weights(source, network)
    axes = joint_axes(network, build)
    theirs = weights.skeleton or _skeleton_of_size(weights, axes, skeleton)
    if theirs == skeleton:
        axes = {}
    found, start = _match(weights, network, skeleton, theirs, axes)
    if not start.taken and not start.mapped:
        raise PoseError(
            f"Nothing in {source} fits this {type(network).__name__}: is it of another network?"
        )
    if strict and (start.mapped or start.new or start.left):
        raise PoseError(
            f"{source} does not fit as a whole, which init_strict=true asks for:\n"
            + "\n".join(f"  {kind}: {text}" for kind, text in start.rows().items())
        )
    _check_norms(weights, network)
    network.load_state_dict(found, strict=False)
    return start


def joint_axes(network: PoseNetwork, build: Callable[[int], nn.Module]) -> dict[str, int]:
    """Along which axis each entry has one slice a joint, seen from the same network for another number of them."""
    ours = network.state_dict()
    for count in (network.joints + 1, *KNOWN):
        try:
            with shapes_alone():
                other = build(count).state_dict()
        except PoseError:  # RePose knows its skeletons only
            continue
        axes = {}
        for name, value in ours.items():
            sides = other[name].shape if name in other else value.shape
            apart = [i for i, (a, b) in enumerate(zip(value.shape, sides, strict=True)) if a != b]
            if len(apart) == 1:
                axes[name] = apart[0]
        if axes:
            return axes
    return {}


def _match(
    weights: Weights,
    network: PoseNetwork,
    ours: Skeleton,
    theirs: Skeleton | None,
    axes: Mapping[str, int],
) -> tuple[dict[str, Tensor], Start]:
    common = [joint for joint in ours.joints if theirs is not None and joint in theirs.joints]
    found: dict[str, Tensor] = {}
    taken = []
    mapped = []
    new = []
    for name, value in network.state_dict().items():
        given = weights.state.get(name)
        if given is None:
            if not name.endswith("num_batches_tracked"):  # no output depends on it
                new.append(name)
        elif name in axes:
            slices = _joint_by_joint(value, given, axes[name], ours, theirs, common)
            if slices is None:
                new.append(name)
            else:
                found[name] = slices
                mapped.append(name)
        elif given.shape == value.shape:
            found[name] = given
            taken.append(name)
        else:
            new.append(name)
    left = tuple(name for name in weights.state if name not in network.state_dict())
    fresh = [joint for joint in ours.joints if joint not in common] if mapped else []
    return found, Start(
        weights.path,
        sha256_of(weights.path),
        tuple(taken),
        tuple(mapped),
        tuple(new),
        left,
        tuple(common) if mapped else (),
        tuple(fresh),
    )


def _joint_by_joint(
    value: Tensor,
    given: Tensor,
    axis: int,
    ours: Skeleton,
    theirs: Skeleton | None,
    common: list[str],
) -> Tensor | None:
    """Our entry with the other's slices for the joints that both have; None where there are none to take."""
    if theirs is None or not common:
        return None
    expected = list(value.shape)
    expected[axis] = len(theirs)
    if list(given.shape) != expected:
        return None
    here = torch.tensor([ours.index(joint) for joint in common])
    there = torch.tensor([theirs.index(joint) for joint in common])
    return value.detach().clone().index_copy(axis, here, given.index_select(axis, there).to(value))


def _skeleton_of_size(weights: Weights, axes: Mapping[str, int], ours: Skeleton) -> Skeleton | None:
    """The joints of a file that does not say them: ours if it has as many, else a benchmark's that has."""
    sizes = {
        weights.state[name].shape[axis]
        for name, axis in axes.items()
        if name in weights.state and weights.state[name].ndim > axis
    }
    if sizes == {len(ours)}:
        return ours
    return KNOWN.get(sizes.pop()) if len(sizes) == 1 else None


def _check_norms(weights: Weights, network: PoseNetwork) -> None:
    training = any(m.training for m in network.train().modules() if isinstance(m, nn.BatchNorm2d))
    if weights.folded and training:
        raise PoseError(
            f"The norms of {weights.path} are folded into its convolutions, and statistics of the batch would make "
            "another network of it at the first step: add model.norms=fixed."
        )


def _some(names: tuple[str, ...], shown: int = 4) -> str:
    if not names:
        return ""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)}: {', '.join(names[:shown])}{more}"
