"""Which cells answer for a person, and what they are told."""

from __future__ import annotations

import torch

from featherpose.models.peers.yolox import STRIDES, rows_of
from featherpose.teaching.finder_loss import assign, cells_of, corners_of, loss, overlap

PERSON = torch.tensor([[16.0, 8, 48, 56]])
NOBODY = torch.zeros(0, 4)


def maps(score: float = -4.0) -> list[torch.Tensor]:
    """Of a 64 x 64 picture: every cell says a box of its own size, and that nobody is there."""
    found = [torch.zeros(1, 6, 64 // stride, 64 // stride) for stride in STRIDES]
    for each in found:
        each[:, 4:] = score
    return found


def perfect(found: list[torch.Tensor]) -> list[torch.Tensor]:
    """The cell of 16 pixels in the middle says the person's box, and is sure."""
    found[1][0, :, 2, 2] = torch.tensor([0, 0, *torch.tensor([32.0, 48]).div(16).log(), 6, 6])
    return found


def test_boxes_come_from_cells() -> None:
    found = perfect(maps())
    rows, (corner, side) = rows_of(found), cells_of(found)
    assert rows.shape == (1, 64 + 16 + 4, 6)
    corners = corners_of(rows, corner, side)
    torch.testing.assert_close(corners[0, 64 + 2 * 4 + 2], PERSON[0])
    assert corners[0, 0].tolist() == [-4, -4, 4, 4]


def test_overlaps() -> None:
    half = torch.tensor([16.0, 8, 48, 32])
    assert overlap(PERSON[0], PERSON[0]) == 1
    assert overlap(PERSON[0], half) == 0.5
    assert overlap(PERSON[0], PERSON[0] + 100) == 0


def test_the_best_cell_answers_for_the_person() -> None:
    found = perfect(maps())
    rows, (corner, side) = rows_of(found)[0], cells_of(found)
    corners = corners_of(rows, corner, side)
    two = torch.cat([PERSON, torch.tensor([[0.0, 0, 8, 8]])])
    cells, whom = assign(rows, corners, two, corner, side)
    assert whom[cells == 64 + 2 * 4 + 2].tolist() == [0]
    assert set(whom.tolist()) == {0, 1}
    centre = (corner + side / 2)[cells[whom == 1]]
    assert (centre < 40).all()


def test_who_is_far_from_all_cells_has_none() -> None:
    found = maps()
    rows, (corner, side) = rows_of(found)[0], cells_of(found)
    cells, whom = assign(rows, corners_of(rows, corner, side), PERSON + 1000, corner, side)
    assert len(cells) == len(whom) == 0


def test_right_answers_cost_less() -> None:
    wrong = loss(maps(), [PERSON], [NOBODY])
    right = loss(perfect(maps()), [PERSON], [NOBODY])
    assert right < 0.6 * wrong


def test_nothing_is_learnt_where_somebody_may_be() -> None:
    left = loss(perfect(maps()), [NOBODY], [PERSON])
    told = loss(perfect(maps()), [NOBODY], [NOBODY])
    nobody = loss(maps(), [NOBODY], [NOBODY])
    assert left < nobody < told


def test_gradients_are_finite_and_pull_towards_the_box() -> None:
    found = [each.requires_grad_() for each in perfect(maps())]
    loss(found, [PERSON + torch.tensor([0.0, 0, 8, 0])], [NOBODY]).backward()
    for each in found:
        assert each.grad is not None and torch.isfinite(each.grad).all()
    assert found[1].grad is not None
    assert found[1].grad[0, 2, 2, 2] < 0, "wider"
    assert found[1].grad[0, 0, 2, 2] < 0, "further right"
