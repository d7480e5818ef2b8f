"""What the finder is trained by: which cells answer for a person, and what they should have said (YOLOX's SimOTA)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from featherpose.models.peers.yolox import STRIDES, rows_of

NEAR = 2.5  # cells from a person's centre within which a cell may answer for the person
ANSWERS = 10  # cells whose overlaps say how many answer
FAR = 1e5  # the cost of a cell that lies outside the box or not near its centre
BOX_WEIGHT = 5.0  # of the overlap's loss
OPEN = 0.3  # overlap with a place where somebody may be, from which nothing is learnt


def cells_of(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Corner (N, 2) and side (N, 1) of all cells in pixels, in the rows' order."""
    corner, side = [], []
    for each, stride in zip(maps, STRIDES, strict=True):
        y, x = torch.meshgrid(*(torch.arange(n) for n in each.shape[2:]), indexing="ij")
        corner.append(torch.stack([x, y], dim=-1).reshape(-1, 2) * stride)
        side.append(torch.full((x.numel(), 1), stride))
    return torch.cat(corner).float(), torch.cat(side).float()


def corners_of(rows: Tensor, corner: Tensor, side: Tensor) -> Tensor:
    """(..., N, 4) left, top, right, bottom in pixels."""
    centre = rows[..., :2] * side + corner
    half = rows[..., 2:4].clamp(max=8).exp() * side / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of corners (..., 4) that belong to each other."""
    low, high = (
        torch.maximum(one[..., :2], other[..., :2]),
        torch.minimum(one[..., 2:], other[..., 2:]),
    )
    shared = (high - low).clamp(min=0).prod(dim=-1)
    both = (one[..., 2:] - one[..., :2]).prod(dim=-1) + (other[..., 2:] - other[..., :2]).prod(
        dim=-1
    )
    return shared / (both - shared).clamp(min=1e-6)


@torch.no_grad()
def assign(
    rows: Tensor, corners: Tensor, people: Tensor, corner: Tensor, side: Tensor
) -> tuple[Tensor, Tensor]:
    """Cells that answer for somebody (P,), and the number of the person for whom each does (P,).

    A person gets as many cells as its best overlaps add up to: those whose overlap and certainty cost least.
    """
    centre = corner + side / 2
    middle = (people[:, None, :2] + people[:, None, 2:]) / 2
    inside = ((centre > people[:, None, :2]) & (centre < people[:, None, 2:])).all(dim=-1)  # (G, N)
    near = ((centre - middle).abs() < NEAR * side).all(dim=-1)
    cells = (inside | near).any(dim=0).nonzero()[:, 0]
    if not len(cells):
        return cells, cells
    shared = overlap(people[:, None], corners[cells])  # (G, C)
    sure = F.logsigmoid(rows[cells, 4:6]).sum(dim=-1) / 2
    cost = -sure - 3 * (shared + 1e-8).log() + FAR * ~(inside & near)[:, cells]
    count = shared.topk(min(ANSWERS, len(cells)), dim=1).values.sum(dim=1).int().clamp(min=1)
    rank = cost.argsort(dim=1).argsort(dim=1)
    taken = rank < count[:, None]
    best = torch.where(taken, cost, torch.inf).argmin(dim=0)  # of several persons the cheapest
    answers = taken.any(dim=0)
    return cells[answers], best[answers]


def loss(maps: Sequence[Tensor], people: Sequence[Tensor], unclear: Sequence[Tensor]) -> Tensor:
    """Of a batch; people and unclear places are corners (G, 4) in pixels, one tensor a picture.

    YOLOX's overlaps, and one cross-entropy of the score, which is to be the overlap. YOLOX has two, of `thing` and of
    `person`: the first would begin with unlearning its other 79 classes, by which people were found less well.
    """
    rows, (corner, side) = rows_of(maps), cells_of(maps)
    corners = corners_of(rows, corner, side)
    wanted = torch.zeros(rows.shape[:2])
    weight = torch.ones(rows.shape[:2])
    boxes, count = rows.new_zeros(()), 0
    for at, (known, left_open) in enumerate(zip(people, unclear, strict=True)):
        if len(left_open):
            unknown = overlap(corners[at].detach()[None], left_open[:, None]) > OPEN
            weight[at, unknown.any(dim=0)] = 0
        if not len(known):
            continue
        cells, whom = assign(rows[at], corners[at], known, corner, side)
        shared = overlap(corners[at, cells], known[whom])
        boxes = boxes + (1 - shared.square()).sum()
        wanted[at, cells], weight[at, cells] = shared.detach(), 1
        count += len(cells)
    sure = F.logsigmoid(rows[..., 4]) + F.logsigmoid(rows[..., 5])
    not_sure = torch.log1p(-sure.exp().clamp(max=1 - 1e-6))
    score = -(weight * (wanted * sure + (1 - wanted) * not_sure)).sum()
    return (BOX_WEIGHT * boxes + score) / max(count, 1)
