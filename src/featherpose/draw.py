"""Pictures for people: skeletons on pictures, heatmaps over crops, contact sheets. RGB uint8 in, RGB uint8 out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from featherpose.skeletons import Skeleton

# The person's left is orange and the right blue, told apart by people who see colours differently too; the middle is
# nearly white. Every line gets a dark rim, so that it shows on any picture.
LEFT, RIGHT, MIDDLE, RIM = (255, 140, 0), (30, 144, 255), (240, 240, 230), (20, 20, 20)
_SHIFT = 4  # fixed-point bits: points are drawn to a sixteenth of a pixel


def side_colour(*joints: str) -> tuple[int, int, int]:
    """The colour of a joint, or of the limb between two."""
    if any(joint.startswith("left_") for joint in joints):
        return MIDDLE if any(joint.startswith("right_") for joint in joints) else LEFT
    return RIGHT if any(joint.startswith("right_") for joint in joints) else MIDDLE


def draw_pose(
    picture: np.ndarray,
    joints: np.ndarray,
    visible: np.ndarray | None,
    skeleton: Skeleton,
    thickness: int | None = None,
) -> np.ndarray:
    """A copy of the picture with the skeleton on it.

    Args:
        picture: (H, W, 3) or greyscale (H, W), uint8.
        joints: (K, 2) in the picture's pixels; joints that are not finite are left out.
        visible: (K,): 0 is left out, 1 (occluded) a ring, more a disc; or None for all of them.
        skeleton: whose limbs to draw.
        thickness: of the lines in pixels; from the size of the pose if None.
    """
    canvas = as_rgb(picture).copy()
    joints = np.asarray(joints, dtype=np.float64)[:, :2]
    state = np.full(len(joints), 2) if visible is None else np.asarray(visible)
    near = (
        np.abs(joints) < 30_000
    )  # also false for NaN; OpenCV's fixed-point coordinates overflow beyond
    shown = (state > 0) & near.all(axis=1)
    if not shown.any():
        return canvas
    if thickness is None:
        thickness = int(np.clip(round(np.ptp(joints[shown], axis=0).max() / 90), 1, 8))
    fixed = np.rint(np.where(near, joints, 0) * (1 << _SHIFT)).astype(int)
    limbs = [(a, b) for a, b in skeleton.limbs if shown[a] and shown[b]]
    for a, b in limbs:
        cv2.line(
            canvas, fixed[a].tolist(), fixed[b].tolist(), RIM, thickness + 2, cv2.LINE_AA, _SHIFT
        )
    for a, b in limbs:
        colour = side_colour(skeleton.joints[a], skeleton.joints[b])
        cv2.line(
            canvas, fixed[a].tolist(), fixed[b].tolist(), colour, thickness, cv2.LINE_AA, _SHIFT
        )
    for i in np.flatnonzero(shown):
        radius = (thickness + 1) << _SHIFT
        colour = side_colour(skeleton.joints[i])
        cv2.circle(canvas, fixed[i].tolist(), radius + (1 << _SHIFT), RIM, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, fixed[i].tolist(), radius, colour, -1, cv2.LINE_AA, _SHIFT)
        if state[i] == 1:
            cv2.circle(canvas, fixed[i].tolist(), radius // 2, RIM, -1, cv2.LINE_AA, _SHIFT)
    return canvas


def overlay_heatmaps(
    picture: np.ndarray, heatmaps: np.ndarray, strength: float = 0.65
) -> np.ndarray:
    """The picture with the largest of the heatmaps (K, h, w) at each place laid over it, black body to pale yellow.

    Values are shown from 0 to 1; a heatmap whose peak is above 1 is scaled down to it.
    """
    canvas = as_rgb(picture)
    maps = np.nan_to_num(np.asarray(heatmaps, dtype=np.float32))
    if maps.ndim == 2:
        maps = maps[None]
    height, width = canvas.shape[:2]
    # Heatmap cell i lies over crop pixel i * stride, so the grids are joined at their origins, not at their corners.
    scale_x, scale_y = width / maps.shape[2], height / maps.shape[1]
    matrix = np.array([[scale_x, 0.0, 0.0], [0.0, scale_y, 0.0]])
    most = cv2.warpAffine(
        maps.max(axis=0), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    level = np.clip(most / max(1.0, float(most.max())), 0, 1)
    colour = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha = strength * np.sqrt(level)[..., None]  # the root, so that faint answers show too
    return np.rint(canvas * (1 - alpha) + colour * alpha).astype(np.uint8)


def contact_sheet(
    pictures: Sequence[np.ndarray],
    columns: int,
    labels: Sequence[str] | None = None,
    tile: tuple[int, int] | None = None,
    gap: int = 4,
) -> np.ndarray:
    """The pictures in rows of `columns` on one sheet, each fitted into a tile without distortion, never enlarged.

    Args:
        pictures: any sizes, RGB or greyscale.
        columns: tiles per row.
        labels: a line of text under each picture.
        tile: (width, height); by default the largest width and height among the pictures.
        gap: pixels between the tiles.
    """
    if not pictures or columns < 1:
        raise ValueError("a contact sheet needs at least one picture and one column")
    tiles = [as_rgb(picture) for picture in pictures]
    width, height = tile or (max(t.shape[1] for t in tiles), max(t.shape[0] for t in tiles))
    columns, text = min(columns, len(tiles)), 18 if labels is not None else 0
    rows = -(-len(tiles) // columns)
    sheet = np.full(
        (rows * (height + text + gap) + gap, columns * (width + gap) + gap, 3), 32, np.uint8
    )
    for i, picture in enumerate(tiles):
        zoom = min(width / picture.shape[1], height / picture.shape[0], 1.0)
        if zoom < 1:
            size = (max(1, round(picture.shape[1] * zoom)), max(1, round(picture.shape[0] * zoom)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        top, left = gap + i // columns * (height + text + gap), gap + i % columns * (width + gap)
        y, x = top + (height - picture.shape[0]) // 2, left + (width - picture.shape[1]) // 2
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        if labels is not None:
            place = (left + 2, top + height + 13)
            cv2.putText(
                sheet,
                str(labels[i])[: width // 7],
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.4,
                MIDDLE,
                1,
                cv2.LINE_AA,
            )
    return sheet


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Any 8-bit picture as (H, W, 3), contiguous."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise ValueError(
            f"a picture is uint8 (H, W, 3) or (H, W), not {picture.dtype} {picture.shape}"
        )
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(picture[..., :3])
