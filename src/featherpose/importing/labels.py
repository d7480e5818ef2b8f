"""What every tool's labels become: pictures, people and the joints' names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from featherpose.errors import PoseError
from featherpose.skeletons import COCO

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}


@dataclass
class Picture:
    """One picture: its file, or None where it is still to be found or to be taken out of a video."""

    name: str  # as the labels call it, with forward slashes
    path: Path | None = None
    size: tuple[int, int] | None = (
        None  # width, height that the labels were drawn on; None: as viewers show it
    )
    pixels: Callable[[], np.ndarray] | None = None  # (H, W, 3) of a video's frame
    split: str | None = None  # train, val or test, where the tool says so
    group: str | None = None  # the video, or the person who is seen
    turned: bool = (
        False  # whether it was written upright, since its EXIF turns it and its size does not tell
    )


@dataclass
class Labelled:
    """One person in one picture."""

    picture: int  # its place among the pictures
    joints: np.ndarray  # (K, 2)
    visible: np.ndarray  # (K,) as COCO's: 0 not labelled, 1 hidden, 2 seen
    box: np.ndarray | None = None  # x, y, width, height
    area: float | None = None
    sure: np.ndarray | None = None  # (K,) confidence, of a pose that a network found


@dataclass
class Labels:
    """All that was read from one source."""

    tool: str
    joints: list[str]
    pictures: list[Picture]
    people: list[Labelled]
    limbs: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(
        default_factory=list
    )  # where the tool says them, not the names
    notes: list[str] = field(default_factory=list)


def named(labels: Labels, names: list[str] | None) -> Labels:
    """With the joints' names as this program spells them: left_ and right_ in front.

    `names` overrides the tool's; where neither gives any, 17 joints are COCO's and others are numbered.
    """
    count = len(labels.joints)
    if names is not None and len(names) != count:
        raise PoseError(f"--joints names {len(names)} joints, the labels have {count}.")
    given = names or labels.joints
    spelled = [spell(name) for name in given]
    if not any(map(str.isalpha, "".join(spelled))) and names is None:  # numbers alone
        said = "" if all(spelled) else f" with a letter ({', '.join(given)})"
        if count == len(COCO):
            spelled = list(COCO.joints)
            labels.notes.append(
                f"17 joints that have no names{said} were taken for COCO's; --joints names others."
            )
        else:
            spelled = _numbered(count, labels.pairs)
            labels.notes.append(f"The joints have no names{said}; --joints a,b,c gives them some.")
    for place, name in enumerate(spelled):
        if not name:
            spelled[place] = f"joint_{place + 1}"
            labels.notes.append(
                f"The name {given[place]!r} has no letter: the joint is called {spelled[place]}."
            )
    by_name = {frozenset(map(spelled.index, pair)) for pair in pairs_of(spelled)}
    for a, b in labels.pairs:
        if frozenset((a, b)) not in by_name:
            bare = re.sub("^(left|right)_", "", spelled[a])
            labels.notes.append(
                f"{spelled[a]} and {spelled[b]} are a pair, says the tool: now left_{bare} and right_{bare}."
            )
            spelled[a], spelled[b] = f"left_{bare}", f"right_{bare}"
    twice = sorted({name for name in spelled if spelled.count(name) > 1})
    if twice:
        raise PoseError(
            f"Several joints are called {', '.join(twice)}; give them names with --joints a,b,c."
        )
    unpaired = alone(spelled)
    if not unpaired and not pairs_of(spelled):
        labels.notes.append(
            "No joint is a left or a right one: a mirrored picture shows those that are on the wrong side, so name "
            "them with --joints left_a,right_a,... or train with augment.flip=0."
        )
    for name in unpaired:
        side, _, bare = name.partition("_")
        spelled[spelled.index(name)] = f"{bare}_{side}"
        labels.notes.append(
            f"{name} has no other side: it is called {bare}_{side}, and a mirrored picture shows it on the wrong "
            "side, so train with augment.flip=0."
        )
    labels.joints = spelled
    if not labels.limbs and tuple(spelled) == COCO.joints:
        labels.limbs = list(COCO.limbs)
    return labels


def _numbered(count: int, pairs: list[tuple[int, int]]) -> list[str]:
    names = [f"joint_{i + 1}" for i in range(count)]
    for a, b in pairs:
        names[a], names[b] = f"left_joint_{a + 1}", f"right_joint_{a + 1}"
    return names


def spell(name: str) -> str:
    """`LWrist`, `wrist_l`, `Left Wrist`, `wrist.left` -> left_wrist; whatever has no side stays, in lower case."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[LR])(?=[A-Z][a-z])", "_", str(name).strip())
    words = "".join(c if _in_word(c) else " " for c in apart.lower()).split()
    for place in (0, -1):
        if len(words) > 1 and words[place] in _SIDES:
            side = _SIDES[words.pop(place)]
            return "_".join([side, *words])
    return "_".join(words)


def _in_word(letter: str) -> bool:
    r"""Letters of any script, and their marks, as Hindi's vowels, which \w does not take for part of a word."""
    return letter.isalnum() or unicodedata.category(letter).startswith("M")


def pairs_of(joints: list[str]) -> list[tuple[str, str]]:
    """Which joints a mirrored picture exchanges."""
    there = set(joints)
    lefts = [name for name in joints if name.startswith("left_")]
    return [(name, f"right_{name[5:]}") for name in lefts if f"right_{name[5:]}" in there]


def alone(joints: list[str]) -> list[str]:
    """Joints with a side whose other side is missing."""
    paired = {name for pair in pairs_of(joints) for name in pair}
    return [n for n in joints if n.startswith(("left_", "right_")) and n not in paired]


def split_of(*words: str) -> str | None:
    """The split that a file's or folder's name speaks of; the last word that speaks of one wins."""
    found = None
    for word in words:
        for part in re.split(r"[^a-z]+", word.lower()):
            if part in ("train", "training"):
                found = "train"
            elif part in ("val", "valid", "validation"):
                found = "val"
            elif part in ("test", "testing"):
                found = "test"
    return found
