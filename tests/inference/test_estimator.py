"""The one estimator: its flip test, its decoding and its way back are those of training's validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose import crop
from featherpose.errors import PoseError
from featherpose.heatmaps import decode, flip_back, to_picture
from featherpose.inference.checkpoints import Loaded, TorchBackend
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII

SIZE = (64, 48)


class TwoStages(nn.Module):
    """Two supervisions, each of which sees left and right differently."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.first, self.last = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.stem(images).relu()
        return [self.first(features), self.last(features)]


class Made:
    """A network by hand with what it was made for."""

    def __init__(self, protocol: Protocol) -> None:
        self.network, self.skeleton, self.stride, self.input_size = TwoStages(), MPII, 4, SIZE
        self.protocol = protocol


def some_crops(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *SIZE), np.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("decoder", ["quarter", "dark", "argmax"])
def test_it_gives_what_the_tensors_give(flip: bool, decoder: str) -> None:
    made = Made(Protocol(flip=flip, decoder=decoder))
    crops = some_crops()
    matrices = np.stack(
        [crop.crop_matrix((30 + i, 40), (0.3, 0.4 + i / 10), (48, 64), 5.0 * i) for i in range(5)]
    )
    images = normalise(torch.from_numpy(crops))
    with torch.inference_mode():
        outputs = made.network(images)
        if flip:
            mirrored = made.network(images.flip(3))
            back = [flip_back(each, MPII.flip_order, True) for each in mirrored]
            outputs = [(one + other) / 2 for one, other in zip(outputs, back, strict=True)]
        points, peaks = zip(*(decode(each, decoder) for each in outputs), strict=True)
        wanted = to_picture(torch.stack(points), torch.from_numpy(matrices), 4)
    keypoints, confidence = Estimator(TorchBackend(made, "cpu")).in_pictures(crops, matrices)
    assert keypoints.shape == (2, 5, 16, 2) and keypoints.dtype == np.float64
    np.testing.assert_allclose(confidence, torch.stack(peaks), atol=1e-6)
    # of random maps DARK's steps are long, and so is their rounding
    np.testing.assert_allclose(keypoints, wanted, rtol=1e-4, atol=1e-3)
    final, sure = Estimator(TorchBackend(made, "cpu"))(crops)
    np.testing.assert_allclose(crop.to_pictures(final, matrices), keypoints[-1])
    np.testing.assert_array_equal(sure, confidence[-1])


def test_the_way_back_is_the_inverse_of_each_crop() -> None:
    matrices = np.stack([crop.crop_matrix((9, 8), (0.3, 0.4), (48, 64), r, r > 0) for r in (0, 30)])
    points = np.random.default_rng(0).uniform(0, 40, (3, 2, 16, 2))  # of three outputs
    found = crop.to_pictures(points, matrices)
    for number, matrix in enumerate(matrices):
        wanted = crop.apply(crop.invert(matrix), points[:, number])
        np.testing.assert_allclose(found[:, number], wanted, atol=1e-9)


class Fixed:
    """Gives the same maps for every crop, as a file with the flip test inside would."""

    def __init__(self, value: float = 1.0, flip_inside: bool = True) -> None:
        self.description = Description(MPII, SIZE, 4, Protocol(flip=True), flip_inside)
        self.value, self.seen = value, 0

    def __call__(self, crops: np.ndarray) -> list[Output]:
        self.seen += len(crops)
        maps = np.zeros((len(crops), 16, 16, 12), np.float32)
        maps[:, :, 5, 7] = self.value
        return [Heatmaps(maps, 4)]


def test_a_flip_test_inside_the_file_is_not_done_again() -> None:
    inside, outside = Fixed(), Fixed(flip_inside=False)
    Estimator(inside)(some_crops())
    Estimator(outside)(some_crops())
    assert (inside.seen, outside.seen) == (5, 10)


@pytest.mark.parametrize("asked", [Protocol(flip=False), Protocol(flip=True, shift=False)])
def test_a_flip_test_inside_the_file_cannot_be_done_otherwise(asked: Protocol) -> None:
    with pytest.raises(PoseError, match="The flip test is inside this file"):
        Estimator(Fixed(), replace(asked, name="another"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_named(value: float) -> None:
    with pytest.raises(PoseError, match="NaN or infinite heatmaps: its weights are damaged"):
        Estimator(Fixed(value))(some_crops())


class TwoVectors(nn.Module):
    """Peaks at bin 6 along x and at bin 20 along y, whatever the image."""

    joints, stride = 16, 4

    def forward(self, images: Tensor) -> list[Tensor]:
        x, y = (torch.zeros(len(images), 16, 2 * side) for side in (32, 64))
        x[..., 6], y[..., 20] = 1.0, 0.5
        return [x, y]


def test_a_network_of_two_vectors_a_joint_is_decoded_as_such() -> None:
    loaded = Loaded(TwoVectors(), MPII, 4, Protocol(flip=False), (64, 32))
    estimator = Estimator(TorchBackend(loaded, "cpu"), loaded.protocol)
    (output,) = estimator.outputs(np.zeros((2, 3, 64, 32), np.uint8))
    points, confidence = output.decode("quarter")
    np.testing.assert_array_equal(points, np.broadcast_to([3.0, 10.0], (2, 16, 2)))
    np.testing.assert_array_equal(confidence, np.full((2, 16), 0.5))
