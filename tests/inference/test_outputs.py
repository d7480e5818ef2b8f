"""Decoding and turning back in NumPy are those of the tensors, and two vectors a joint have their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherpose import heatmaps as tensors
from featherpose import vectors
from featherpose.errors import PoseError
from featherpose.inference.outputs import Heatmaps, Vectors, decode, flip_back
from featherpose.protocol import DECODERS, Protocol
from featherpose.skeletons import COCO


def some_maps(noise: float) -> np.ndarray:
    """Gaussians in noise, some at the edge; a map without a positive value, one of zeros, one with a plateau."""
    rng = np.random.default_rng(0)
    joints = torch.tensor(rng.uniform(0, 1, (5, 17, 2)) * [47, 63])
    maps, _ = tensors.encode(joints, torch.ones(5, 17), (64, 48), 2.0, False, None)
    maps = maps.float().numpy() + noise * rng.random(maps.shape, dtype=np.float32)
    maps[0, 0], maps[0, 1] = -1, 0
    maps[0, 2, 10:14, 20:24] = 2
    return maps


@pytest.mark.parametrize("how", DECODERS)
@pytest.mark.parametrize("noise", [0.0, 0.1, 5.0])
def test_decoding_equals_the_tensors(how: str, noise: float) -> None:
    maps = some_maps(noise)
    points, confidence = decode(maps, how)
    wanted, peaks = tensors.decode(torch.from_numpy(maps), how)
    np.testing.assert_array_equal(confidence, peaks)
    assert points.dtype == np.float32
    if how != "dark":
        np.testing.assert_array_equal(points, wanted)
        return
    step = np.abs(wanted.numpy() - decode(maps, "argmax")[0]).max(axis=2)
    # where the matrix is nearly singular the step is as long as its rounding wants
    np.testing.assert_allclose(points[step < 3], wanted[step < 3], atol=1e-4)
    assert (step < 3).mean() > 0.5


def test_half_precision_is_decoded_as_its_numbers() -> None:
    maps = some_maps(0.1).astype(np.float16)
    np.testing.assert_array_equal(decode(maps)[0], decode(maps.astype(np.float32))[0])


def test_an_unknown_decoder_is_named() -> None:
    with pytest.raises(PoseError, match="known: quarter, dark, argmax"):
        decode(np.zeros((1, 1, 8, 8), np.float32), "subpixel")


@pytest.mark.parametrize("shift", [False, True])
def test_turning_back_equals_the_tensors(shift: bool) -> None:
    maps = np.random.default_rng(0).random((2, 17, 16, 12), dtype=np.float32)
    wanted = tensors.flip_back(torch.from_numpy(maps), COCO.flip_order, shift)
    np.testing.assert_array_equal(flip_back(maps, COCO.flip_order, shift), wanted)
    both = Heatmaps(np.concatenate([maps, maps]), stride=4)
    mean = both.average_halves(COCO.flip_order, Protocol(flip=True, shift=shift))
    np.testing.assert_allclose(mean.values, (maps + wanted.numpy()) / 2, rtol=1e-6)


def test_heatmaps_are_decoded_to_crop_pixels() -> None:
    maps = some_maps(0.0)
    points, _ = Heatmaps(maps, stride=4).decode("quarter")
    np.testing.assert_array_equal(points, 4 * decode(maps)[0])


def test_vectors_are_decoded_as_rtmpose_does() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((3, 17, 96), np.float32), rng.random((3, 17, 128), np.float32)
    points, confidence = Vectors(x, y).decode("quarter")
    wanted, sure = vectors.decode(torch.from_numpy(x), torch.from_numpy(y), 2)
    np.testing.assert_array_equal(points, wanted)
    np.testing.assert_array_equal(confidence, sure)


def test_mirrored_vectors_are_turned_back() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 17, 96), np.float32), rng.random((2, 17, 128), np.float32)
    order = list(COCO.flip_order)
    mirrored_x, mirrored_y = x[:, order, ::-1], y[:, order]  # what a perfect network would give
    both = Vectors(np.concatenate([x, mirrored_x]), np.concatenate([y, mirrored_y]))
    mean = both.average_halves(COCO.flip_order, Protocol(flip=True))
    np.testing.assert_array_equal(mean.x, x)
    np.testing.assert_array_equal(mean.y, y)
