"""Targets and decoding against the formulas of HRNet and DARK, written here map by map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.heatmaps import decode, encode, flip_back, flip_test
from featherpose.skeletons import COCO


def hrnet_target(joint, visible, size, sigma):
    """Patch by patch, with Python's truncation towards zero."""
    height, width = size
    target, reach = np.zeros((height, width), np.float32), sigma * 3
    centre = [int(joint[0] + 0.5), int(joint[1] + 0.5)]
    low = [int(centre[0] - reach), int(centre[1] - reach)]
    high = [int(centre[0] + reach + 1), int(centre[1] + reach + 1)]
    if low[0] >= width or low[1] >= height or high[0] < 0 or high[1] < 0:
        return target, 0.0
    if visible:
        for y in range(max(low[1], 0), min(high[1], height)):
            for x in range(max(low[0], 0), min(high[0], width)):
                target[y, x] = np.exp(
                    -((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2)
                )
    return target, float(visible)


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_targets_are_those_of_hrnet(sigma):
    rng = np.random.default_rng(sigma)
    size = (64, 48)
    joints = rng.uniform(-16, 80, (12, 17, 2))
    joints[0, :4] = [
        [-0.4, -0.6],
        [-1.2, 3],
        [-7, 10],
        [47.5, 63.5],
    ]  # truncation, and squares at the very edge
    visible = rng.integers(0, 2, (12, 17))
    targets, weights = encode(torch.tensor(joints), torch.tensor(visible), size, sigma)
    for b in range(12):
        for k in range(17):
            expected, weight = hrnet_target(joints[b, k], visible[b, k], size, sigma)
            np.testing.assert_allclose(targets[b, k], expected, atol=1e-6)
            assert weights[b, k] == weight


def test_an_exact_centre_and_a_whole_gaussian():
    joints = torch.tensor([[[10.3, 20.8]]], dtype=torch.float64)
    targets, weights = encode(
        joints, torch.ones(1, 1), (64, 48), 5.0, quantised=False, truncate=None
    )
    y, x = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    expected = torch.exp(-((x - 10.3) ** 2 + (y - 20.8) ** 2) / 50)
    torch.testing.assert_close(targets[0, 0], expected.double(), atol=1e-6, rtol=1e-6)
    assert weights.tolist() == [[1.0]]


def test_joints_without_a_target_may_hold_anything():
    targets, weights = encode(torch.full((1, 2, 2), float("nan")), torch.zeros(1, 2), (16, 12), 2.0)
    assert not targets.any()
    assert not weights.any()


@pytest.mark.parametrize("how", ["argmax", "quarter", "dark"])
def test_heatmaps_of_whole_numbers_are_decoded_as_those_of_floats(how):
    """As a quantised network gives them."""
    maps = torch.randint(-128, 128, (2, 3, 16, 12), generator=torch.Generator().manual_seed(0))
    points, peaks = decode(maps.to(torch.int8), how)
    expected, highest = decode(maps.float(), how)
    assert points.dtype == peaks.dtype == torch.float32
    assert torch.equal(points, expected) and torch.equal(peaks, highest)


def hrnet_decode(heatmaps):
    """HRNet's maxima, then its quarter-pixel offset, map by map."""
    batch, joints, height, width = heatmaps.shape
    points, peaks = np.zeros((batch, joints, 2), np.float32), np.zeros((batch, joints), np.float32)
    for b, k in np.ndindex(batch, joints):
        one = heatmaps[b, k]
        place, peaks[b, k] = int(np.argmax(one)), one.max()
        if peaks[b, k] <= 0:
            continue
        points[b, k] = place % width, place // width
        px, py = int(np.floor(points[b, k, 0] + 0.5)), int(np.floor(points[b, k, 1] + 0.5))
        if 1 < px < width - 1 and 1 < py < height - 1:
            difference = np.array(
                [one[py, px + 1] - one[py, px - 1], one[py + 1, px] - one[py - 1, px]]
            )
            points[b, k] += np.sign(difference) * 0.25
    return points, peaks


def dark_decode(heatmaps, kernel=11):
    """DARK: smooth the whole map, keep its maximum, take the logarithm, one Newton step."""
    batch, joints, height, width = heatmaps.shape
    points = np.zeros((batch, joints, 2))
    border = (kernel - 1) // 2
    for b, k in np.ndindex(batch, joints):
        one = heatmaps[b, k]
        if one.max() <= 0:
            continue
        py, px = np.unravel_index(np.argmax(one), one.shape)
        points[b, k] = px, py
        smooth = cv2.GaussianBlur(np.pad(one, border), (kernel, kernel), 0)[
            border:-border, border:-border
        ]
        log = np.log(np.maximum(smooth * one.max() / smooth.max(), 1e-10)).astype(np.float64)
        if not (1 < px < width - 2 and 1 < py < height - 2):
            continue
        dx = 0.5 * (log[py, px + 1] - log[py, px - 1])
        dy = 0.5 * (log[py + 1, px] - log[py - 1, px])
        dxx = 0.25 * (log[py, px + 2] - 2 * log[py, px] + log[py, px - 2])
        dyy = 0.25 * (log[py + 2, px] - 2 * log[py, px] + log[py - 2, px])
        dxy = 0.25 * (
            log[py + 1, px + 1] - log[py - 1, px + 1] - log[py + 1, px - 1] + log[py - 1, px - 1]
        )
        if dxx * dyy - dxy**2 != 0:
            points[b, k] -= np.linalg.solve([[dxx, dxy], [dxy, dyy]], [dx, dy])
    return points


def random_heatmaps(seed, noise):
    """Gaussians that may lie near the edge, in noise; one map without a positive value, one with a plateau."""
    rng = np.random.default_rng(seed)
    joints = torch.tensor(rng.uniform(0, 1, (6, 17, 2)) * [47, 63])
    maps, _ = encode(joints, torch.ones(6, 17), (64, 48), 2.0, quantised=False, truncate=None)
    maps = maps.float().numpy() + noise * rng.random(maps.shape, dtype=np.float32)
    maps[0, 0] = -1
    maps[0, 1] = 0
    maps[0, 2, 10:14, 20:24] = 2
    return maps, joints


@pytest.mark.parametrize("noise", [0.0, 0.05, 5.0])
def test_quarter_offsets_are_those_of_hrnet(noise):
    maps, _ = random_heatmaps(0, noise)
    points, confidence = decode(torch.from_numpy(maps))
    expected, peaks = hrnet_decode(maps)
    np.testing.assert_array_equal(points, expected)
    np.testing.assert_array_equal(confidence, peaks)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_layout_and_precision_of_the_heatmaps_do_not_matter(layout, kind):
    maps = torch.from_numpy(random_heatmaps(3, 0.2)[0]).to(kind)
    points, confidence = decode(maps.to(memory_format=layout))
    expected, peaks = hrnet_decode(maps.float().numpy() if kind == torch.bfloat16 else maps.numpy())
    np.testing.assert_array_equal(points, expected)
    np.testing.assert_array_equal(confidence.float(), peaks)
    assert points.dtype == torch.float32


@pytest.mark.parametrize("noise", [0.001, 0.2])
def test_dark_is_that_of_its_authors(noise):
    maps, _ = random_heatmaps(1, noise)
    points, _ = decode(torch.from_numpy(maps), "dark")
    expected = dark_decode(maps)
    near = (
        np.abs(expected - hrnet_decode(maps)[0]).max(axis=-1) < 3
    )  # where the step is a step, not a division by 0
    assert near.mean() > 0.9
    np.testing.assert_allclose(points.numpy()[near], expected[near], atol=2e-3)


def test_each_decoder_is_finer_than_the_one_before():
    maps, joints = random_heatmaps(2, 0.0)
    inner = ((joints > 6) & (joints < torch.tensor([41, 57]))).all(dim=-1).numpy()
    inner[0, :3] = False
    error = {}
    for how in ("argmax", "quarter", "dark"):
        points, _ = decode(torch.from_numpy(maps), how)
        error[how] = np.linalg.norm(points.numpy() - joints.numpy(), axis=-1)[inner].mean()
    assert error["dark"] < 0.01 < error["quarter"] < error["argmax"]


def test_an_unknown_decoder_is_named():
    with pytest.raises(PoseError, match="no decoder=subpixel; known: quarter, dark, argmax"):
        decode(torch.zeros(1, 1, 8, 8), "subpixel")


@pytest.mark.parametrize("shift", [False, True])
def test_the_flip_test_turns_back_what_was_mirrored(shift):
    maps = torch.rand(2, 17, 16, 12)
    mirrored = torch.empty_like(maps)
    for joint, other in enumerate(COCO.flip_order):
        mirrored[:, other] = maps[:, joint].flip(-1)
    back = flip_back(mirrored, COCO.flip_order, shift)
    if shift:
        assert torch.equal(back[..., 1:], maps[..., :-1])
        assert torch.equal(back[..., 0], maps[..., 0])  # HRNet leaves the first column where it was
    else:
        assert torch.equal(back, maps)


@pytest.mark.parametrize("passes", [False, True])
def test_the_flip_test_averages_every_output_with_its_mirrored_one_turned_back(passes):
    images = torch.randn(2, 3, 8, 8)

    def outputs_of(seen):
        return [seen[:, :2], seen[:, 1:] * 2]

    found = flip_test(outputs_of, images, [1, 0], True, passes)
    plain, mirrored = outputs_of(images), outputs_of(images.flip(3))
    for output, here, there in zip(found, plain, mirrored, strict=True):
        assert torch.equal(output, (here + flip_back(there, [1, 0], True)) / 2)
