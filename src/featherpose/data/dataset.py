"""People as samples for the trainer: one decode, one warp, uint8 all the way."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from featherpose import crop
from featherpose.data.augment import Augment
from featherpose.errors import PoseError
from featherpose.machine import keep_freed_memory
from featherpose.person import People, Person
from featherpose.skeletons import Skeleton

Load = Callable[[Person], np.ndarray]

if hasattr(os, "register_at_fork"):
    # A forked worker must not tidy up what its parent dropped: the end of a session of ONNX Runtime or OpenVINO waits
    # for threads that exist in the parent alone, for ever.
    os.register_at_fork(after_in_child=gc.freeze)


class CropDataset(Dataset):
    """One crop per person.

    A key is an index, or (epoch, index) as `PersonSampler` gives it: since the epoch travels with the key, a
    persistent worker that fetches ahead can never draw with the wrong one.
    """

    def __init__(
        self,
        people: People,
        load: Load,
        skeleton: Skeleton,
        input_size: tuple[int, int],
        augment: Augment | None = None,
        seed: int = 0,
        cache: Any = None,
        rotation: float = 0.0,
    ) -> None:
        self.people = people
        self.load = load
        self.skeleton = skeleton
        self.size_wh = (int(input_size[1]), int(input_size[0]))
        self.augment = augment
        self.seed = int(seed)
        self.cache = cache
        self.rotation = rotation  # of the pictures, in degrees; for crops that are not augmented

    def __len__(self) -> int:
        return len(self.people.persons)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = index if isinstance(index, tuple) else (0, int(index))
        person = self.people.persons[index]
        picture, origin = self.picture(index)
        if self.augment is None:
            scale = crop.turned(person.scale, self.rotation) if self.rotation else person.scale
            matrix = crop.crop_matrix(person.centre, scale, self.size_wh, self.rotation)
            image = crop.cut(picture, matrix, self.size_wh, origin)
            joints = person.joints
            annotated = person.visible
        else:
            augment = self.augment.at(epoch)
            seeds = np.random.SeedSequence([self.seed, epoch, index]).generate_state(
                1 + len(augment.colour)
            )
            image, matrix, joints, annotated = augment(
                picture, person, self.skeleton, self.size_wh, seeds, origin
            )
        known = annotated > 0
        points = np.where(
            known[:, None], crop.apply(matrix, np.where(known[:, None], joints, 0.0)), 0.0
        )
        return {
            "image": torch.from_numpy(crop.split_channels(image)),
            "joints": torch.from_numpy(points.astype(np.float32)),
            "visible": torch.from_numpy(known.astype(np.float32)),
            "matrix": torch.from_numpy(matrix),
            "index": index,
        }

    def picture(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The decoded picture, or the part of it that the cache keeps, and where that part lies."""
        if self.cache is not None:
            return self.cache[index]
        person = self.people.persons[index]
        try:
            return self.load(person), (0, 0)
        except PoseError:
            raise
        except Exception as error:
            raise PoseError(
                f"{person.image}, person {person.person_id}, can't be read: {error}."
            ) from error


def calm_worker(_: int) -> None:
    """A worker has one core, so no threads of its own; and it keeps freed memory, a quarter of the time of decoding.

    It is here, beside the dataset, so that a worker that starts afresh imports no more than that.
    """
    cv2.setNumThreads(0)
    keep_freed_memory()
