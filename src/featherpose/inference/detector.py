"""Boxes of people from an ONNX person detector: adapters for what YOLOX, YOLO and RTMDet exports put out.

| kind | its export | input | output |
|---|---|---|---|
| `yolox` | YOLOX, not decoded | BGR 0 to 255, letterbox at the top left | (1, N, 5 + C): offsets on grids |
| `yolo` | Ultralytics v8 and later, v5 to v7 | RGB 0 to 1, letterbox in the middle | (1, 4 + C, N) or (1, N, 5 + C) |
| `yolo_end` | YOLO exports with NMS inside, v10 and later | as `yolo` | (1, N, 6): corners, score, class |
| `rtmdet` | MMDeploy | BGR less mean, by deviation; letterbox at the top left | dets (1, N, 5), labels (1, N) |

The person is class 0 in all of them, as in COCO.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.backends import open_session

PERSON = 0
PAD = 114  # the grey that all of them were trained with
RTMDET_MEAN, RTMDET_DEVIATION = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # BGR
DEFAULT_SIZE = (640, 640)  # height, width where the file leaves them open


def letterbox(
    picture: np.ndarray, size: tuple[int, int], middle: bool
) -> tuple[np.ndarray, float, np.ndarray]:
    """The picture scaled to fit `size` and padded; the zoom and the offset (x, y) at which it lies."""
    height, width = size
    zoom = min(height / picture.shape[0], width / picture.shape[1])
    shape = (max(1, round(picture.shape[1] * zoom)), max(1, round(picture.shape[0] * zoom)))
    small = cv2.resize(picture, shape, interpolation=cv2.INTER_LINEAR)
    offset = (
        np.array([(width - shape[0]) // 2, (height - shape[1]) // 2])
        if middle
        else np.zeros(2, int)
    )
    canvas = np.full((height, width, 3), PAD, np.uint8)
    canvas[offset[1] : offset[1] + shape[1], offset[0] : offset[0] + shape[0]] = small
    return canvas, zoom, offset


def yolox_grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The place (N, 2) in cells and the stride (N, 1) of each row: one for each cell of three grids."""
    places, strides = [], []
    for stride in (8, 16, 32):
        y, x = np.mgrid[0 : size[0] // stride, 0 : size[1] // stride]
        places.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full(x.size, stride))
    return np.concatenate(places), np.concatenate(strides)[:, None]


def yolox_boxes(outputs: list[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (N, 4) in input pixels and the person's score (N,)."""
    rows = outputs[0][0].astype(np.float64)
    grid, stride = yolox_grid(size)
    if len(grid) != len(rows):
        raise PoseError(
            f"This detector gives {len(rows)} rows; a YOLOX of {size[0]}x{size[1]} gives {len(grid)}."
        )
    centre, half = (rows[:, :2] + grid) * stride, np.exp(rows[:, 2:4]) * stride / 2
    return np.concatenate([centre - half, centre + half], axis=1), rows[:, 4] * rows[:, 5 + PERSON]


def yolo_boxes(outputs: list[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows = outputs[0][0].astype(np.float64)
    if rows.shape[0] < rows.shape[1]:  # v8 and later: no objectness, one column per place
        rows = rows.T
        score = rows[:, 4 + PERSON]
    else:
        score = rows[:, 4] * rows[:, 5 + PERSON]
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1), score


def yolo_end_boxes(
    outputs: list[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    rows = outputs[0][0].astype(np.float64)
    rows = rows[rows[:, 5].round() == PERSON]
    return rows[:, :4], rows[:, 4]


def rtmdet_boxes(outputs: list[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    boxes = next(each for each in outputs if each.ndim == 3)[0].astype(np.float64)
    labels = next(each for each in outputs if each.ndim == 2)[0]
    people = boxes[labels == PERSON]
    return people[:, :4], people[:, 4]


Decode = Callable[[list[np.ndarray], tuple[int, int]], tuple[np.ndarray, np.ndarray]]
KINDS: dict[str, Decode] = {
    "yolox": yolox_boxes,
    "yolo": yolo_boxes,
    "yolo_end": yolo_end_boxes,
    "rtmdet": rtmdet_boxes,
}


class Detector:
    """A person detector in an ONNX file; called with an RGB picture it gives boxes (N, 4: x, y, w, h) and scores (N,).

    Args:
        path: the file.
        kind: whose export it is, see the table above; None takes it from the shape of the output.
        threshold: boxes of lower scores are left out.
        overlap: of two boxes that overlap more than this (IoU) the lower one is left out.
        most: so many boxes of a picture at most, the highest first.
        threads: 0 for one per core.
    """

    def __init__(
        self,
        path: str | Path,
        kind: str | None = None,
        threshold: float = 0.4,
        overlap: float = 0.6,
        most: int = 50,
        threads: int = 0,
    ) -> None:
        self.path = path
        self.threshold = threshold
        self.overlap = overlap
        self.most = most
        self.session = open_session(path, threads)
        entry = self.session.get_inputs()[0]
        if len(entry.shape) != 4 or entry.shape[1] != 3:
            raise PoseError(
                f"The detector {path} takes {entry.shape}; known ones take pictures (1, 3, height, width)."
            )
        self.name = entry.name
        height, width = (side if isinstance(side, int) else None for side in entry.shape[2:])
        self.size = (height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1])
        self.kind = kind or self._guess()
        if self.kind not in KINDS:
            raise PoseError(f"There is no detector_kind={self.kind}; known: {', '.join(KINDS)}.")

    def _guess(self) -> str:
        shapes = [output.shape for output in self.session.get_outputs()]
        if len(shapes) >= 2 and {2, 3} <= {len(shape) for shape in shapes}:
            return "rtmdet"
        last = shapes[0]
        if len(last) == 3 and isinstance(last[2], int):
            if last[2] == 6:  # a YOLOX of one class has as many rows as cells, an NMS a few hundred
                return "yolox" if last[1] == len(yolox_grid(self.size)[0]) else "yolo_end"
            if isinstance(last[1], int) and last[1] < last[2]:
                return "yolo"
        raise PoseError(
            f"The output {last} of the detector {self.path} may be of more than one kind: "
            f"say which with detector_kind={'|'.join(KINDS)}."
        )

    def prepare(self, picture: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        ultralytics = self.kind in ("yolo", "yolo_end")
        canvas, zoom, offset = letterbox(picture, self.size, middle=ultralytics)
        pixels = canvas.astype(np.float32)
        if ultralytics:
            pixels /= 255
        else:
            pixels = pixels[..., ::-1]  # BGR
        if self.kind == "rtmdet":
            pixels = (pixels - np.array(RTMDET_MEAN, np.float32)) / np.array(
                RTMDET_DEVIATION, np.float32
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), zoom, offset

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs, zoom, offset = self.prepare(picture)
        outputs: list[Any] = self.session.run(None, {self.name: inputs})
        try:
            corners, scores = KINDS[self.kind](outputs, self.size)
        except (IndexError, ValueError, StopIteration) as error:
            shapes = [each.shape for each in outputs]
            raise PoseError(
                f"The detector {self.path} gives {shapes}, which is not what {self.kind} gives."
            ) from error
        corners = (corners - np.tile(offset, 2)) / zoom
        limit = np.array([picture.shape[1], picture.shape[0]] * 2)
        corners = np.clip(corners, 0, limit)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        usable = (scores >= self.threshold) & (boxes[:, 2:] >= 2).all(axis=1)
        boxes, scores = boxes[usable], scores[usable]
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self.threshold, self.overlap)
        order = np.asarray(kept, dtype=int).reshape(-1)[: self.most]
        return boxes[order], scores[order]
