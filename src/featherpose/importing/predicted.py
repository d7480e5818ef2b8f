"""Predicted poses as labels that a person corrects, in the forms that labelling tools read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError, UsageError
from featherpose.importing import folder, tracked, yolo
from featherpose.importing.labels import Labelled, Labels, Picture
from featherpose.settings import choice
from featherpose.skeletons import Skeleton

KINDS = {"coco": folder.write, "yolo": yolo.write, "sleap": tracked.write}
SPLIT = "predicted"


class Predicted:
    """Gathers pictures, those without people too, and writes them in each kind.

    Args:
        skeleton: the joints' names, and the limbs that tools draw.
        kinds: of KINDS.
        least: joints below this confidence are left for the person to set.
    """

    def __init__(self, skeleton: Skeleton, kinds: Iterable[str], least: float) -> None:
        self.kinds = [choice("labels", kind, tuple(KINDS)) for kind in kinds]
        if "sleap" in self.kinds:
            tracked.sleap_io("labels=sleap is written by")
        self.least = least
        joints, limbs = list(skeleton.joints), list(skeleton.limbs)
        self.labels = Labels("featherpose", joints, [], [], limbs, list(skeleton.pairs))

    def add(
        self, path: str, size: tuple[int, int], people: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """A picture's file, its width and height, and everybody's keypoints (K, 2) and confidence (K,)."""
        place = len(self.labels.pictures)
        self.labels.pictures.append(Picture(path, Path(path), size))
        for keypoints, confidence in people:
            sure = confidence >= self.least
            if sure.any():
                joints = np.clip(keypoints, 0, np.array(size) - 1.0)
                flags = np.where(sure, 2, 0)
                self.labels.people.append(Labelled(place, joints, flags, sure=confidence))

    def write(self, out: Path) -> list[Path]:
        """A folder of each kind, with the pictures beside the labels (linked where the disk allows it)."""
        pictures = self.labels.pictures
        if not pictures:
            raise PoseError("There is no picture to write labels of.")
        for picture in pictures:
            picture.name = Path(picture.name).name
        folder.names_apart(pictures)
        folders = self.folders(out)
        for kind, target in zip(self.kinds, folders, strict=True):
            KINDS[kind](self.labels, [SPLIT] * len(pictures), target)
        return folders

    def folders(self, out: Path) -> list[Path]:
        return [out / f"labels_{kind}" for kind in self.kinds]

    def refuse_corrected(self, out: Path, setting: str) -> None:
        """Before anything is looked for; `setting` is how another folder is chosen."""
        for each in self.folders(out):
            if each.exists():
                raise UsageError(
                    f"{each} is there already, perhaps with labels that somebody has corrected: choose another folder "
                    f"with {setting}, or move it away first."
                )
