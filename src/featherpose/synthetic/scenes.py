"""The scenes of the synthetic people: who and what stands where, in pixels, and what hides what."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from featherpose.synthetic.bodies import (
    BELONGS,
    NORMALS,
    PARTS,
    POINTS,
    UNIFORMS,
    Figures,
    pose_figures,
)

FIGURES = 3  # drawn for every scene, the first is the one annotated; `Scene.present` says which of the others are there
SCENE_UNIFORMS = 40
SHIFT = 4  # OpenCV's fixed-point bits: polygons are placed to a sixteenth of a pixel
_DISTANCE = 5.0  # of the camera, in body heights
_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_RING = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass
class Scene:
    """One picture's geometry; figures and objects in pixels."""

    size: tuple[int, int]  # width, height
    figures: Figures
    scale: np.ndarray  # (FIGURES,) pixels per body height
    points: np.ndarray  # (FIGURES, 22, 2)
    circles: np.ndarray  # (FIGURES, P, 4, 4): x, y, depth, radius in pixels
    sequence: tuple[int, ...]  # the figures that are there, from the back to the front
    objects: list[np.ndarray]  # convex polygons in front of everyone

    def hulls(self, figure: int) -> list[np.ndarray]:
        """The outline of each of PARTS in fixed-point pixels, as OpenCV's fillConvexPoly takes it."""
        return [cv2.convexHull(ring) for ring in fixed_rings(self.circles[figure])]


def fixed_rings(circles: np.ndarray) -> np.ndarray:
    """Points on circles (P, C, 4) of x, y, depth, radius: (P, C * 12, 2) fixed-point pixels."""
    rings = circles[:, :, None, :2] + circles[:, :, None, 3:] * _RING
    return np.rint(rings.reshape(len(circles), -1, 2) * (1 << SHIFT)).astype(np.int32)


def scene_draws(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a scene is made of: uniforms of the scene, uniforms and normals of its figures."""
    return (
        rng.random(SCENE_UNIFORMS),
        rng.random((FIGURES, UNIFORMS)),
        rng.standard_normal((FIGURES, NORMALS)),
    )


def build_scenes(draws: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> list[Scene]:
    """The scenes of many draws, their bodies posed in one batch."""
    uniforms = np.concatenate([d[1] for d in draws])
    figures = pose_figures(uniforms, np.concatenate([d[2] for d in draws]))
    near = 1 / (1 - figures.circles[..., 2:3] / _DISTANCE)
    circles = np.concatenate(
        [
            figures.circles[..., :2] * near,
            figures.circles[..., 2:3],
            figures.circles[..., 3:] * near,
        ],
        -1,
    )
    points = figures.points[..., :2] / (1 - figures.points[..., 2:3] / _DISTANCE)
    low = (circles[..., :2] - circles[..., 3:]).min(axis=(1, 2))
    high = (circles[..., :2] + circles[..., 3:]).max(axis=(1, 2))
    fields = [getattr(figures, name) for name in Figures.__dataclass_fields__]
    scenes = []
    for i, draw in enumerate(draws):
        rows = slice(i * FIGURES, (i + 1) * FIGURES)
        own = Figures(*(field[rows] for field in fields))
        scenes.append(_place(draw[0], own, points[rows], circles[rows], low[rows], high[rows]))
    return scenes


def _place(
    u: np.ndarray,
    figures: Figures,
    points: np.ndarray,
    circles: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Scene:
    width, height = 256 + 16 * int(u[0] * 9), 272 + 16 * int(u[1] * 9)
    extent = high - low
    scale = np.empty(FIGURES)
    scale[0] = (0.6 + 0.3 * u[2]) * min(
        height / max(extent[0, 1], 0.8), width / max(extent[0, 0], 0.3)
    )
    middle = np.empty((FIGURES, 2))
    middle[0] = (width * (0.5 + 0.16 * (u[3] - 0.5)), height * (0.5 + 0.08 * (u[4] - 0.5)))
    if u[5] < 0.16:  # truncated: nearer, and pushed over a border
        scale[0] *= 1.15 + 0.5 * u[6]
        middle[0] += (
            0.35 * (u[7] - 0.5) * width,
            (0.05 + 0.25 * u[8]) * height * (1 if u[9] < 0.75 else -1),
        )
    others = int(u[10] >= 0.55) + int(u[10] >= 0.85)
    behind, ahead = [], []
    for k in range(1, FIGURES):
        v = u[10 + 6 * k : 16 + 6 * k]
        back = v[0] < 0.72
        scale[k] = scale[0] * (0.7 + 0.3 * v[1] if back else 0.95 + 0.2 * v[1])
        side = 1 if v[2] < 0.5 else -1
        apart = (0.16 if back else 0.3) + 0.34 * v[3]
        middle[k] = middle[0] + (
            side * apart * scale[0],
            (0.08 * (v[4] - 0.5) - (0.04 if back else -0.05)) * scale[0],
        )
        if k <= others:
            (behind if back else ahead).append(k)
    shift = middle - (low + high) / 2 * scale[:, None]
    circles = circles.copy()
    circles[..., :2] = circles[..., :2] * scale[:, None, None, None] + shift[:, None, None]
    circles[..., 3] *= scale[:, None, None]
    return Scene(
        size=(width, height),
        figures=figures,
        scale=scale,
        points=points * scale[:, None, None] + shift[:, None],
        circles=circles,
        sequence=(*behind, 0, *ahead),
        objects=_objects(u[30:40], middle[0], scale[0], height),
    )


def _objects(u: np.ndarray, middle: np.ndarray, scale: float, height: int) -> list[np.ndarray]:
    """Things in front of the people: a crate or table, a post, a ball."""
    objects = []
    for v in (u[:5], u[5:]):
        kind, across = v[0], middle[0] + scale * (v[1] - 0.5) * 0.9
        if kind < 0.17:
            half, top = scale * (0.1 + 0.2 * v[2]), middle[1] + scale * (0.16 + 0.24 * v[3])
            bottom, lean = top + scale * (0.12 + 0.25 * v[4]), scale * 0.03 * (v[4] - 0.5)
            corners = [(-half, top), (half, top), (half + lean, bottom), (-half + lean, bottom)]
            objects.append(np.array([(across + x, y) for x, y in corners]))
        elif kind < 0.26:
            half, lean = scale * (0.012 + 0.02 * v[2]), scale * 0.12 * (v[3] - 0.5)
            corners = [
                (-half + lean, -5),
                (half + lean, -5),
                (half - lean, height + 5),
                (-half - lean, height + 5),
            ]
            objects.append(np.array([(across + x, y) for x, y in corners]))
        elif kind < 0.33:
            centre = np.array([across, middle[1] + scale * (v[2] - 0.3) * 0.8])
            objects.append(centre + _RING * scale * (0.05 + 0.06 * v[3]))
    return objects


def _owners() -> np.ndarray:
    owners = np.zeros((len(POINTS), len(PARTS)), dtype=bool)
    for i, point in enumerate(POINTS):
        side, _, bare = (
            point.rpartition("_") if point.startswith(("left_", "right_")) else ("", "", point)
        )
        for part in BELONGS[bare].split():
            owners[i, PARTS.index(part.replace("*", f"{side}_"))] = True
    return owners


_OWNERS = _owners()
_TORSO = PARTS.index("torso")


def layers(scene: Scene) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """What is in front at each pixel: a number per drawn part, rising from back to front; and each figure's numbers."""
    width, height = scene.size
    front = np.zeros((height, width), np.uint8)
    numbers = {}
    number = 0
    for figure in scene.sequence:
        hulls, own = scene.hulls(figure), np.empty(len(PARTS), np.int64)
        for part in scene.figures.order[figure]:
            number += 1
            own[part] = number
            cv2.fillConvexPoly(front, hulls[part], number, cv2.LINE_8, SHIFT)
        numbers[figure] = own
    for outline in scene.objects:
        number += 1
        cv2.fillConvexPoly(
            front, np.rint(outline * (1 << SHIFT)).astype(np.int32), number, cv2.LINE_8, SHIFT
        )
    return front, numbers


def seen(scene: Scene, figure: int, front: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Of each of POINTS: 0 outside the picture, 1 hidden by a body or an object, 2 visible."""
    width, height = scene.size
    x, y = np.rint(scene.points[figure]).astype(np.int64).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    owners = _OWNERS.copy()
    depth = scene.figures.points[figure, :, 2]
    owners[_SHOULDERS, _TORSO] = depth[_SHOULDERS] - depth[_THORAX] > -0.075
    owners[_HIPS, _TORSO] = owners[_HIPS, _HIP_PART] = depth[_HIPS] > -0.045
    limit = np.where(owners, own, 0).max(axis=1)
    above = front[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    clear = (above <= limit) & scene.figures.face_seen[figure]
    return np.where(inside, 1 + clear, 0).astype(np.uint8)


_SHOULDERS = [POINTS.index("left_shoulder"), POINTS.index("right_shoulder")]
_HIPS = [POINTS.index("left_hip"), POINTS.index("right_hip")]
_HIP_PART = PARTS.index("hips")
_THORAX = POINTS.index("thorax")
