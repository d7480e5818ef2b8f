"""A network for data whose joints stand in another order, or are some of its own."""

from __future__ import annotations

import numpy as np
import pytest

from featherpose.errors import PoseError
from featherpose.inference.by_name import for_joints
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output, Vectors
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO, LSP, skeleton_of

ARMS = skeleton_of({"name": "arms", "joints": ["right_wrist", "nose", "left_wrist"]})


class Places:
    """Joint k is found at column k, on every crop; mirrored crops, which are bright, have it at the mirrored side's."""

    description = Description(
        COCO, (64, 128), 4, Protocol(flip=True, shift=False, decoder="argmax")
    )

    def __init__(self, vectors: bool = False) -> None:
        self.vectors = vectors

    def __call__(self, crops: np.ndarray) -> list[Output]:
        columns = np.tile(np.arange(len(COCO)), (len(crops), 1))
        mirrored = crops[:, 0, 0, 0] > 0
        columns[mirrored] = 31 - np.arange(len(COCO))[list(COCO.flip_order)]
        maps = np.eye(32, dtype=np.float32)[columns][:, :, None, :].repeat(16, axis=2)
        if self.vectors:
            top = np.eye(1, 64, dtype=np.float32).repeat(len(COCO), axis=0)
            return [Vectors(maps[:, :, 0], np.stack([top] * len(crops)), 1)]
        return [Heatmaps(maps, 4)]


@pytest.mark.parametrize("vectors", [False, True])
def test_joints_are_found_by_their_names(vectors: bool) -> None:
    backend = for_joints(Places(vectors), ARMS)
    crops = np.zeros((2, 3, 64, 128), np.uint8)
    crops[..., -1] = 255  # the mirrored ones begin brightly
    points, confidence = Estimator(backend)(crops)
    step = 1 if vectors else 4
    wanted = [COCO.index(joint) * step for joint in ARMS.joints]
    assert points.shape == (2, 3, 2)
    np.testing.assert_array_equal(points[..., 0], [wanted] * 2)
    assert (confidence == 1).all()
    assert backend.description.skeleton == ARMS


def test_the_same_joints_need_nothing_and_others_are_refused() -> None:
    network = Places()
    assert for_joints(network, COCO) is network
    with pytest.raises(PoseError, match=r"lsp \(14 joints\): it lacks neck, head_top\.$"):
        for_joints(network, LSP)
