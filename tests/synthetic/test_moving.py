"""Films of one person: still or smooth, always with the true positions."""

from __future__ import annotations

import numpy as np

from featherpose.skeletons import COCO
from featherpose.synthetic.moving import film


def test_who_stands_still_differs_by_the_camera_s_noise_alone() -> None:
    one = film(0, 0, 3, 25.0, False, 5.0, COCO)
    assert np.ptp(one.joints, axis=0).max() == 0
    first, second, _ = (frame.astype(float) for frame in one.frames())
    assert 5 < (first - second).std() < 5 * np.sqrt(2) + 0.5  # clipped at black and white
    again, *_ = film(0, 0, 3, 25.0, False, 5.0, COCO).frames()
    assert np.array_equal(first, again)
    quiet = list(film(0, 0, 2, 25.0, False, 0.0, COCO).frames())
    assert np.array_equal(quiet[0], quiet[1])


def test_who_moves_moves_smoothly_on_the_spot() -> None:
    one = film(0, 1, 50, 25.0, True, 5.0, COCO)
    size = np.linalg.norm(np.ptp(one.joints[0], axis=0))
    step = np.linalg.norm(np.diff(one.joints, axis=0), axis=2) / size
    bend = np.linalg.norm(np.diff(one.joints, n=2, axis=0), axis=2) / size
    assert step.max() > 0.004
    assert bend.max() < 0.4 * step.max()  # no jump
    hips = one.joints[:, [COCO.index("left_hip"), COCO.index("right_hip")]].mean(axis=1)
    assert np.ptp(hips, axis=0).max() < 0.1 * size
    assert len({scene.size for scene in one.scenes}) == 1
