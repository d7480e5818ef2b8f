"""Regions: where a picture's point lies in one, how large it is, what is decoded how often."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featherpose.crop import crop_matrix, cut
from featherpose.data.packs import decode
from featherpose.errors import PoseError
from featherpose.teaching import regions as room
from featherpose.teaching.listing import of_boxes
from featherpose.teaching.regions import CROP, cut_region, regions

from ..small_sets import smooth_picture, write_picture


def crops(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plain crop of the picture, and that of the region."""
    centre, scale = room.centre_and_scale(box)
    direct = cut(picture, crop_matrix(centre, scale, CROP), CROP)
    region = cut_region(picture, box)
    inside = crop_matrix(centre * region.zoom + region.shift, scale * region.zoom, CROP)
    return direct, cut(decode(region.data, "region")[..., ::-1], inside, CROP)


@pytest.mark.parametrize("box", [(300, 200, 90, 120), (300, 100, 240, 500), (-20, 500, 300, 300)])
def test_the_crop_of_a_region_is_the_crop_of_the_picture(box):
    direct, through = crops(smooth_picture(3, (800, 700)), np.array(box, float))
    assert np.abs(direct.astype(int) - through).mean() < 4


def test_regions_shrink_and_never_grow():
    picture = smooth_picture(0, (900, 900))
    large = cut_region(picture, np.array([300.0, 200.0, 240.0, 480.0]))
    assert large.size == pytest.approx((240, 320), abs=2)
    assert large.zoom == pytest.approx([192 / 450, 192 / 450], rel=0.01)
    small = cut_region(picture, np.array([400.0, 400.0, 30.0, 40.0]))
    assert small.zoom.tolist() == [1, 1]
    assert small.size == pytest.approx((47, 63), abs=2)


def test_outside_the_picture_nothing_is_stored():
    region = cut_region(smooth_picture(0, (100, 100)), np.array([60.0, 0.0, 40.0, 100.0]))
    assert region.size[1] == 100
    far = cut_region(smooth_picture(0, (100, 100)), np.array([500.0, 500.0, 40.0, 40.0]))
    assert far.size == (1, 1)


def test_a_picture_is_opened_once_for_people_one_after_another(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.jpg", 1)
    write_picture(tmp_path / "b.jpg", 2)
    opened = []
    monkeypatch.setattr(room.cv2, "imread", lambda path, flags: opened.append(path) or READ(path))
    paths = [str(tmp_path / name) for name in ("a.jpg", "a.jpg", "b.jpg")]
    found = list(regions(of_boxes("x", paths, [(0, 0)] * 3, [(10, 10, 60, 80)] * 3)))
    assert len(found) == 3
    assert opened == [paths[0], paths[2]]
    assert found[0].data == found[1].data


READ = cv2.imread


def test_a_squeezed_picture_is_stretched_first(tmp_path):
    write_picture(tmp_path / "a.jpg", 1, (416, 416))
    (found,) = regions(of_boxes("x", [str(tmp_path / "a.jpg")], [(555, 416)], [(0, 0, 555, 416)]))
    assert found.size[0] / found.size[1] == pytest.approx(555 / 416, rel=0.02)


def test_a_missing_picture_is_named():
    with pytest.raises(PoseError, match=r"nowhere\.jpg is missing"):
        list(regions(of_boxes("x", ["nowhere.jpg"], [(0, 0)], [(0, 0, 9, 9)])))
