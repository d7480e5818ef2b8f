"""What is kept: of the teacher's joints, of people, of pictures that look like others. Rules, no hand-picking."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from featherpose.skeletons import COCO
from featherpose.teaching.teacher import Views

NOBODY, HUMAN, TEACHER = 0, 1, 2  # Columns.origin
AREA = 0.53  # of a box, for people without a segment: COCO's median


@dataclass(frozen=True)
class Rules:
    """The sieve's settings, with what was measured of them on labelled people in docs/data.md."""

    joint_confidence: float = 0.4  # of both views, for a joint to be believed
    joint_similarity: float = 0.8  # keypoint similarity of both views, likewise
    seen_confidence: float = 0.3  # joints that count for a person's agreement
    person_similarity: float = 0.85  # mean over those joints: below it the person is left out
    least_joints: int = 8  # believed ones, for a person without human labels
    mixed_joints: int = 6  # believed limb joints to judge a person's left and right by
    mixed_as_labelled: float = 0.3  # similarity with the labels at most, and
    mixed_swapped: float = 0.6  # with left and right changed at least: the label is left out
    near: int = 6  # of 64 bits in which near-duplicate pictures differ at most
    near_video: int = 3  # the same among unlabelled pictures, where frames of a film repeat


@dataclass(frozen=True)
class Opinion:
    """What two views of the teacher come to."""

    joints: np.ndarray  # (N, 17, 2) their mean
    confidence: np.ndarray  # (N, 17) the lower of the two
    believed: np.ndarray  # (N, 17) bool
    agreement: np.ndarray  # (N,) mean similarity of the joints that the teacher sees


def opinion(views: Views, area: np.ndarray, size: np.ndarray, rules: Rules) -> Opinion:
    """`area` (N,) of each person in its region's square pixels, `size` (N, 2) of the region.

    What the teacher guesses outside the picture is not believed: COCO's people label nothing there.
    """
    similar = similarity(views.points[:, 0], views.points[:, 1], area)
    confidence = views.confidence.min(axis=1)
    seen = confidence >= rules.seen_confidence
    agreement = (similar * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    believed = (confidence >= rules.joint_confidence) & (similar >= rules.joint_similarity)
    joints = views.points.mean(axis=1)
    believed &= np.all((joints >= -0.5) & (joints < size[:, None] - 0.5), axis=-1)
    return Opinion(joints, confidence, believed, agreement)


def mixed_up(
    joints: np.ndarray, visible: np.ndarray, found: Opinion, area: np.ndarray, rules: Rules
) -> np.ndarray:
    """(N,) whose labels agree with the teacher only once left and right are changed; joints in the region's pixels."""
    back = list(COCO.flip_order)
    limbs = slice(COCO.index("left_shoulder"), None)
    judged = (found.believed & (visible > 0) & (visible[:, back] > 0))[:, limbs]

    def mean(labels: np.ndarray) -> np.ndarray:
        similar = similarity(found.joints, labels, area)[:, limbs]
        return (similar * judged).sum(axis=1) / np.maximum(judged.sum(axis=1), 1)

    enough = judged.sum(axis=1) >= rules.mixed_joints
    as_labelled = mean(joints) <= rules.mixed_as_labelled
    return enough & as_labelled & (mean(joints[:, back]) >= rules.mixed_swapped)


def similarity(one: np.ndarray, other: np.ndarray, area: np.ndarray) -> np.ndarray:
    """COCO's keypoint similarity (N, 17): 1 for the same place, 0.6 for two sigmas apart."""
    variance = (2 * np.array(COCO.sigmas)) ** 2
    squared = ((one - other) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * np.maximum(area, 1.0)[:, None] * variance))


def fill(
    joints: np.ndarray, visible: np.ndarray, found: Opinion, fillable: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Human joints with the teacher's where a human has none: joints, visible and origin.

    `fillable` (N,) says whose gaps may be filled. COCO's are not: there a joint without a label is one that cannot be
    seen; in LSPET and MPII the face was never asked for.
    """
    human = visible > 0
    taught = ~human & found.believed & fillable[:, None]
    origin = np.where(human, HUMAN, np.where(taught, TEACHER, NOBODY)).astype(np.uint8)
    placed = np.where(taught[..., None], found.joints, np.where(human[..., None], joints, 0.0))
    return placed, np.where(taught, 2, visible).astype(np.uint8), origin


def move_hips(joints: np.ndarray, visible: np.ndarray, up: float, out: float) -> np.ndarray:
    """LSP's hips brought to COCO's place: down by `up` and in by `out` torso lengths.

    A torso's length is from the middle of the shoulders to the middle of the hips. Only where all four are annotated.
    """
    hips = [COCO.index("left_hip"), COCO.index("right_hip")]
    shoulders = [COCO.index("left_shoulder"), COCO.index("right_shoulder")]
    whole = np.all(visible[:, hips + shoulders] > 0, axis=1)
    middle = joints[:, hips].mean(axis=1, keepdims=True)  # (N, 1, 2)
    torso = joints[:, shoulders].mean(axis=1, keepdims=True) - middle
    length = np.linalg.norm(torso, axis=-1, keepdims=True)  # (N, 1, 1)
    upwards = torso / np.maximum(length, 1e-6)
    across = joints[:, hips] - middle  # (N, 2, 2)
    distance = np.linalg.norm(across, axis=-1, keepdims=True)
    inwards = -across / np.maximum(distance, 1e-6)
    step = np.minimum(
        out * length, distance
    )  # seen from the side the hips meet, they do not change places
    moved = joints[:, hips] - upwards * up * length + inwards * step
    result = joints.copy()
    result[:, hips] = np.where(whole[:, None, None], moved, joints[:, hips])
    return result


def picture_hash(path: str) -> int:
    """64 bits: whether each of 9 x 8 grey spots is lighter than its right neighbour. A squeezed copy has the same."""
    grey = cv2.imread(path, cv2.IMREAD_REDUCED_GRAYSCALE_2)
    if grey is None:
        return 0
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def near_any(hashes: np.ndarray, others: np.ndarray, most: int) -> np.ndarray:
    """(N,) which of the hashes differ from some of the others in at most `most` bits."""
    return np.array([_bits(one ^ others).min(initial=64) <= most for one in hashes], bool)


def repeated(pictures: np.ndarray, hashes: np.ndarray, known: np.ndarray, most: int) -> np.ndarray:
    """(N,) whose picture comes too near to a known one, or to another one of the same source before it."""
    names, first = np.unique(pictures, return_index=True)
    seen = np.concatenate([known, np.zeros(len(names), np.uint64)])  # filled as pictures are kept
    count = len(known)
    out: list[str] = []
    for name, code in zip(names.tolist(), hashes[first], strict=True):
        if _bits(seen[:count] ^ code).min(initial=64) <= most:
            out.append(name)
        else:
            seen[count] = code
            count += 1
    return np.isin(pictures, out)


def _bits(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 are set."""
    return np.bitwise_count(numbers.astype(np.uint64)).astype(int)


def choose(pictures: np.ndarray, wanted: int) -> set[str]:
    """So many pictures for the dev split: the first in the order of their names' hashes, the same on every machine."""
    names = sorted(
        set(pictures.tolist()), key=lambda name: hashlib.sha256(name.encode()).hexdigest()
    )
    return set(names[:wanted])
