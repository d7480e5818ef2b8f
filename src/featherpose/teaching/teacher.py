"""What a teacher says of regions, plain and mirrored: PP-TinyPose 256x192, or any network of its kind.

An OpenVINO file (.xml with its .bin) that takes (1, 3, 256, 192), RGB with ImageNet's mean and deviation, and gives
heatmaps of COCO's 17 joints at a quarter of that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from featherpose.crop import apply, centre_and_scale, crop_matrix, cut, invert
from featherpose.data.packs import decode as decode_picture
from featherpose.errors import PoseError
from featherpose.heatmaps import decode
from featherpose.inference.backends import openvino_core
from featherpose.pixels import normalise
from featherpose.skeletons import COCO
from featherpose.teaching.regions import CROP

AT_ONCE = 4  # people in a pass, two views each: 31 ms a view on one core, 35 one by one
STRIDE = 4


@dataclass(frozen=True)
class Views:
    """Both views of each person, the mirrored one turned back; points in the region's pixels."""

    points: np.ndarray  # (N, 2, 17, 2)
    confidence: np.ndarray  # (N, 2, 17): the heatmaps' peaks


class Teacher:
    def __init__(self, path: str | Path, threads: int = 1) -> None:
        core = openvino_core()
        if not Path(path).is_file():
            raise PoseError(f"There is no teacher {path}.")
        model = core.read_model(str(path))
        model.reshape([2 * AT_ONCE, 3, CROP[1], CROP[0]])
        # the CPU's own default may be bfloat16: 2% of a heatmap
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        self.model = core.compile_model(model, "CPU", options)

    def __call__(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Points (B, 17, 2) in crop pixels and peaks (B, 17) of up to 2 * AT_ONCE crops (256, 192, 3), RGB."""
        batch = np.zeros((2 * AT_ONCE, CROP[1], CROP[0], 3), np.uint8)
        batch[: len(crops)] = crops
        images = normalise(torch.from_numpy(batch).permute(0, 3, 1, 2)).contiguous()
        heatmaps = torch.from_numpy(np.array(self.model(images.numpy())[0]))  # (B, 17, 64, 48)
        points, peaks = decode(heatmaps[: len(crops)], "quarter")
        return points.numpy().astype(float) * STRIDE, peaks.numpy()


def teach(
    teacher: Teacher,
    regions: Sequence[bytes | np.ndarray],
    boxes: np.ndarray,
    zoom: np.ndarray,
    shift: np.ndarray,
) -> Views:
    """Both views of all people; boxes are the pictures', zoom and shift their regions'."""
    points = np.zeros((len(regions), 2, len(COCO), 2))
    confidence = np.zeros((len(regions), 2, len(COCO)))
    back = list(COCO.flip_order)
    for start in range(0, len(regions), AT_ONCE):
        rows = range(start, min(start + AT_ONCE, len(regions)))
        crops, matrices = [], []
        for row in rows:
            picture = decode_picture(regions[row], f"region {row}")
            centre, scale = centre_and_scale(boxes[row])
            for flip in (False, True):
                matrix = crop_matrix(
                    centre * zoom[row] + shift[row], scale * zoom[row], CROP, flip=flip
                )
                crops.append(cut(picture, matrix, CROP))
                matrices.append(invert(matrix))
        found, peaks = teacher(crops)
        for i, row in enumerate(rows):
            points[row, 0], confidence[row, 0] = apply(matrices[2 * i], found[2 * i]), peaks[2 * i]
            mirrored = apply(matrices[2 * i + 1], found[2 * i + 1])
            points[row, 1], confidence[row, 1] = mirrored[back], peaks[2 * i + 1][back]
    return Views(points, confidence)
