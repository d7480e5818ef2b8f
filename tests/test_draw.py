"""Skeletons, heatmaps and contact sheets: what is drawn lies where it should."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.draw import (
    LEFT,
    MIDDLE,
    RIGHT,
    contact_sheet,
    draw_pose,
    overlay_heatmaps,
    side_colour,
)
from featherpose.skeletons import COCO, LSP, MPII, Skeleton


def spread(skeleton: Skeleton) -> np.ndarray:
    """Joints on a grid, far from each other."""
    return np.array([(30.0 + 40 * (i % 5), 30.0 + 40 * (i // 5)) for i in range(len(skeleton))])


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP], ids=lambda s: s.name)
def test_each_joint_has_the_colour_of_its_side(skeleton: Skeleton) -> None:
    joints = spread(skeleton)
    drawn = draw_pose(np.zeros((220, 230, 3), np.uint8), joints, None, skeleton)
    for name, (x, y) in zip(skeleton.joints, joints.astype(int), strict=True):
        expected = (
            LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
        )
        assert tuple(drawn[y, x]) == expected
    assert side_colour("left_hip", "right_hip") == MIDDLE
    assert side_colour("left_hip", "pelvis") == LEFT


def test_the_picture_given_stays_as_it_was() -> None:
    picture = np.full((60, 60, 3), 7, np.uint8)
    draw_pose(picture, spread(LSP) / 4, None, LSP)
    overlay_heatmaps(picture, np.ones((1, 15, 15)))
    assert (picture == 7).all()


def test_unannotated_and_impossible_joints_are_left_out() -> None:
    picture = np.zeros((220, 230, 3), np.uint8)
    joints, visible = spread(LSP), np.zeros(14)
    assert not draw_pose(picture, joints, visible, LSP).any()
    visible[:4] = 2
    joints[1], joints[2], joints[3] = (np.nan, 5), (np.inf, 5), (1e12, 5)
    drawn = draw_pose(picture, joints, visible, LSP)
    assert drawn[30, 30].any()
    assert not drawn[:, 60:].any()  # no limb leads to a joint that is nowhere


def test_lines_are_a_ninetieth_of_the_person_thick() -> None:
    picture, joints = np.zeros((450, 460, 3), np.uint8), 2 * spread(LSP)  # 320 pixels wide
    wanted = draw_pose(picture, joints, None, LSP, thickness=4)
    np.testing.assert_array_equal(draw_pose(picture, joints, None, LSP), wanted)


def test_an_occluded_joint_is_a_ring() -> None:
    picture, joints = np.zeros((220, 230, 3), np.uint8), spread(LSP)
    drawn = draw_pose(picture, joints, np.where(np.arange(14) == 0, 1, 0), LSP, thickness=6)
    assert drawn[30, 30].max() < 60
    np.testing.assert_allclose(drawn[30, 30 + 5], RIGHT, atol=10)  # the hole's soft rim


def test_grey_pictures_and_scores_of_confidence_are_welcome() -> None:
    drawn = draw_pose(np.zeros((220, 230), np.uint8), spread(LSP), np.full(14, 0.4), LSP)
    assert drawn.shape == (220, 230, 3)
    assert drawn.any()
    with pytest.raises(ValueError, match="uint8"):
        draw_pose(np.zeros((9, 9, 3)), spread(LSP), None, LSP)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_heatmaps_lie_over_what_they_mean(stride: int) -> None:
    """A peak at (x, y) of the heatmap brightens (x, y) * stride of the crop most."""
    heatmaps = np.zeros((3, 64 // stride, 48 // stride), np.float32)
    heatmaps[1, 40 // stride, 12 // stride] = 1.0
    light = overlay_heatmaps(np.zeros((64, 48, 3), np.uint8), heatmaps).sum(axis=2)
    row, column = np.unravel_index(light.argmax(), light.shape)
    assert (row, column) == (40, 12)
    assert light[0, 47] == 0


def test_heatmaps_that_mean_nothing_change_nothing() -> None:
    picture = np.full((32, 32, 3), 90, np.uint8)
    np.testing.assert_array_equal(overlay_heatmaps(picture, np.zeros((2, 8, 8))), picture)
    np.testing.assert_array_equal(overlay_heatmaps(picture, np.full((8, 8), np.nan)), picture)
    assert overlay_heatmaps(picture, np.full((8, 8), 7.0)).dtype == np.uint8


def test_a_contact_sheet_holds_every_picture_undistorted() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    pictures = [np.full((20 + 10 * i, 60, 3), colour, np.uint8) for i, colour in enumerate(colours)]
    sheet = contact_sheet(pictures, columns=2, gap=3)
    assert sheet.shape == (3 * (60 + 3) + 3, 2 * (60 + 3) + 3, 3)
    for picture, colour in zip(pictures, colours, strict=True):
        assert (sheet == colour).all(axis=2).sum() == picture.shape[0] * 60
    small = contact_sheet(pictures, columns=5, tile=(30, 30))
    rows, columns = np.nonzero((small == colours[0]).all(axis=2))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (30, 10)  # 60 x 20, halved


def test_contact_sheets_with_labels_and_fewer_pictures_than_columns() -> None:
    picture = np.zeros((10, 50, 3), np.uint8)
    plain, labelled = (
        contact_sheet([picture], columns=9),
        contact_sheet([picture], columns=9, labels=["nose"]),
    )
    assert plain.shape[1] == 50 + 2 * 4
    assert labelled.shape[0] > plain.shape[0]
    assert labelled[-16:].max() > 200
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([], columns=2)
