"""What is wrong with a dataset on disk: read, decode and measure everything, then say it in one report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from featherpose.data.datamodule import PoseDataModule
from featherpose.data.doctor.targets import in_crops, never, why_nothing
from featherpose.data.readers import mpii
from featherpose.data.readers.plausible import sides_cosine, torso_share
from featherpose.errors import PoseError
from featherpose.machine import cores
from featherpose.person import People, Person
from featherpose.skeletons import Skeleton

# Persons that a reader gives for the whole official sets (COCO's as HRNet's code counts them with ground-truth boxes)
PUBLISHED = {("mpii", split): persons for split, (persons, _) in mpii.PUBLISHED.items()} | {
    ("coco", "train"): 149813,
    ("coco", "val"): 6352,
    ("lsp", "train"): 1000,
    ("lsp", "val"): 1000,
}
NEAR = 3  # of 64 bits of the gradient hash in which near-duplicate pictures differ at most
FAR_OUT = 0.02  # of the picture's longer side: how far outside a joint may lie; annotators click on the border
OUT_OF_CROP = 0.01  # of the annotated joints: more than slips of single clicks
OPPOSITE = -0.5  # cosine between shoulders and hips
CLEAR = 16  # bits that a hash must have set: flat and dark pictures all look alike
MANY = 30_000  # pictures; above it only equal hashes are looked for
EXAMPLES = 5


@dataclass
class Finding:
    level: str  # error, warning or note
    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Examined:
    """One split: its people, its pictures and what was found."""

    split: str
    people: People = field(default_factory=lambda: People([]))
    findings: list[Finding] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)
    suspects: dict[str, list[int]] = field(default_factory=dict)  # why -> indices into the persons

    def say(self, level: str, what: str, examples: Sequence[str] = ()) -> None:
        if examples or level == "note":
            self.findings.append(Finding(level, what, len(examples), list(examples[:EXAMPLES])))

    def suspect(self, level: str, what: str, indices: Iterable[int]) -> None:
        found = [int(i) for i in indices]
        if found:
            self.suspects[what] = found
            self.say(level, what, [_name(self.people.persons[i]) for i in found])


def examine(
    data: PoseDataModule, quick: bool = False, splits: Sequence[str] = ("train", "val")
) -> list[Examined]:
    """All checks on all splits; `quick` reads no pixels."""
    results = [_examine_split(data, split, quick) for split in splits]
    _across(results)
    return results


def healthy(results: Iterable[Examined]) -> bool:
    return not any(finding.level == "error" for result in results for finding in result.findings)


def _examine_split(data: PoseDataModule, split: str, quick: bool) -> Examined:
    result = Examined(split)
    try:
        result.people = read_all(data, split)
    except PoseError as error:
        result.say("error", "the annotations can't be read", [str(error)])
        return result
    persons = result.people.persons
    for why, count in result.people.skipped.items():
        result.findings.append(Finding("note", f"left out by the reader: {why}", count))
    if not persons:
        result.say("error", "nobody to use", [f"the split {split} is empty"])
        return result
    expected = PUBLISHED.get((data.name, split))
    if expected is not None and len(persons) != expected:
        result.say(
            "warning",
            "another number of people than published",
            [f"{len(persons)} instead of {expected}"],
        )
    _check_pictures(result, data, quick)
    check_annotations(result, data.skeleton)
    height, width = data.input_size
    check_targets(result, data.skeleton, (width, height))
    if split == "val":
        _check_measure(result, data)
    return result


def _check_measure(result: Examined, data: PoseDataModule) -> None:
    """The metric is made as training makes it, so that what it misses is known before the first epoch is over."""
    try:
        metric = data.metric(result.people.persons)
    except PoseError as error:
        result.say("error", "nobody can be scored", [str(error)])
        return
    result.say("note", f"scored by {metric.main}")


def read_all(data: PoseDataModule, split: str) -> People:
    """The people, with those whose picture is missing; the doctor counts them itself."""
    read: Any = data.read
    if "pictures" in signature(read).parameters:
        read = partial(read, pictures="ignore")
    return read(root=data.root, split=split)


def _check_pictures(result: Examined, data: PoseDataModule, quick: bool) -> None:
    by_picture: dict[str, int] = {}  # to the first person in it
    for row, image in enumerate(result.people.persons.images()):
        by_picture.setdefault(image, row)
    on_disk = any(os.path.dirname(image) for image in by_picture)
    missing = [image for image in by_picture if on_disk and not os.path.isfile(image)]
    result.say("error", "pictures missing", missing)
    if quick:
        return
    gone = set(missing)
    there = result.people.persons[[row for image, row in by_picture.items() if image not in gone]]
    broken = []
    with ThreadPoolExecutor(min(8, cores())) as pool:
        answers = pool.map(partial(_look, data.load), there, chunksize=8)
        for person, answer in zip(
            there, track(answers, f"pictures of {result.split}", len(there)), strict=True
        ):
            if isinstance(answer, str):
                broken.append(answer)
            else:
                result.sizes[person.image], result.hashes[person.image] = answer
    result.say("error", "pictures unreadable", broken)
    black = [image for image, value in result.hashes.items() if value == 0]
    result.say("warning", "pictures of one colour", black)


def _look(
    load: Callable[[Person], np.ndarray], person: Person
) -> tuple[tuple[int, int], int] | str:
    """Size and gradient hash of the picture, or the sentence of what is wrong."""
    try:
        picture = load(person)
    except PoseError as error:
        return str(error)
    except Exception as error:  # whatever a picture library raises: the doctor goes on
        return f"{person.image}: {error}"
    small = cv2.resize(
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA
    ).astype(int)
    bits = np.packbits(
        (small[:, 1:] > small[:, :-1] + 1).ravel()
    )  # + 1: noise in flat places gives no bits
    return (picture.shape[1], picture.shape[0]), int.from_bytes(bits.tobytes(), "big")


def check_annotations(result: Examined, skeleton: Skeleton) -> None:
    """What can be said without pictures, or with the sizes of those that were looked at."""
    _check_ids(result)
    _check_people(result, skeleton)


def _check_ids(result: Examined) -> None:
    persons = result.people.persons
    ids = Counter(persons.person_id.tolist())
    result.say(
        "error", "person ids that occur twice", [f"id {i}" for i, count in ids.items() if count > 1]
    )
    seen: dict[tuple, int] = {}
    twice = []
    rounded, annotated = np.round(persons.joints).astype(int), persons.visible > 0
    for index, picture in enumerate(persons.picture.tolist()):
        key = (picture, rounded[index][annotated[index]].tobytes())
        if key in seen:
            twice.append(index)
        seen[key] = index
    result.suspect("warning", "people annotated twice", twice)


def _check_people(result: Examined, skeleton: Skeleton) -> None:
    persons = result.people.persons
    joints, visible = persons.joints, persons.visible > 0
    where = np.where(visible[..., None], joints, np.nan)
    low, high = np.full((len(persons), 2), np.inf), np.full((len(persons), 2), -np.inf)
    np.minimum.reduce(where, axis=1, out=low, where=visible[..., None], initial=np.inf)
    np.maximum.reduce(where, axis=1, out=high, where=visible[..., None], initial=-np.inf)
    extent = np.maximum((high - low).max(axis=1), 1e-9)
    result.suspect(
        "warning", "people without any annotated joint", np.flatnonzero(~visible.any(axis=1))
    )
    result.suspect(
        "warning",
        "all joints in one place",
        np.flatnonzero((visible.sum(axis=1) > 1) & (extent < 2)),
    )
    seen = [result.sizes.get(image, (np.nan, np.nan)) for image in persons.pictures]
    sizes = np.where(
        persons.picture_size > 0, persons.picture_size, np.array(seen, float)[persons.picture]
    )
    margin = FAR_OUT * sizes.max(axis=1)
    outside = (low < -margin[:, None]).any(axis=1) | (high > sizes + margin[:, None]).any(axis=1)
    result.suspect(
        "warning", "joints outside the picture", np.flatnonzero(outside & visible.any(axis=1))
    )
    box = persons.box
    away = (box[:, :2] + box[:, 2:] < 0).any(axis=1) | (box[:, :2] > sizes).any(axis=1)
    result.suspect("error", "boxes outside the picture", np.flatnonzero(away))
    short = torso_share(joints, visible, skeleton) < 0.05
    result.suspect("warning", "torso below 5% of the person", np.flatnonzero(short))
    _check_limbs(result, where, extent, skeleton)
    _check_sides(result, sides_cosine(joints, visible, skeleton))
    counts = ", ".join(
        f"{j} {share:.0%}" for j, share in zip(skeleton.joints, visible.mean(axis=0), strict=True)
    )
    result.say(
        "note",
        f"annotated: {visible.sum():,} of {visible.size:,} joints ({visible.mean():.1%}): {counts}",
    )


def check_targets(result: Examined, skeleton: Skeleton, size_wh: tuple[int, int]) -> None:
    """What the plain crops, those of validation, leave of the annotated joints."""
    persons = result.people.persons
    if why := why_nothing(persons, size_wh):
        result.say("error", "nothing to learn", [why])
        return
    annotated, inside = persons.visible > 0, in_crops(persons, size_wh)
    nobody = never(annotated, skeleton)
    result.say("warning", "joints that nobody has: they are never learned", nobody)
    out = [joint for joint in never(inside, skeleton) if joint not in nobody]
    result.say("warning", "joints that no crop holds: they are never learned", out)
    lost = annotated & ~inside
    share = lost.sum() / annotated.sum()
    counts = ", ".join(
        f"{joint} {n:,}" for joint, n in zip(skeleton.joints, lost.sum(axis=0), strict=True) if n
    )
    what = (
        f"people with joints outside of their crop ({lost.sum():,} joints, {share:.1%}: {counts})"
    )
    result.suspect(
        "warning" if share > OUT_OF_CROP else "note", what, np.flatnonzero(lost.any(axis=1))
    )


def _check_limbs(
    result: Examined, where: np.ndarray, extent: np.ndarray, skeleton: Skeleton
) -> None:
    """A limb that is longer than the whole rest of the person is a slipped click."""
    long = np.zeros(len(where), bool)
    for a, b in skeleton.limbs:
        length = np.linalg.norm(where[:, a] - where[:, b], axis=1)
        some = np.flatnonzero(length > 0.75 * extent)
        rest = where[some]
        rest[:, [a, b]] = np.nan
        filled = np.isfinite(rest).all(axis=2).sum(axis=1) >= 4
        with np.errstate(all="ignore"):
            spread = np.where(
                filled, np.ptp(np.nan_to_num(rest, nan=0), axis=1).max(axis=1), np.nan
            )
        long[some] |= length[some] > 1.5 * spread
    result.suspect("warning", "a limb longer than the rest of the person", np.flatnonzero(long))


def _check_sides(result: Examined, cosine: np.ndarray) -> None:
    """Shoulders and hips that clearly point opposite ways: left and right are mixed up, or a strong twist."""
    crossed = cosine < OPPOSITE
    share = crossed.sum() / max(1, np.isfinite(cosine).sum())
    what = f"left and right may be mixed up: shoulders against hips ({share:.1%} of those who show both)"
    result.suspect("warning" if share > 0.01 else "note", what, np.flatnonzero(crossed))


def _across(results: list[Examined]) -> None:
    """Pictures in two splits, and pictures that are nearly the same."""
    for i, first in enumerate(results):
        for second in results[i + 1 :]:
            mine = set(first.people.persons.images())
            shared = sorted(mine & set(second.people.persons.images()))
            second.say("error", f"pictures that are in {first.split} too", shared)
            copies = name_pairs(near_duplicates(first.hashes, second.hashes))
            second.say("warning", f"pictures nearly the same as one in {first.split}", copies)
        first.say(
            "warning",
            "pairs of pictures nearly the same",
            name_pairs(near_duplicates(first.hashes)),
        )


def name_pairs(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{os.path.basename(a)} ~ {os.path.basename(b)}" for a, b in pairs]


def near_duplicates(
    first: dict[str, int], second: dict[str, int] | None = None
) -> list[tuple[str, str]]:
    """Pairs of pictures whose gradient hashes differ in at most `NEAR` bits.

    Above `MANY` pictures only equal hashes are found, each with the first of its like: all pairs would be too many.
    """
    a = {k: v for k, v in first.items() if v.bit_count() >= CLEAR}
    b = a if second is None else {k: v for k, v in second.items() if v.bit_count() >= CLEAR}
    names_a, names_b = list(a), list(b)
    if not names_a or not names_b:
        return []
    if max(len(a), len(b)) > MANY:
        return _equal(a, None if second is None else b)
    left, right = np.array(list(a.values()), np.uint64), np.array(list(b.values()), np.uint64)
    pairs = []
    for start in range(0, len(left), 512):
        differing = np.bitwise_count(left[start : start + 512, None] ^ right[None])
        for i, j in zip(*np.nonzero(differing <= NEAR), strict=True):
            if second is not None or start + i < j:
                pairs.append((names_a[start + i], names_b[j]))
    return pairs


def _equal(first: dict[str, int], second: dict[str, int] | None) -> list[tuple[str, str]]:
    like: dict[int, str] = {}
    repeated = [(name, v) for name, v in first.items() if like.setdefault(v, name) != name]
    others = repeated if second is None else [(n, v) for n, v in second.items() if v in like]
    return [(like[value], name) for name, value in others]


def print_report(results: Iterable[Examined], console: Console) -> None:
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    for result in results:
        pictures = len(np.unique(result.people.persons.picture))
        console.print(
            f"\n[bold]{result.split}[/bold]: {len(result.people.persons):,} people in {pictures:,} pictures"
        )
        for file, digest in result.people.sources.items():
            console.print(f"  read {file}  {digest[:16]}", style="dim", highlight=False)
        for finding in result.findings:
            number = f" ({finding.count:,})" if finding.count else ""
            console.print(
                f"  [{colours[finding.level]}]{finding.level:8}[/] {finding.what}{number}",
                highlight=False,
            )
            for example in finding.examples:
                console.print(f"             {example}", style="dim", highlight=False, markup=False)


def as_dict(results: Iterable[Examined]) -> dict[str, Any]:
    """For report.json."""
    return {
        result.split: {
            "people": len(result.people.persons),
            "skipped": result.people.skipped,
            "sources": dict(result.people.sources),
            "findings": [vars(finding) for finding in result.findings],
        }
        for result in results
    }


def _name(person: Person) -> str:
    return f"{os.path.basename(person.image)}, person {person.person_id}"
