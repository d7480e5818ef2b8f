"""Several sets as one, in one skeleton: joints that a set does not annotate are left to the loss's mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from featherpose.errors import PoseError
from featherpose.person import People, Persons
from featherpose.skeletons import Skeleton, skeleton_of

ALIASES = {"neck": "upper_neck", "upper_neck": "neck"}  # LSP's and MPII's names of one joint


def read(
    root: Any,
    split: str,
    sets: Mapping[str, Mapping[str, Any]],
    skeleton: str | Mapping = "lsp",
    validate: str | None = None,
) -> People:
    """The people of all `sets` ({name: {read, root, skeleton}}) to train, those of the set `validate` to validate."""
    del root  # each set has its own
    target = skeleton_of(skeleton)
    chosen = dict(sets)
    if split != "train" and validate is not None:
        if validate not in sets:
            raise PoseError(f"data.read.validate is {validate!r}; the sets are {', '.join(sets)}.")
        chosen = {validate: sets[validate]}
    parts: list[Persons] = []
    skipped: Counter[str] = Counter()
    sources: dict[str, str] = {}
    pictures = 0  # ids of pictures and persons stay unique
    for name, part in chosen.items():
        found = part["read"](root=part["root"], split=split)
        order = translation(skeleton_of(part["skeleton"]), target)
        parts.append(
            replace(reorder(found.persons, order), image_id=found.persons.image_id + pictures)
        )
        pictures += int(found.persons.image_id.max(initial=0)) + 1
        skipped.update({f"{name}: {why}": count for why, count in found.skipped.items()})
        sources |= found.sources
    persons = Persons.joined(parts)
    persons = replace(persons, person_id=np.arange(len(persons)))
    return People(persons, dict(skipped), sources)


def translation(own: Skeleton, target: Skeleton) -> np.ndarray:
    """For each joint of `target` its place in `own`, -1 where `own` lacks it."""
    place = {joint: i for i, joint in enumerate(own.joints)}
    return np.array(
        [place.get(joint, place.get(ALIASES.get(joint, ""), -1)) for joint in target.joints]
    )


def reorder(persons: Persons, order: np.ndarray) -> Persons:
    """The same people with the joints that `translation` says."""
    if not len(persons):
        return replace(
            persons,
            joints=np.zeros((0, len(order), 2)),
            visible=np.zeros((0, len(order)), np.uint8),
        )
    known = order >= 0
    joints = np.where(known[:, None], persons.joints[:, order], 0.0)
    visible = np.where(known, persons.visible[:, order], 0).astype(np.uint8)
    return replace(persons, joints=joints, visible=visible)
