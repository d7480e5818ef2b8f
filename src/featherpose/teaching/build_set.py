"""people17 in one go: the slow steps, the sieve, the packs and their index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from featherpose.crop import centre_and_scale
from featherpose.data.packs import Columns, join, pack_path, write_index, write_packs
from featherpose.data.readers.source import checksum
from featherpose.files import write_atomically
from featherpose.person import spread
from featherpose.teaching import sieve
from featherpose.teaching.prepare import Found, Say, held_out, prepare
from featherpose.teaching.snapshots import ORIGINS
from featherpose.teaching.sources import Places, unpacked

DEV = {"coco_more": 250, "lspet": 500, "mpii": 93}  # pictures; MPII's 93 hold about 150 people
HIPS = {"lspet": (0.034, 0.037)}  # above and outside COCO's place, in torso lengths
CROWD_WORK = ("lspet", "mpii")  # their gaps the teacher fills, their mistaken sides it finds
TINY = 40  # people of the pack for trying things

Counts = dict[str, int]


def build(
    out: Path, places: Places, names: list[str], rules: sieve.Rules, say: Say = print
) -> dict:
    """Writes the packs, the index and about.json; gives what about.json says."""
    places.work.mkdir(parents=True, exist_ok=True)
    unpacked(names, places)
    found = {name: prepare(name, places, say) for name in names}
    held = held_out(places)
    dev = {name: in_dev(each, DEV.get(name, 0), held, rules) for name, each in found.items()}
    avoided = np.concatenate([found[name].hashes[dev[name]] for name in names])
    known = np.zeros(0, np.uint64)  # pictures that are in already
    parts, counts = [], {}
    for name in names:
        chosen, counts[name] = keep(found[name], dev[name], held, avoided, known, rules)
        parts.append(columns(found[name].rows(chosen), dev[name][chosen], rules))
        known = np.concatenate([known, np.unique(found[name].hashes[chosen])])
        say(f"{name}: {json.dumps(counts[name])}")
    about = {
        "format": 1,
        "people": counts,
        "rules": asdict(rules),
        "teacher": {name: against_humans(each, rules) for name, each in found.items()},
        "hips_moved": HIPS,
        "pictures": {name: asdict(ORIGINS[name]) for name in names if name in ORIGINS},
    }
    files = {name: each.file for name, each in found.items()}
    everybody = join(parts)
    write(out, everybody, files, about)
    tiny = spread(len(everybody), TINY)
    write(out / "tiny", everybody.rows(tiny), files, about)
    return about


def in_dev(found: Found, pictures: int, held: np.ndarray, rules: sieve.Rules) -> np.ndarray:
    """(N,) who is in the dev split: so many pictures of a source, none like a held-out one."""
    clear = ~sieve.near_any(found.hashes, held, rules.near)
    names = np.array([Path(picture).name for picture in found.people.picture.tolist()], dtype=str)
    chosen = sieve.choose(names[clear], pictures)
    return np.isin(names, sorted(chosen)) & clear


def keep(
    found: Found,
    dev: np.ndarray,
    held: np.ndarray,
    avoided: np.ndarray,
    known: np.ndarray,
    rules: sieve.Rules,
) -> tuple[np.ndarray, Counts]:
    """Numbers of the people that pass, and how many each step took."""
    opinion = sieve.opinion(found.views, region_area(found), found.size, rules)
    alone = ~found.people.labelled  # only the teacher speaks of them
    crowd_work = ~dev & ~alone & (found.people.source in CROWD_WORK)
    mixed = sieve.mixed_up(
        region_joints(found), found.people.visible, opinion, region_area(found), rules
    )
    steps = {
        "like a held-out picture": sieve.near_any(found.hashes, held, rules.near),
        "like a dev picture": ~dev & sieve.near_any(found.hashes, avoided, rules.near),
        "repeats a picture": alone
        & sieve.repeated(found.people.picture, found.hashes, known, rules.near_video),
        "left and right mixed up, says the teacher": crowd_work & mixed,
        "the teacher's views disagree": alone & (opinion.agreement < rules.person_similarity),
        "too few joints": alone & (opinion.believed.sum(axis=1) < rules.least_joints),
    }
    left = np.ones(len(dev), bool)
    counts = {**found.people.skipped, "found": len(dev)}
    for step, out in steps.items():
        if (left & out).any():
            counts[step] = int((left & out).sum())
        left &= ~out
    counts |= {"train": int((left & ~dev).sum()), "val": int((left & dev).sum())}
    return np.flatnonzero(left), counts


def against_humans(found: Found, rules: sieve.Rules) -> dict[str, float | None]:
    """How the teacher's believed joints agree with human labels: how many have both, and the share that is right.

    Right is a keypoint similarity of 0.5 or more.
    """
    opinion = sieve.opinion(found.views, region_area(found), found.size, rules)
    both = opinion.believed & (found.people.visible > 0)
    similar = sieve.similarity(opinion.joints, region_joints(found), region_area(found))
    right = round(float((similar[both] >= 0.5).mean()), 4) if both.any() else None
    return {"joints": int(both.sum()), "right": right}


def region_area(found: Found) -> np.ndarray:
    """(N,) each person's area in pixels of the region, as COCO measures it."""
    return found.people.box[:, 2:].prod(axis=1) * found.zoom.prod(axis=1) * sieve.AREA


def region_joints(found: Found) -> np.ndarray:
    """(N, 17, 2) what humans said, in pixels of the region."""
    return found.people.joints * found.zoom[:, None] + found.shift[:, None]


def columns(found: Found, dev: np.ndarray, rules: sieve.Rules) -> Columns:
    """Everything in the regions' pixels; packs and places as they lie in the source's own file."""
    people = found.people
    opinion = sieve.opinion(found.views, region_area(found), found.size, rules)
    joints = region_joints(found)
    if people.source in HIPS:
        joints = sieve.move_hips(joints, people.visible, *HIPS[people.source])
    fillable = ~people.labelled | (people.source in CROWD_WORK)
    joints, visible, origin = sieve.fill(joints, people.visible, opinion, fillable)
    crops = [centre_and_scale(box) for box in people.box]
    centre = np.array([each[0] for each in crops]).reshape(-1, 2) * found.zoom + found.shift
    scale = np.array([each[1] for each in crops]).reshape(-1, 2) * found.zoom
    corner = people.box[:, :2] * found.zoom + found.shift
    return Columns(
        source=np.full(len(people), people.source),
        split=np.where(dev, "val", "train"),
        picture=np.array([Path(each).name for each in people.picture.tolist()], dtype=str),
        person=people.person.astype(np.int64),
        pack=np.zeros(len(people), np.int16),
        offset=found.place[:, 0].astype(np.int64),
        length=found.place[:, 1].astype(np.int32),
        size=found.size.astype(np.int16),
        zoom=found.zoom.astype(np.float32),
        shift=found.shift.astype(np.float32),
        centre=centre.astype(np.float32),
        scale=scale.astype(np.float32),
        box=np.concatenate([corner, people.box[:, 2:] * found.zoom], axis=1).astype(np.float32),
        area=region_area(found).astype(np.float32),
        joints=joints.astype(np.float32),
        visible=visible,
        origin=origin,
        confidence=opinion.confidence.astype(np.float16),
    )


def write(out: Path, people: Columns, files: dict[str, Path], about: dict) -> None:
    """The most valuable first: the dev split, people with human labels as they come, then by the teacher's joints."""
    out.mkdir(parents=True, exist_ok=True)
    human = (people.origin == sieve.HUMAN).any(axis=1)
    taught = (people.origin == sieve.TEACHER).sum(axis=1)
    people = people.rows(np.lexsort((np.where(human, 0, -taught), ~human, people.split != "val")))
    data = {name: np.memmap(path, np.uint8, mode="r") for name, path in files.items()}

    def regions() -> Iterator[bytes]:
        for name, start, length in zip(
            people.source.tolist(), people.offset.tolist(), people.length.tolist(), strict=True
        ):
            yield data[name][start : start + length].tobytes()

    places = write_packs(out, regions())
    write_index(out, people.placed(places))
    packs = {}
    for number in np.unique(places[:, 0]).tolist():
        path = pack_path(out, number)
        packs[path.name] = {
            "bytes": path.stat().st_size,
            "people": int((places[:, 0] == number).sum()),
            "sha256": checksum(path),
        }
    write_atomically(out / "about.json", json.dumps({**about, "packs": packs}, indent=1) + "\n")
