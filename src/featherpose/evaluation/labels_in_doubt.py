"""Labels that a trained network disagrees with most: the first place to look for wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featherpose import image
from featherpose.data.datamodule import PoseDataModule
from featherpose.draw import contact_sheet
from featherpose.evaluation import by_network
from featherpose.evaluation.error_plots import pair
from featherpose.files import replacing
from featherpose.inference.by_name import for_joints
from featherpose.inference.doubt import box_similarity
from featherpose.inference.estimator import Estimator
from featherpose.inference.pose import open_backend
from featherpose.person import People, Person, Persons
from featherpose.skeletons import Skeleton

COLUMNS = 3
LEAST = 0.1  # weight of a disagreement that is worth a look
NEAR = 0.5  # keypoint similarity: a label this near to the network's joint is that joint


@dataclass(frozen=True)
class InDoubt:
    """One label of one person, and what the network says in its place."""

    person: int  # its place among the people
    joint: int
    pixels: float  # between the label and what the network found
    sure: float  # how sure the network is
    weight: (
        float  # sureness times 1 minus the similarity of the two: 0 agrees, 1 cannot be the same
    )
    instead: int | None  # the joint whose label lies where the network found this one


def predicted(network: str, data: PoseDataModule, people: People) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, K, 2) in the picture and confidences (N, K) of labelled people in their own boxes."""
    estimator = Estimator(for_joints(open_backend(network), data.skeleton))
    asked = copy(data)
    height, width = estimator.description.input_size
    asked.input_size = (height, width)
    asked.validate_on(people)
    found = by_network.predict(estimator, asked.val_loader())
    return found.keypoints[-1], found.confidence[-1]


def most_in_doubt(
    keypoints: np.ndarray, confidence: np.ndarray, persons: Persons, skeleton: Skeleton, most: int
) -> list[InDoubt]:
    """The worst label of each of the `most` people with the worst ones."""
    similar = box_similarity(keypoints, persons.joints, persons.box)
    labelled = persons.visible > 0
    weight = np.where(labelled, np.clip(confidence, 0, 1) * (1 - similar), 0.0)
    worst = weight.argmax(axis=1)
    found = []
    for row in np.argsort(-weight.max(axis=1), kind="stable")[:most].tolist():
        joint = int(worst[row])
        if weight[row, joint] < LEAST:
            break
        others = box_similarity(keypoints[row, joint], persons.joints[row], persons.box[row])
        there = np.where(labelled[row], others, 0.0)
        there[joint] = 0
        other = int(there.argmax())
        apart = float(np.linalg.norm(keypoints[row, joint] - persons.joints[row, joint]))
        instead = other if there[other] >= NEAR else None
        sure = float(confidence[row, joint])
        found.append(InDoubt(row, joint, apart, sure, float(weight[row, joint]), instead))
    return found


def in_words(doubt: InDoubt, persons: Persons, skeleton: Skeleton) -> str:
    person, joint = persons[doubt.person], skeleton.joints[doubt.joint]
    said = (
        f"{Path(person.image).name}, person {person.person_id}: {joint} lies {doubt.pixels:.0f} px from where "
        f"the network ({doubt.sure:.2f} sure) sees it"
    )
    return (
        f"{said}, at the label of {skeleton.joints[doubt.instead]}"
        if doubt.instead is not None
        else said
    )


def write_sheet(
    path: Path,
    found: list[InDoubt],
    keypoints: np.ndarray,
    persons: Persons,
    load: Callable[[Person], np.ndarray],
    skeleton: Skeleton,
) -> None:
    """Each person twice: as labelled, and as the network sees it."""
    tiles = [
        pair(load(persons[each.person]), persons[each.person], keypoints[each.person], skeleton)
        for each in found
    ]
    names = [
        f"{Path(persons[each.person].image).name}: {skeleton.joints[each.joint]}, {each.pixels:.0f} px"
        for each in found
    ]
    with replacing(path) as beside:
        image.write(beside, contact_sheet(tiles, COLUMNS, names))
