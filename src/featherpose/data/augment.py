"""What each paper does to its training crops; the only file that imports albumentations.

Scale, rotation, flip and half body are drawn first and end in one matrix, so that each sample is warped once, straight
from the decoded picture. Every draw comes from (run seed, epoch, index): the number of workers changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault(
    "NO_ALBUMENTATIONS_UPDATE", "1"
)  # or its import asks the network for a newer version

import albumentations as A
import numpy as np

from featherpose import crop
from featherpose.errors import PoseError
from featherpose.person import Person, bounds_of
from featherpose.settings import number, numbers, whole
from featherpose.skeletons import Skeleton

HALF_BODY_PADDING = (
    1.5  # HRNet's half-body crop: the joints' extent, grown to the aspect ratio, times 1.5
)
Frame = tuple[np.ndarray, np.ndarray]  # centre and scale


def _share(key: str, value: Any) -> float:
    return number(f"augment.{key}", value, least=0, most=1)


class CropWarp(A.DualTransform):
    """One warp with the drawn scale, rotation and flip; joints follow, and left and right change places."""

    def __init__(
        self,
        scale: Sequence[float] = (1.0, 1.0),
        rotation: float = 0.0,
        rotation_probability: float = 1.0,
        flip: float = 0.0,
        half_body: float = 0.0,
        half_body_joints: int = 8,
    ) -> None:
        super().__init__(p=1.0)
        smallest, largest = numbers("augment.scale", scale, count=2, above=0)
        if smallest > largest:
            raise PoseError(f"augment.scale is {list(scale)}; the smaller number comes first.")
        self.scale = (smallest, largest)
        self.rotation = number("augment.rotation", rotation, least=0, most=180)
        self.rotation_probability = _share("rotation_probability", rotation_probability)
        self.flip = _share("flip", flip)
        self.half_body = _share("half_body", half_body)
        self.half_body_joints = whole("augment.half_body_joints", half_body_joints, least=0)

    @property
    def targets(self) -> dict[str, Any]:
        """`sample` carries the person, the crop's size and the skeleton in, and matrix, joints and visible out."""
        return {"image": self.apply, "sample": self.apply_to_sample}

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        sample = data["sample"]
        person: Person = sample["person"]
        draw = self.py_random
        centre, scale = person.centre, person.scale
        if draw.random() < self.half_body:
            centre, scale = self._half_body(person, sample["skeleton"], sample["size_wh"])
        zoom = draw.uniform(*self.scale)
        rotation = (
            draw.uniform(-self.rotation, self.rotation)
            if draw.random() < self.rotation_probability
            else 0.0
        )
        flip = draw.random() < self.flip
        matrix = crop.crop_matrix(centre, scale * zoom, sample["size_wh"], rotation, flip)
        drawn = {"centre": centre, "scale": scale * zoom, "rotation": rotation, "flip": flip}
        return drawn | {"matrix": matrix, "size_wh": sample["size_wh"], "origin": sample["origin"]}

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return crop.cut(img, params["matrix"], params["size_wh"], params["origin"])

    def apply_to_sample(self, sample: dict[str, Any], **params: Any) -> dict[str, Any]:
        order = sample["flip_order"] if params["flip"] else slice(None)
        person: Person = sample["person"]
        return {
            "matrix": params["matrix"],
            "joints": person.joints[order],
            "visible": person.visible[order],
        }

    def apply_with_params(
        self, params: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        return {key: self.targets[key](value, **params) for key, value in kwargs.items()}

    def _half_body(self, person: Person, skeleton: Skeleton, size_wh: Sequence[int]) -> Frame:
        """The crop around the upper or lower body, where enough joints are annotated (HRNet's rule for COCO)."""
        whole = person.centre, person.scale
        if (person.visible > 0).sum() <= self.half_body_joints or not skeleton.upper:
            return whole
        upper, lower = halves(person, skeleton, size_wh)
        first, other = (upper, lower) if self.py_random.random() < 0.5 else (lower, upper)
        return first or other or whole


def halves(
    person: Person, skeleton: Skeleton, size_wh: Sequence[int]
) -> tuple[Frame | None, Frame | None]:
    """Centre and scale around the upper and the lower body; None where fewer than three joints tell them."""
    frames = half_bodies(person.joints[None], person.visible[None], skeleton, size_wh)
    upper, lower = [
        (centre[0], scale[0]) if np.isfinite(scale).all() else None for centre, scale in frames
    ]
    return upper, lower


def half_bodies(
    joints: np.ndarray, visible: np.ndarray, skeleton: Skeleton, size_wh: Sequence[int]
) -> Iterator[Frame]:
    """Of people (N, K, 2), the centres (N, 2) and scales (N, 2) of the upper, then of the lower half; NaN for none."""
    upper = np.isin(np.arange(len(skeleton)), skeleton.upper)
    for part in (upper, ~upper):
        shown = part & (visible > 0)
        count = shown.sum(axis=1, keepdims=True)
        low, high = bounds_of(joints, shown)
        known = (count > 2) & (high > low).any(axis=1, keepdims=True)
        extent = np.where(known, high - low, np.nan)
        scale = crop.fit_aspect(extent, size_wh) / crop.PIXEL_STD * HALF_BODY_PADDING
        total = np.where(shown[..., None], joints, 0.0).sum(axis=1)
        yield np.where(known, total / np.maximum(count, 1), np.nan), scale


class Augment:
    """The random part of making a training sample; without one, a sample is the plain crop.

    Args:
        scale: range of the crop's random size; above 1 the person gets smaller.
        rotation: degrees to either side, drawn uniformly.
        rotation_probability: how often it turns at all.
        flip: how often the picture is mirrored.
        half_body: how often only the upper or lower body is shown.
        half_body_joints: a person with this many annotated joints or fewer is always shown whole.
        colour: further albumentations transforms on the finished crop that leave the geometry alone.
        last: another augmentation that takes its place
        last_from: from this epoch on.
    """

    def __init__(
        self,
        scale: Sequence[float] = (1.0, 1.0),
        rotation: float = 0.0,
        rotation_probability: float = 1.0,
        flip: float = 0.5,
        half_body: float = 0.0,
        half_body_joints: int = 8,
        colour: Sequence[A.ImageOnlyTransform] = (),
        last: Augment | None = None,
        last_from: int = 0,
    ) -> None:
        self.warp = CropWarp(
            scale, rotation, rotation_probability, flip, half_body, half_body_joints
        )
        self.colour = list(colour)
        self.transform = A.Compose([self.warp, *self.colour])
        self.last = last
        self.last_from = whole("augment.last_from", last_from, least=0)

    def at(self, epoch: int) -> Augment:
        """What augments in this epoch."""
        return self.last if self.last is not None and epoch >= self.last_from else self

    @property
    def reach(self) -> float:
        """How much larger than its frame a crop may be drawn."""
        return max(*self.warp.scale, self.last.reach if self.last is not None else 0.0)

    @property
    def halves(self) -> bool:
        """Whether half bodies may be drawn."""
        last = self.last.warp.half_body if self.last is not None else 0.0
        return max(self.warp.half_body, last) > 0

    def __call__(
        self,
        picture: np.ndarray,
        person: Person,
        skeleton: Skeleton,
        size_wh: Sequence[int],
        seeds: Sequence[int] | np.ndarray,
        origin: Sequence[int] = (0, 0),
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Crop, matrix, joints and visible (of the person, in mirrored order where mirrored), by the given seeds."""
        for transform, seed in zip(self.transform.transforms, seeds, strict=False):
            transform.set_random_seed(int(seed))
        sample = {
            "person": person,
            "skeleton": skeleton,
            "flip_order": list(skeleton.flip_order),
            "size_wh": size_wh,
            "origin": origin,
        }
        done = self.warp(image=picture, sample=sample)
        image = done["image"]
        for transform in self.colour:
            image = transform(image=image)["image"]
        return image, done["sample"]["matrix"], done["sample"]["joints"], done["sample"]["visible"]
