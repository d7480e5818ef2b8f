"""RePose's kinematic graph: which joints exchange features, and in which order they are updated.

The paper states the order of 14 joints; its figure of the edges is not readable in the text, whose sizes fix only
their number (13 to 15). Edges of 14 joints below are the likely reading; those of 16 and 17 are our extension.
"""

from __future__ import annotations

from dataclasses import dataclass

from featherpose.errors import PoseError
from featherpose.skeletons import COCO, LSP, MPII, Skeleton

_LIMBS = "shoulder-elbow elbow-wrist hip-knee knee-ankle shoulder-hip"  # of either side
_EDGES = {
    LSP.joints: f"head_top-neck neck-shoulder {_LIMBS} right_shoulder-left_shoulder right_hip-left_hip",
    MPII.joints: f"head_top-upper_neck upper_neck-thorax thorax-shoulder thorax-pelvis pelvis-hip {_LIMBS}",
    COCO.joints: f"nose-eye eye-ear ear-shoulder {_LIMBS} right_shoulder-left_shoulder right_hip-left_hip",
}
# Joints that are found most surely come first; where a side is meant, the right joint just before the left one.
_ORDERS = {
    "hips_first": "hip pelvis shoulder thorax knee elbow ankle wrist neck upper_neck ear eye nose head_top",
    "top_down": "head_top nose eye ear upper_neck neck thorax shoulder pelvis hip elbow knee wrist ankle",
}


@dataclass(frozen=True)
class KinematicGraph:
    """Edges between joints, and the joints in the order of the first pass; the second pass goes backwards."""

    edges: tuple[tuple[int, int], ...]
    order: tuple[int, ...]

    def neighbours(self, joint: int) -> list[int]:
        return sorted({b if a == joint else a for a, b in self.edges if joint in (a, b)})


def graph_of(skeleton: Skeleton, order: str = "hips_first") -> KinematicGraph:
    """The graph of a skeleton; one that is not known here takes its limbs as edges."""
    if order not in _ORDERS:
        raise PoseError(
            f"There is no update order {order!r} of joints; known: {', '.join(_ORDERS)}."
        )
    if skeleton.joints not in _EDGES:
        return KinematicGraph(skeleton.limbs, _order(skeleton.joints, order))
    return KinematicGraph(
        tuple(_expand(skeleton.joints, _EDGES[skeleton.joints])), _order(skeleton.joints, order)
    )


def skeleton_for(joints: int) -> Skeleton:
    """The known skeleton of that many joints."""
    for skeleton in (LSP, MPII, COCO):
        if len(skeleton) == joints:
            return skeleton
    raise PoseError(
        f"No kinematic graph is known for {joints} joints; give model.skeleton with names and limbs of the joints."
    )


def _expand(joints: tuple[str, ...], edges: str) -> list[tuple[int, int]]:
    """Indices of "elbow-wrist" edges: as named, or once for each side where a joint has two."""
    pairs = []
    for edge in edges.split():
        ends = [_sides(joints, end) for end in edge.split("-")]
        for side in range(max(len(end) for end in ends)):
            pairs.append((ends[0][side % len(ends[0])], ends[1][side % len(ends[1])]))
    return pairs


def _sides(joints: tuple[str, ...], name: str) -> list[int]:
    return [
        joints.index(full) for full in (name, f"right_{name}", f"left_{name}") if full in joints
    ]


def _order(joints: tuple[str, ...], order: str) -> tuple[int, ...]:
    known = [joint for name in _ORDERS[order].split() for joint in _sides(joints, name)]
    return (*known, *(joint for joint in range(len(joints)) if joint not in known))
