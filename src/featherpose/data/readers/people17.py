"""One training set in COCO's 17 joints, made by `scripts/build_people17.py`: regions of people in packs, one index.

Every person is a small upright picture of its surroundings, a picture of its own: nobody else's joints are known in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from featherpose.data.packs import INDEX, Columns, address, present, read_index, region
from featherpose.data.readers import source
from featherpose.errors import PoseError
from featherpose.person import People, Person, Persons, Texts

BUILT_BY = "python scripts/build_people17.py data/people17 --data FOLDER --snapshots FOLDER"
CONTENTS = "index.npz and pack_0.bin, pack_1.bin, ..."
TEACHER = 2  # of Columns.origin
# What it may be built of; a set may lack some of them
LABELLED = ("coco_part", "coco_more", "lspet", "mpii")
UNLABELLED = ("stanford40", "ccp", "human_v2")


def read(
    root: str | Path | None,
    split: str,
    weights: Mapping[str, float] | None = None,
    teacher: bool = True,
    least_confidence: float = 0.0,
    sources: str | Sequence[str] | None = None,
) -> People:
    """The people of one split whose packs are there; those of other packs are counted.

    The split to validate has human labels only, and everybody in it once.

    Args:
        root: the folder.
        split: train or val.
        weights: how often an epoch shows a source's people: 2 twice, 0.5 every other one, 0 nobody; 1 where none is
            given.
        teacher: whether to learn joints that the teacher placed; else only what humans did.
        least_confidence: the teacher's joints below it are left out.
        sources: only this or these, for training and validation; None: all.
    """
    base = source.folder(root, "people17", "", CONTENTS, BUILT_BY)
    columns = read_index(base)
    there = present(base, columns)
    wanted = columns.split == ("train" if split == "train" else "val")
    if sources is not None:
        chosen = [sources] if isinstance(sources, str) else list(sources)
        _check_names("sources", chosen, columns.source)
        wanted &= np.isin(columns.source, chosen)
    skipped: dict[str, int] = {}
    if (wanted & ~there).any():
        skipped["in a pack that is not there"] = int((wanted & ~there).sum())
    visible = _used(columns, teacher and split == "train", least_confidence)
    usable = (visible > 0).any(axis=1)
    if (wanted & there & ~usable).any():
        skipped["no joint left"] = int((wanted & there & ~usable).sum())
    rows = np.flatnonzero(wanted & there & usable)
    if split == "train":
        rows = repeated(rows, columns.source, weights or {})
    path = base / INDEX
    return People(
        _persons(base, columns, visible, rows), skipped, {str(path): source.checksum(path)}
    )


def load(person: Person) -> np.ndarray:
    """The person's region, uint8 RGB (H, W, 3)."""
    return region(person.image)


def _used(columns: Columns, teacher: bool, least_confidence: float) -> np.ndarray:
    """`visible` with the joints taken out that are not to be learnt."""
    taught = columns.origin == TEACHER
    out = taught & ((columns.confidence < least_confidence) | (not teacher))
    return np.where(out, 0, columns.visible).astype(np.uint8)


def repeated(rows: np.ndarray, names: np.ndarray, weights: Mapping[str, float]) -> np.ndarray:
    """Rows as often as their source's weight says: whole copies of all, and an even selection for the rest."""
    parts = []
    for name in _check_names("weights", weights, names):
        own = rows[names[rows] == name]
        weight = float(weights.get(name, 1.0))
        if not weight >= 0:
            raise PoseError(f"data.read.weights.{name} is {weight}; it can be 0 or more.")
        steps = np.floor(np.arange(1, len(own) + 1) * weight) - np.floor(
            np.arange(len(own)) * weight
        )
        parts.append(np.repeat(own, steps.astype(int)))
    return np.sort(np.concatenate(parts)) if parts else rows


def _check_names(key: str, named: Iterable[str], names: np.ndarray) -> list[str]:
    """The sources that are there, once it is sure that only sources are named."""
    there = np.unique(names).tolist()
    unknown = sorted({*named} - {*there, *LABELLED, *UNLABELLED})
    if unknown:
        raise PoseError(
            f"data.read.{key} names {unknown[0]!r}; the sources are {', '.join(there)}."
        )
    return there


def _persons(base: Path, columns: Columns, visible: np.ndarray, rows: np.ndarray) -> Persons:
    """Those rows, each a picture of its own."""
    seen = visible[rows] > 0
    once, picture = np.unique(rows, return_inverse=True)
    return Persons.from_columns(
        joints=np.where(seen[..., None], columns.joints[rows], 0.0).astype(np.float64),
        visible=visible[rows],
        centre=columns.centre[rows].astype(np.float64),
        scale=columns.scale[rows].astype(np.float64),
        box=columns.box[rows].astype(np.float64),
        image_id=rows,
        person_id=np.arange(len(rows)),
        pictures=Texts.of(address(base, columns, row) for row in once.tolist()),
        picture=picture,
        area=columns.area[rows].astype(np.float64),
        picture_size=columns.size[rows].astype(np.int64),
    )
