"""Crop geometry against formulas written independently, from the description of HRNet's protocol."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featherpose import crop


def three_point_matrix(centre, width_px, rotation, size_wh):
    """The reference: an affine map fixed by the centre, the middle of the upper side and a corner at a right angle."""
    width, height = size_wh
    angle = np.pi * rotation / 180
    up = np.array([0.5 * width_px * np.sin(angle), -0.5 * width_px * np.cos(angle)])
    source = np.array([centre, centre + up, centre + up + [up[1], -up[0]]])
    target = np.array(
        [[width / 2, height / 2], [width / 2, height / 2 - width / 2], [0, height / 2 - width / 2]]
    )
    return np.linalg.solve(np.hstack([source, np.ones((3, 1))]), target).T


@pytest.mark.parametrize(("rotation", "wanted"), [(0, [1, 2]), (90, [2, 1]), (180, [1, 2])])
def test_a_quarter_turn_swaps_the_sides_of_a_crop(rotation, wanted):
    np.testing.assert_allclose(crop.turned([1, 2], rotation), wanted)
    np.testing.assert_allclose(crop.turned([3, 3], rotation / 2), [3, 3])


@pytest.mark.parametrize("size_wh", [(192, 256), (256, 256), (288, 384), (128, 128)])
@pytest.mark.parametrize("rotation", [0.0, 33.0, -170.5])
def test_matrix_is_the_protocols(size_wh, rotation):
    mix = np.random.default_rng(1)
    for _ in range(20):
        box = mix.uniform(1, 400, 4)
        centre, scale = crop.centre_and_scale(box)
        width, height = box[2:] * 1.25
        aspect = size_wh[0] / size_wh[1]
        wanted = three_point_matrix(
            box[:2] + box[2:] / 2, max(width, height * aspect), rotation, size_wh
        )
        np.testing.assert_allclose(
            crop.crop_matrix(centre, scale, size_wh, rotation), wanted, rtol=0, atol=1e-9
        )


def test_mirrored_matrix_is_that_of_the_mirrored_picture():
    picture_width, size_wh = 640, (192, 256)
    centre, scale = np.array([211.3, 187.9]), np.array([0.8, 1.7])
    mirrored = np.array([[-1, 0, picture_width - 1], [0, 1, 0], [0, 0, 1.0]])
    of_mirrored = crop.crop_matrix([picture_width - 1 - centre[0], centre[1]], scale, size_wh, 25.0)
    np.testing.assert_allclose(
        crop.crop_matrix(centre, scale, size_wh, 25.0, flip=True), of_mirrored @ mirrored, atol=1e-9
    )


def test_upright_matrices_of_many_are_those_of_each_to_the_bit():
    mix = np.random.default_rng(3)
    centre, scale = mix.random((50, 2)) * 640, mix.random((50, 2)) * 3 + 0.01
    alone = [crop.crop_matrix(*one, (192, 256)) for one in zip(centre, scale, strict=True)]
    many = crop.upright_matrices(centre, scale, (192, 256))
    assert many.tobytes() == np.stack(alone).tobytes()


def test_points_go_there_and_back():
    mix = np.random.default_rng(2)
    for flip in (False, True):
        matrix = crop.crop_matrix(
            mix.uniform(0, 5000, 2), mix.uniform(0.01, 20, 2), (192, 256), 61.0, flip
        )
        points = mix.uniform(-100, 5000, (50, 17, 2))
        back = crop.apply(crop.invert(matrix), crop.apply(matrix, points))
        assert np.abs(back - points).max() < 1e-6


def test_centre_maps_to_the_middle_and_box_fills_the_crop():
    centre, scale = crop.centre_and_scale((100, 50, 60, 200))
    matrix = crop.crop_matrix(centre, scale, (192, 256))
    np.testing.assert_allclose(crop.apply(matrix, centre), (96, 128))
    np.testing.assert_allclose(
        crop.apply(matrix, [130, 150 - 125]), (96, 0), atol=1e-9
    )  # 200 px times 1.25 are 256


@pytest.mark.parametrize("rotation", [0.0, 17.0, 90.0])
def test_flipped_crop_is_the_mirrored_pictures_crop_bit_for_bit(rotation):
    picture = np.random.default_rng(3).integers(0, 256, (200, 301, 3), dtype=np.uint8)
    centre, scale = np.array([140.2, 95.7]), np.array([0.9, 0.9])
    flipped = crop.cut(
        picture, crop.crop_matrix(centre, scale, (96, 128), rotation, flip=True), (96, 128)
    )
    matrix = crop.crop_matrix([300 - centre[0], centre[1]], scale, (96, 128), rotation)
    expected = cv2.warpAffine(
        np.ascontiguousarray(picture[:, ::-1]), matrix, (96, 128), flags=cv2.INTER_LINEAR
    )
    np.testing.assert_array_equal(flipped, expected)


def test_cut_from_a_region_equals_cut_from_the_picture():
    picture = np.random.default_rng(4).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for flip in (False, True):
        matrix = crop.crop_matrix([150.4, 120.8], [0.3, 0.3], (64, 64), 30.0, flip)
        whole = crop.cut(picture, matrix, (64, 64))
        region = crop.cut(picture[60:190, 80:230], matrix, (64, 64), origin=(80, 60))
        np.testing.assert_array_equal(whole, region)


def test_pixel_follows_its_joint():
    picture = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(picture, (120, 80), 4, (255, 255, 255), -1)
    for rotation, flip in ((0, False), (40, False), (40, True)):
        matrix = crop.crop_matrix([100, 100], [0.8, 0.8], (128, 128), rotation, flip)
        image = crop.cut(picture, matrix, (128, 128))[:, :, 0]
        rows, columns = np.nonzero(image > 127)
        np.testing.assert_allclose(
            (columns.mean(), rows.mean()), crop.apply(matrix, [120, 80]), atol=0.2
        )


def test_the_square_around_a_person_has_him_in_its_middle_and_a_border_outside():
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[45:56, 145:156] = 255
    tile = crop.around(picture, np.array([150.0, 50.0]), np.array([0.2, 0.4]), 40, border=7)
    assert tile.shape == (40, 40, 3)
    assert tile[20, 20].tolist() == [255, 255, 255]  # 80 pixels in 40
    assert crop.around(picture, np.array([0.0, 0.0]), np.array([1.0, 1.0]), 40, 7)[0, 0, 0] == 7
