"""Boxes of people from an ONNX person detector: adapters for what the usual small detectors' exports put out.

| kind | its export | input | output |
|---|---|---|---|
| `yolox` | YOLOX, not decoded | BGR 0 to 255, letterbox at the top left | (1, N, 5 + C): offsets on 3 grids |
| `yolo` | Ultralytics v8 and later, v5 to v7 | RGB 0 to 1, letterbox in the middle | (1, 4 + C, N) or (1, N, 5 + C) |
| `yolo_end` | YOLO exports with NMS inside, v10 and later | as `yolo` | (1, N, 6): corners, score, class |
| `rtmdet` | RTMDet by MMDeploy | BGR, normalised, letterbox at the top left | dets (1, N, 5), labels (1, N) |
| `rtmdet_raw` | RTMDet's heads as they are | as `rtmdet` | 3 (1, C, h, w) of logits, 3 (1, 4, h, w) of pixels |
| `nanodet` | NanoDet-Plus | as `rtmdet` | (1, N, C + 32): chances, then 8 bins a side, on 4 grids |
| `picodet` | PicoDet without post-processing | RGB, normalised, top left | 4 (1, n, C), 4 (1, n, 32) |

The person is class 0 in all of them, as in COCO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from featherpose.errors import PoseError
from featherpose.inference.backends import open_session

PERSON = 0
PAD = 114  # the grey that all of them were trained with
# ImageNet's, RGB, of 0 to 255
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
THREE, FOUR = (8, 16, 32), (8, 16, 32, 64)  # strides of grids
BINS = 8  # in which NanoDet and PicoDet tell a distance, in cells
STEP, LONGEST = 32, 1280  # sides of pictures whose form is kept
AREA_KEY = "featherpose_area"  # in a file's metadata: pixels of the pictures that it was trained on
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


def size_of_area(shape: tuple[int, ...], area: int) -> tuple[int, int]:
    """Height and width of about the picture's form and so many pixels: multiples of 32."""
    zoom = np.sqrt(area / (shape[0] * shape[1]))
    height, width = (
        int(np.clip(round(side * zoom / STEP), 1, LONGEST // STEP)) * STEP for side in shape
    )
    return height, width


def grid_of(size: tuple[int, int], strides: Sequence[int] = THREE) -> tuple[np.ndarray, np.ndarray]:
    """The place (N, 2) in cells and the stride (N, 1) of each row: one for each cell of the grids, finest first."""
    places, of_each = [], []
    for stride in strides:
        y, x = np.mgrid[0 : -(-size[0] // stride), 0 : -(-size[1] // stride)]
        places.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        of_each.append(np.full(x.size, stride))
    return np.concatenate(places), np.concatenate(of_each)[:, None]


def around(points: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Corners (N, 4) from points (N, 2) and how far left, top, right and bottom (N, 4) lie from them."""
    return np.concatenate([points - sides[:, :2], points + sides[:, 2:]], axis=1)


def expected(bins: np.ndarray) -> np.ndarray:
    """Distances (N, 4) in cells: the mean of each side's bins (N, 4 x BINS), by their softmax."""
    logits = bins.reshape(len(bins), 4, BINS)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights * np.arange(BINS)).sum(axis=-1) / weights.sum(axis=-1)


def yolox_boxes(outputs: list[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (N, 4) in input pixels and the person's score (N,)."""
    rows = outputs[0][0].astype(np.float64)
    grid, stride = grid_of(size)
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


def rtmdet_raw_boxes(
    outputs: list[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores come first, then the boxes; both from the finest grid to the coarsest."""
    half = len(outputs) // 2
    logits, sides = (
        np.concatenate([each[0].reshape(each.shape[1], -1).T for each in part]).astype(np.float64)
        for part in (outputs[:half], outputs[half:])
    )
    grid, stride = grid_of(size)
    return around(grid * stride, sides), 1 / (1 + np.exp(-logits[:, PERSON]))


def nanodet_boxes(
    outputs: list[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    rows = outputs[0][0].astype(np.float64)
    grid, stride = grid_of(size, FOUR)
    return around(grid * stride, expected(rows[:, -4 * BINS :]) * stride), rows[:, PERSON]


def picodet_boxes(
    outputs: list[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The order of the outputs is the export's: they are told apart by their widths, and sorted by their lengths."""
    by_length = sorted((each[0].astype(np.float64) for each in outputs), key=len, reverse=True)
    bins = np.concatenate([each for each in by_length if each.shape[1] == 4 * BINS])
    scores = np.concatenate([each for each in by_length if each.shape[1] != 4 * BINS])
    grid, stride = grid_of(size, FOUR)
    return around((grid + 0.5) * stride, expected(bins) * stride), scores[:, PERSON]


Decode = Callable[[list[np.ndarray], tuple[int, int]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Kind:
    """How an export wants its picture, and what its outputs mean."""

    decode: Decode
    rgb: bool = False  # else BGR
    mean: np.ndarray | float = 0.0  # of RGB, in grey levels
    deviation: np.ndarray | float = 1.0
    middle: bool = False  # where the picture lies in its letterbox; else at the top left


KINDS = {
    "yolox": Kind(yolox_boxes),
    "yolo": Kind(yolo_boxes, rgb=True, deviation=255.0, middle=True),
    "yolo_end": Kind(yolo_end_boxes, rgb=True, deviation=255.0, middle=True),
    "rtmdet": Kind(rtmdet_boxes, mean=MEAN, deviation=DEVIATION),
    "rtmdet_raw": Kind(rtmdet_raw_boxes, mean=MEAN, deviation=DEVIATION),
    "nanodet": Kind(nanodet_boxes, mean=MEAN, deviation=DEVIATION),
    "picodet": Kind(picodet_boxes, rgb=True, mean=MEAN, deviation=DEVIATION),
}


def chosen(
    corners: np.ndarray,
    scores: np.ndarray,
    shape: tuple[int, ...],
    threshold: float,
    overlap: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (x, y, width, height) inside a picture (height, width) that are sure enough, each person once."""
    corners = np.clip(corners, 0, np.array([shape[1], shape[0]] * 2))
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    usable = (scores >= threshold) & (boxes[:, 2:] >= 2).all(axis=1)
    boxes, scores = boxes[usable], scores[usable]
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), threshold, overlap)
    order = np.asarray(kept, dtype=int).reshape(-1)[:most]
    return boxes[order], scores[order]


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
        said = self.session.get_modelmeta().custom_metadata_map.get(AREA_KEY)
        self.area = int(said) if said is not None and said.isdigit() else None
        self.kind = kind or self._guess()
        if self.kind not in KINDS:
            raise PoseError(f"There is no detector_kind={self.kind}; known: {', '.join(KINDS)}.")

    def _guess(self) -> str:
        shapes = [output.shape for output in self.session.get_outputs()]
        ranks = {len(shape) for shape in shapes}
        if len(shapes) >= 2 and {2, 3} <= ranks:
            return "rtmdet"
        if len(shapes) == 2 * len(THREE) and ranks == {4}:
            return "rtmdet_raw"
        if len(shapes) == 2 * len(FOUR) and ranks == {3}:
            return "picodet"
        last = shapes[0]
        if len(last) == 3 and isinstance(last[2], int):
            if last[2] == 6 and self.area:  # featherpose's own finder
                return "yolox"
            if last[2] == 6:  # a YOLOX of one class has as many rows as cells, an NMS a few hundred
                return "yolox" if last[1] == len(grid_of(self.size)[0]) else "yolo_end"
            if last[2] > 4 * BINS and last[1] == len(grid_of(self.size, FOUR)[0]):
                return "nanodet"
            if isinstance(last[1], int) and last[1] < last[2]:
                return "yolo"
        raise PoseError(
            f"The output {last} of the detector {self.path} may be of more than one kind: "
            f"say which with detector_kind={'|'.join(KINDS)}."
        )

    def prepare(self, picture: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        size = self.size if self.area is None else size_of_area(picture.shape[:2], self.area)
        kind = KINDS[self.kind]
        canvas, zoom, offset = letterbox(picture, size, kind.middle)
        pixels = (canvas.astype(np.float32) - kind.mean) / kind.deviation
        if not kind.rgb:
            pixels = pixels[..., ::-1]
        inputs = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
        return inputs, zoom, offset

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs, zoom, offset = self.prepare(picture)
        outputs: list[Any] = self.session.run(None, {self.name: inputs})
        try:
            corners, scores = KINDS[self.kind].decode(outputs, inputs.shape[2:])
        except (IndexError, ValueError, StopIteration) as error:
            shapes = [each.shape for each in outputs]
            raise PoseError(
                f"The detector {self.path} gives {shapes}, which is not what {self.kind} gives."
            ) from error
        corners = (corners - np.tile(offset, 2)) / zoom
        return chosen(corners, scores, picture.shape[:2], self.threshold, self.overlap, self.most)
