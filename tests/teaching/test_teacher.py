"""The teacher's two views, with a teacher whose every heatmap is the picture's brightness."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.skeletons import COCO
from featherpose.teaching.teacher import Teacher, teach


def write_teacher(path: Path, left: float = 1.0) -> Path:
    """Heatmaps: the mean brightness of each 4 x 4 pixels; those of the left side's joints times `left`."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    image = ops.parameter([1, 3, 256, 192], np.float32)
    pooled = ops.avg_pool(image, [4, 4], [0, 0], [0, 0], [4, 4], True)
    strength = [left if name.startswith("left") else 1.0 for name in COCO.joints]
    kernel = np.repeat(np.array(strength, np.float32)[:, None, None, None], 3, axis=1) / 3
    heatmaps = ops.convolution(pooled, ops.constant(kernel), [1, 1], [0, 0], [0, 0], [1, 1])
    openvino.save_model(openvino.Model([heatmaps], [image]), path, compress_to_fp16=False)
    return path


def region_with_spot(x: int, y: int) -> bytes:
    picture = np.zeros((320, 240, 3), np.uint8)
    cv2.circle(picture, (x, y), 6, (255, 255, 255), -1)
    return cv2.imencode(".png", picture)[1].tobytes()


def test_both_views_find_the_spot(tmp_path):
    teacher = Teacher(write_teacher(tmp_path / "spot.xml"))
    places = [(60, 100), (100, 200), (180, 90), (120, 160), (90, 230)]  # more than one batch
    regions = [region_with_spot(*place) for place in places]
    boxes = np.tile([43.2, 57.6, 153.6, 204.8], (5, 1))  # the crop: 24, 32 to 216, 288
    views = teach(teacher, regions, boxes, np.ones((5, 2)), np.zeros((5, 2)))
    assert views.points.shape == (5, 2, 17, 2)
    for view in (0, 1):
        offset = views.points[:, view] - np.array(places)[:, None]
        assert np.abs(offset).max() < 4  # a heatmap's pixel


def test_left_stays_left_in_the_mirrored_view(tmp_path):
    teacher = Teacher(write_teacher(tmp_path / "left.xml", left=0.5))
    boxes = np.array([[43.2, 57.6, 153.6, 204.8]])
    views = teach(teacher, [region_with_spot(60, 100)], boxes, np.ones((1, 2)), np.zeros((1, 2)))
    left = [name.startswith("left") for name in COCO.joints]
    plain, mirrored = views.confidence[0]
    assert plain[left].max() < plain[np.invert(left)].min()
    # the names change sides with the mirror, and are changed back
    assert mirrored[left].min() > mirrored[[name.startswith("right") for name in COCO.joints]].max()


def test_zoom_and_shift_lead_to_the_same_place(tmp_path):
    teacher = Teacher(write_teacher(tmp_path / "spot.xml"))
    boxes = np.array([[43.2, 57.6, 153.6, 204.8]])
    region = [region_with_spot(60, 100)]
    plain = teach(teacher, region, boxes, np.ones((1, 2)), np.zeros((1, 2)))
    boxes_in_picture = (boxes - [7, 7, 0, 0]) / 0.5  # region = picture * 0.5 + 7
    moved = teach(teacher, region, boxes_in_picture, np.full((1, 2), 0.5), np.full((1, 2), 7.0))
    np.testing.assert_allclose(moved.points, plain.points, atol=1e-6)


def test_no_teacher(tmp_path):
    pytest.importorskip("openvino")
    with pytest.raises(PoseError, match="There is no teacher"):
        Teacher(tmp_path / "nothing.xml")
