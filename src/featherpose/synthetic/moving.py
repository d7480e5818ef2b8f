"""A painted person in a video: standing still or moving smoothly, with the true positions of every frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from featherpose.skeletons import Skeleton
from featherpose.synthetic.bodies import ANGLES, POINTS
from featherpose.synthetic.painting import paint
from featherpose.synthetic.scenes import Scene, build_scenes, scene_draws

SWING = 0.8  # of an angle's usual spread, to each side
SLOWEST, FASTEST = 0.3, 0.8  # swings a second
_PELVIS = POINTS.index("pelvis")
_COLOURS = 1  # a stream of its own beside the geometry's


@dataclass(frozen=True)
class Film:
    """One person before an empty background; every frame is painted alike but for the pose and the camera's noise."""

    scenes: list[Scene]
    joints: np.ndarray  # (T, K, 2) in pixels
    seed: tuple[int, ...]
    noise: float  # standard deviation of a pixel, in grey levels of 255

    def frames(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB each."""
        for number, scene in enumerate(self.scenes):
            picture = paint(scene, np.random.default_rng((*self.seed, _COLOURS)))
            camera = np.random.default_rng((*self.seed, 2 + number))
            noisy = picture + camera.normal(0, self.noise, picture.shape)
            yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def film(
    seed: int, index: int, frames: int, rate: float, moves: bool, noise: float, skeleton: Skeleton
) -> Film:
    """A person of `frames` frames at `rate` a second. Who moves swings every joint's angles, each at its own pace."""
    stream = (seed, index)
    rng = np.random.default_rng(stream)
    scene, uniforms, normals = scene_draws(rng)
    pace = rng.uniform(SLOWEST, FASTEST, len(ANGLES))
    phase = rng.uniform(0, 2 * np.pi, len(ANGLES))
    normals = np.clip(normals, -1.5, 1.5)  # so that no swing reaches a bound
    draws = []
    for number in range(frames if moves else 1):
        posed = normals.copy()
        swing = SWING * np.sin(2 * np.pi * pace * number / rate + phase)
        posed[0, : len(ANGLES)] += swing if moves else 0
        draws.append((scene, uniforms, posed))
    scenes = _in_one_place(build_scenes(draws))
    scenes = scenes if moves else scenes * frames
    chosen = [POINTS.index(joint) for joint in skeleton.joints]
    joints = np.stack([each.points[0, chosen] for each in scenes])
    return Film(scenes, joints, stream, noise)


def _in_one_place(scenes: list[Scene]) -> list[Scene]:
    """The first person of each alone, as large and where the first scene has the pelvis: the camera does not follow."""
    first = scenes[0]
    place, size = first.points[0, _PELVIS], first.scale[0]
    placed = []
    for scene in scenes:
        zoom, pelvis = size / scene.scale[0], scene.points[0, _PELVIS]
        circles, points = scene.circles.copy(), scene.points.copy()
        circles[0, ..., :2] = (circles[0, ..., :2] - pelvis) * zoom + place
        circles[0, ..., 3] *= zoom
        points[0] = (points[0] - pelvis) * zoom + place
        scale = np.where(np.arange(len(scene.scale)) == 0, size, scene.scale)
        placed.append(
            replace(
                scene, scale=scale, points=points, circles=circles, sequence=(0,), objects=[],
                size=first.size,
            )
        )  # fmt: skip
    return placed
